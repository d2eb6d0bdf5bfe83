"""The local engine's measurements."""

from collections.abc import Sequence
from typing import Final

from ..door import Figure, FigureKind
from .executor import Executor

_LAST: Final = "The Unix time at which the last compaction since the start was done; 0 if there was none."
_ACCEPTS: Final = "1 if changes are accepted; 0 while they are not, as on a full disk."
_DURABILITY: Final = "When changes are synced: at each commit, or at an interval."
_WAITERS: Final = "Clients that wait for a job, wait for a job's end, or watch events."


def figures_of(executor: Executor) -> Sequence[Figure]:
    """The engine's measurements; totals count from its start."""
    totals, journal, compaction = executor.totals, executor.journal, executor.compaction
    waiters = executor.waiters
    return [
        _gauge("waiters", _WAITERS, len(waiters.line), on="job"),
        _gauge("waiters", _WAITERS, len(waiters.ends), on="end"),
        _gauge("waiters", _WAITERS, executor.feed.watching, on="events"),
        _counter("commits", "Writes that put changes on disk.", totals["commits"]),
        _summary("batch_records", "Records in a commit.", totals["records"], totals["commits"]),
        _counter("record_bytes", "Bytes of the records written.", totals["bytes"]),
        _summary("sync_seconds", "Syncs of the file.", journal.sync_seconds, journal.syncs),
        _gauge("accepts_changes", _ACCEPTS, int(executor.trouble is None)),
        _gauge("file_bytes", "Length of the database file.", journal.size),
        _gauge("live_bytes", "About how many of these bytes a fresh file would take.", executor.tables.live_bytes),
        _gauge("durability_info", _DURABILITY, 1, mode="interval" if executor.sync_interval else "commit"),
        _counter("compactions", "Compactions by outcome.", compaction.done, outcome="done"),
        _counter("compactions", "Compactions by outcome.", compaction.given_up, outcome="given_up"),
        _gauge("last_compaction_timestamp_seconds", _LAST, compaction.last_done / 1000),
        _gauge("last_compaction_seconds", "How long that compaction took.", compaction.last_seconds),
    ]


def _counter(name: str, sentence: str, value: float, **labels: str) -> Figure:
    return Figure(name=name, help=sentence, kind=FigureKind.COUNTER, value=value, labels=labels)


def _gauge(name: str, sentence: str, value: float, **labels: str) -> Figure:
    return Figure(name=name, help=sentence, kind=FigureKind.GAUGE, value=value, labels=labels)


def _summary(name: str, sentence: str, value: float, count: int) -> Figure:
    return Figure(name=name, help=sentence, kind=FigureKind.SUMMARY, value=value, count=count)
