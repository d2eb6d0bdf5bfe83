"""The engine's metrics, and the counts of recent activity that rules read."""

from collections.abc import Iterable, Mapping, Sequence
from secrets import randbits
from threading import Lock
from typing import Final

from attrs import define, field

from ...core.activity import Activity, Unsaved
from ...core.claimers import Claimers
from ...core.effects import JobEffect, QueueEffect, by_queue
from ...core.history import KeptPeriod, QueueHistory
from ...core.stats import Recent, Spread
from ..door import Figure, counter, gauge, summary
from .batch.decide import Result
from .batch.tables import LoadedTable
from .batch.totals import Totals
from .claimers import SharedClaims
from .database.rows import MOST_QUEUES
from .wake.notifications import Notifications
from .wake.waiters import Waiters

_WAITERS: Final = "Clients that wait for a job, wait for a job's end, or watch events."
_ACCEPTS: Final = "1 if changes are accepted; 0 while the database can't be reached."
_BATCHES: Final = "Transactions that carried out requests of clients, and the seconds that they took."
_REDONE: Final = "Batches that were carried out again after a conflict with another connection."
_ROUND_TRIPS: Final = "Round trips to the database."
_SNAPSHOT: Final = "Seconds for which the oldest snapshot of the database has been open, looked up every ten seconds."
_DAMAGED: Final = "Altered rows that can't be read and are skipped; counted every ten seconds."
_RECEIVES: Final = "1 if the database's notifications are received; 0 if not, as behind some poolers."


def figures_of(
    sessions: Sequence[Totals],
    waiters: Waiters,
    watching: int,
    notifications: Notifications,
    *,
    damaged_queues: int,
    accepts: bool,
) -> Sequence[Figure]:
    """The engine's metrics; totals count from the server's start."""
    batches = sum(one.batches for one in sessions)
    listener = notifications.listener
    connected, received = (0, 0) if listener is None else (listener.connected, listener.received)
    return [
        gauge("waiters", _WAITERS, len(waiters.line), on="job"),
        gauge("waiters", _WAITERS, len(waiters.ends), on="end"),
        gauge("waiters", _WAITERS, watching, on="events"),
        gauge("accepts_changes", _ACCEPTS, int(accepts)),
        summary("batch_tasks", "Requests in a batch.", sum(one.tasks for one in sessions), batches),
        summary("batch_seconds", _BATCHES, sum(one.seconds for one in sessions), batches),
        counter("batches_redone", _REDONE, sum(one.redone for one in sessions)),
        counter("connections_made", "Connections to the database.", connected + sum(one.connected for one in sessions)),
        counter("round_trips", _ROUND_TRIPS, sum(one.round_trips for one in sessions)),
        gauge("oldest_snapshot_seconds", _SNAPSHOT, max(one.oldest_snapshot for one in sessions)),
        gauge("damaged_rows", _DAMAGED, max(one.damaged_jobs for one in sessions), table="job"),
        gauge("damaged_rows", _DAMAGED, damaged_queues, table="queue"),
        gauge("hears_notifications", _RECEIVES, int(notifications.receives)),
        counter("notifications_sent", "Notifications sent to other servers.", notifications.sender.sent),
        counter("notifications_received", "Notifications received from other servers.", received),
    ]


#: How many delayed jobs of a queue are remembered at most, with the end of their delay. Without a limit they would pile
#: up when other servers claim or remove the jobs.
_DELAYS: Final = 10_000


@define(eq=False)
class ServerActivity:
    """Counts the changes of batches. Rules read the counts on other threads; see RecentActivity."""

    #: The recent claims of all servers; None for a session without an engine.
    shared: SharedClaims | None = None
    #: This server's number in the table `history`.
    server: int = field(factory=lambda: randbits(62), init=False)
    _activity: Activity = field(init=False)
    #: The numbers, in the database, of the queues that have counts, by name.
    ids: dict[str, int] = field(factory=dict, init=False)
    _lock: Lock = field(factory=Lock, init=False)

    def __attrs_post_init__(self) -> None:
        self._activity = Activity(source=self.server)

    def count(self, result: Result) -> None:
        """Count a batch's changes."""
        with self._lock:
            jobs = [one for one in result.effects if isinstance(one, JobEffect)]
            for name, changed in by_queue(jobs):
                self._forget_outdated(name, result)
                self._activity.note(name, changed, result.now.elapsed, result.now.elapsed)
                self._activity.forget_delays(name, _DELAYS)
            others = [one for one in result.effects if type(one) is not JobEffect]
            self._activity.note_firings(others)
            for effect in others:
                if isinstance(effect, QueueEffect) and isinstance(effect.old, LoadedTable):
                    self._activity.forget(effect.queue)
                    if self.shared is not None:
                        self.shared.own.forget(effect.queue)

    def _forget_outdated(self, name: str, result: Result) -> None:
        """Forget a queue that was deleted and created again, by any server; forget all queues if there are too many."""
        known = result.now.known.get(name)
        if known is not None and self.ids.get(name) != known.id:
            self._activity.forget(name)
            if len(self.ids) >= MOST_QUEUES:
                self._activity, self.ids = Activity(source=self.server), {}
            self.ids[name] = known.id

    def recent(self, name: str, now: int, kept: Iterable[KeptPeriod]) -> Recent:
        with self._lock:
            return self._activity.recent(name, now, kept)

    def history(self, name: str, now: int, kept: Iterable[KeptPeriod]) -> QueueHistory:
        with self._lock:
            return self._activity.history(name, now, kept)

    def take_unsaved(self) -> dict[str, Unsaved]:
        with self._lock:
            return self._activity.take_unsaved()

    def put_back(self, taken: Mapping[str, Unsaved]) -> None:
        with self._lock:
            self._activity.put_back(taken)

    def times(self, name: str) -> tuple[Spread, Spread]:
        with self._lock:
            return self._activity.times(name)

    def since_start(self, name: str) -> Mapping[str, int]:
        with self._lock:
            return self._activity.totals(name)

    def claimers(self, name: str) -> Claimers:
        return Claimers() if self.shared is None else self.shared.claimers(name)

    def waiting(self, name: str) -> int:
        return 0 if self.shared is None else self.shared.own.waiting(name)

    def claims(self, name: str) -> tuple[int, int | None]:
        return (0, None) if self.shared is None else self.shared.claims(name)
