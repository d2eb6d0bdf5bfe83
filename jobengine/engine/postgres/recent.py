"""The recent activity of queues, as this server counts it."""

from collections.abc import Callable, Iterable, Mapping
from secrets import randbits
from threading import Lock
from typing import Final

from attrs import define, field

from ...core.activity import Activity, Unsaved
from ...core.claimers import Claimers
from ...core.history import KeptPeriod, QueueHistory
from ...core.model import Recent, Spread
from ...core.small_table import SmallTable
from ...core.state import JobSwap, QueueSwap, by_queue
from .batch import Result
from .claimers import SharedClaims
from .rows import MOST_QUEUES

__all__ = ["RecentActivity"]

#: The most ends of delays that are kept of a queue: their jobs may be claimed, or removed, by another server.
_DELAYS: Final = 10_000


@define(eq=False)
class RecentActivity:
    """Counts the changes of batches, for the rules, which read the counts on other threads (see RecentActivity)."""

    #: The monotonic clock, in seconds.
    _steady: Callable[[], float]
    #: The claims; None for a session without an engine.
    shared: SharedClaims | None = None
    #: The number of this server in the table of histories.
    server: int = field(factory=lambda: randbits(62), init=False)
    _activity: Activity = field(init=False)
    #: The numbers of the queues that it has.
    ids: dict[str, int] = field(factory=dict, init=False)
    _lock: Lock = field(factory=Lock, init=False)

    def __attrs_post_init__(self) -> None:
        self._activity = Activity(source=self.server)

    def note(self, result: Result) -> None:
        """Count what a batch has changed."""
        with self._lock:
            jobs = [one for one in result.swaps if isinstance(one, JobSwap)]
            for name, changed in by_queue(jobs):
                self._forget_outdated(name, result)
                self._activity.note(name, changed, result.now.elapsed, result.now.elapsed)
                self._activity.forget_delays(name, _DELAYS)
            for swap in result.swaps:
                if isinstance(swap, QueueSwap) and isinstance(swap.old, SmallTable):
                    self._activity.forget(swap.queue)
                    if self.shared is not None:
                        self.shared.own.forget(swap.queue)

    def _forget_outdated(self, name: str, result: Result) -> None:
        """Forget a queue if it was made again since, by any server; forget all queues if there are too many."""
        known = result.now.known.get(name)
        if known is not None and self.ids.get(name) != known.id:
            self._activity.forget(name)
            if len(self.ids) >= MOST_QUEUES:
                self._activity, self.ids = Activity(source=self.server), {}
            self.ids[name] = known.id

    def recent(self, name: str, now: int, kept: Iterable[KeptPeriod]) -> Recent:
        """See RecentActivity."""
        with self._lock:
            return self._activity.recent(name, now, kept)

    def history(self, name: str, now: int, kept: Iterable[KeptPeriod]) -> QueueHistory:
        """See RecentActivity."""
        with self._lock:
            return self._activity.history(name, now, kept)

    def take_unsaved(self) -> dict[str, Unsaved]:
        """See Activity."""
        with self._lock:
            return self._activity.take_unsaved()

    def put_back(self, taken: Mapping[str, Unsaved]) -> None:
        """See Activity."""
        with self._lock:
            self._activity.put_back(taken)

    def times(self, name: str) -> tuple[Spread, Spread]:
        """See RecentActivity."""
        with self._lock:
            return self._activity.times(name)

    def since_start(self, name: str) -> Mapping[str, int]:
        """See RecentActivity."""
        with self._lock:
            return self._activity.totals(name)

    def claimers(self, name: str) -> Claimers:
        """See RecentActivity."""
        return Claimers() if self.shared is None else self.shared.claimers(name)

    def waiting(self, name: str) -> int:
        """See RecentActivity."""
        return 0 if self.shared is None else self.shared.own.waiting(name)

    def claims(self, name: str) -> tuple[int, int | None]:
        """See RecentActivity."""
        return (0, None) if self.shared is None else self.shared.claims(name)

    def _now(self) -> int:
        return int(self._steady() * 1000)
