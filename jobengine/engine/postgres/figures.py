"""The figures of the engine on PostgreSQL."""

from collections.abc import Sequence
from typing import Final

from ..door import Figure, FigureKind
from .session import Totals
from .waiting import Waiting
from .wakeups import WakeUps

__all__ = ["figures_of"]

_WAITERS: Final = "Clients that wait for a job, wait for a job's end, or watch events."
_ACCEPTS: Final = "1 if changes are accepted; 0 while the database can't be reached."
_BATCHES: Final = "Transactions that carried out what clients asked for, and the seconds that they took."
_REDONE: Final = "Batches that were carried out again after a conflict with another connection."
_ROUND_TRIPS: Final = "Round trips to the database."
_SNAPSHOT: Final = "Seconds for which the oldest snapshot of the database has been open, looked up every ten seconds."
_DAMAGED: Final = "Rows that were altered and can't be read, which are passed over; counted every ten seconds."
_HEARS: Final = "1 if the database's notifications are heard; 0 if not, as behind some poolers."


def figures_of(
    sessions: Sequence[Totals], waiting: Waiting, watching: int, wakeups: WakeUps, *, damaged_queues: int, accepts: bool
) -> Sequence[Figure]:
    """The figures of the engine; totals count from its start."""
    batches = sum(one.batches for one in sessions)
    listening = wakeups.listening
    connected, received = (0, 0) if listening is None else (listening.connected, listening.received)
    return [
        _waiters("job", len(waiting.line)),
        _waiters("end", len(waiting.ends)),
        _waiters("events", watching),
        _gauge("accepts_changes", _ACCEPTS, int(accepts)),
        _summary("batch_tasks", "Requests in a batch.", sum(one.tasks for one in sessions), batches),
        _summary("batch_seconds", _BATCHES, sum(one.seconds for one in sessions), batches),
        _counter("batches_redone", _REDONE, sum(one.redone for one in sessions)),
        _counter(
            "connections_made", "Connections to the database.", connected + sum(one.connected for one in sessions)
        ),
        _counter("round_trips", _ROUND_TRIPS, sum(one.round_trips for one in sessions)),
        _gauge("oldest_snapshot_seconds", _SNAPSHOT, max(one.oldest_snapshot for one in sessions)),
        *_damaged_rows(max(one.damaged_jobs for one in sessions), damaged_queues),
        _gauge("hears_notifications", _HEARS, int(wakeups.hears)),
        _counter("notifications_sent", "Notifications sent to other servers.", wakeups.notices.sent),
        _counter("notifications_received", "Notifications heard of other servers.", received),
    ]


def _waiters(on: str, value: float) -> Figure:
    return Figure(name="waiters", help=_WAITERS, kind=FigureKind.GAUGE, value=value, labels={"on": on})


def _damaged_rows(jobs: int, queues: int) -> list[Figure]:
    return [
        Figure(name="damaged_rows", help=_DAMAGED, kind=FigureKind.GAUGE, value=value, labels={"table": table})
        for table, value in (("job", jobs), ("queue", queues))
    ]


def _gauge(name: str, sentence: str, value: float) -> Figure:
    return Figure(name=name, help=sentence, kind=FigureKind.GAUGE, value=value)


def _counter(name: str, sentence: str, value: float) -> Figure:
    return Figure(name=name, help=sentence, kind=FigureKind.COUNTER, value=value)


def _summary(name: str, sentence: str, value: float, count: int) -> Figure:
    return Figure(name=name, help=sentence, kind=FigureKind.SUMMARY, value=value, count=count)
