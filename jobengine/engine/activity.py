"""Counts the recent activity of each queue for the rules, and saves the counts from time to time."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from ..core.activity import Activity
from ..core.claimers import Claimers
from ..core.effects import Effect, JobEffect
from ..core.facts import Fact, PeriodsCounted
from ..core.history import KeptPeriod, QueueHistory
from ..core.stats import Recent, Spread
from .claimers import ClaimLog
from .tables.state import Tables

#: Seconds from a change to the commit that saves its counts.
_KEEP_AFTER: Final = 5.0


@define(eq=False)
class QueueActivity:
    """The RecentActivity (see jobengine.core.tables) of all queues."""

    _clock: IReactorTime
    _claim_log: ClaimLog
    _tables: Tables
    #: Called _KEEP_AFTER seconds after a change of a job, to save the facts from `unsaved`.
    _keep: Callable[[], None]
    _counts: Activity = field(init=False)
    #: Runs while there are unsaved counts.
    _timer: IDelayedCall | None = field(default=None, init=False)
    _stopped: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._counts = Activity(self._tables.kept_period)

    def count(self, name: str, changes: Sequence[JobEffect], now: int) -> None:
        """Count changes of jobs of a queue that were applied at `now`."""
        # Elapsed time follows the monotonic clock, so it also serves as the clock that never goes back.
        self._counts.note(name, changes, now, now)
        if self._timer is None and not self._stopped:
            self._timer = self._clock.callLater(_KEEP_AFTER, self._fire)

    def count_firings(self, effects: Sequence[Effect]) -> None:
        """Count how often schedules were fired, and how often a firing was skipped."""
        self._counts.note_firings(effects)

    def unsaved(self) -> list[Fact]:
        """The facts that save the counts since the last call."""
        taken = self._counts.take_unsaved()
        return [PeriodsCounted(name, tuple(its)) for name, its in taken.items() if name in self._tables.queues]

    def stop(self) -> None:
        """Stop the timer: no later save is scheduled."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()

    def forget(self, name: str) -> None:
        """Drop the counts of a deleted queue."""
        self._counts.forget(name)
        self._claim_log.forget(name)

    def recent(self, name: str, now: int, kept: Iterable[KeptPeriod]) -> Recent:
        return self._counts.recent(name, now, kept)

    def history(self, name: str, now: int, kept: Iterable[KeptPeriod]) -> QueueHistory:
        return self._counts.history(name, now, kept)

    def times(self, name: str) -> tuple[Spread, Spread]:
        return self._counts.times(name)

    def since_start(self, name: str) -> Mapping[str, int]:
        return self._counts.totals(name)

    def claimers(self, name: str) -> Claimers:
        return self._claim_log.claimers(name)

    def waiting(self, name: str) -> int:
        return self._claim_log.waiting(name)

    def claims(self, name: str) -> tuple[int, int | None]:
        return self._claim_log.waiting(name), self._claim_log.last.get(name)

    def _fire(self) -> None:
        self._timer = None
        self._keep()
