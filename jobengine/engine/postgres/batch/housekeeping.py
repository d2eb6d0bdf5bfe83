"""Cleans up the database now and then, after a sweep."""

from collections.abc import Callable
from functools import partial
from typing import Final, LiteralString, Protocol, TypeVar

from attrs import define, field
from psycopg import Connection

from ..database.cleanup import Tidying, oldest_snapshot
from ..database.pipeline import Row
from ..database.recheck import Recheck
from ..database.rows import Rows
from .begin import ClockSteps, Now, save_clock
from .old_batches import tidy_batches
from .old_gates import OldGates
from .totals import Totals

R = TypeVar("R")
#: Seconds between cleanups, and the most seconds of one cleanup; the next sweep continues it.
_TIDY: Final = 10
_TIDYING: Final = 0.1


class Run(Protocol):
    """Calls `work` with a connection; see Session.run."""

    def __call__(self, work: "Callable[[Connection[Row]], R]", /) -> R: ...


@define(eq=False)
class Housekeeping:
    """The cleanups of one session."""

    rows: Rows
    totals: Totals
    #: The monotonic clock, in seconds.
    steady: Callable[[], float]
    #: When the next cleanup is due, by that clock.
    _tidy_at: float = field(default=0, init=False)
    _tidying: Tidying = field(factory=Tidying, init=False)
    _old_gates: OldGates = field(factory=OldGates, init=False)
    _recheck: Recheck = field(factory=Recheck, init=False)

    def tidy(self, run: Run, at: Now, slot: int, clock: LiteralString, steps: ClockSteps) -> None:
        """Clean up if it is due; `slot` is the slot of the table `tally` to which changes of counts are added."""
        now = self.steady()
        if now < self._tidy_at:
            return
        self._tidy_at = now + _TIDY
        works = [
            partial(self._old_gates.tidy, rows=self.rows, elapsed=at.elapsed),
            partial(tidy_batches, elapsed=at.elapsed),
            partial(self._tidying.tidy, elapsed=at.elapsed, wall=at.wall),
        ]
        while sum(run(work) for work in works):
            if self.steady() >= now + _TIDYING:
                self._tidy_at = now
                break
        self.totals.oldest_snapshot = run(oldest_snapshot)
        self.totals.damaged_jobs = run(partial(self._recheck.recheck, rows=self.rows, slot=slot))
        run(partial(save_clock, clock=clock, steps=steps))
