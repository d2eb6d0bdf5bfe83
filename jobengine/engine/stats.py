"""The local engine's measurements."""

from collections.abc import Sequence
from typing import Final

from .door import Figure, counter, gauge, summary
from .executor import Executor

_LAST: Final = "The Unix time at which the last compaction since the start was done; 0 if there was none."
_ACCEPTS: Final = "1 if changes are accepted; 0 while not, as on a full disk or after the file was moved."
_DURABILITY: Final = "When changes are synced: at each commit, or at an interval."
_WAITERS: Final = "Clients that wait for a job, wait for a job's end, or watch events."


def figures_of(executor: Executor) -> Sequence[Figure]:
    """The engine's measurements; totals count from its start."""
    totals, journal, compaction = executor.totals, executor.journal, executor.compaction
    waiters = executor.waiters
    return [
        gauge("waiters", _WAITERS, len(waiters.line), on="job"),
        gauge("waiters", _WAITERS, len(waiters.ends), on="end"),
        gauge("waiters", _WAITERS, executor.feed.watching, on="events"),
        counter("commits", "Writes that put changes on disk.", totals["commits"]),
        summary("batch_records", "Records in a commit.", totals["records"], totals["commits"]),
        counter("record_bytes", "Bytes of the records written.", totals["bytes"]),
        summary("sync_seconds", "Syncs of the file.", journal.sync_seconds, journal.syncs),
        gauge("accepts_changes", _ACCEPTS, int(executor.trouble is None)),
        gauge("file_bytes", "Length of the database file.", journal.size),
        gauge("live_bytes", "About how many of these bytes a fresh file would take.", executor.tables.live_bytes),
        gauge("durability_info", _DURABILITY, 1, mode="interval" if executor.sync_interval else "commit"),
        counter("compactions", "Compactions by outcome.", compaction.done, outcome="done"),
        counter("compactions", "Compactions by outcome.", compaction.given_up, outcome="given_up"),
        gauge("last_compaction_timestamp_seconds", _LAST, compaction.last_done / 1000),
        gauge("last_compaction_seconds", "How long that compaction took.", compaction.last_seconds),
    ]
