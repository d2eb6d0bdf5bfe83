"""
Notices when the database's clock was set, or when a standby with another clock took over.

Time is the database's. The table meta holds by how much its clock is ahead of elapsed time. The first server that
notices a step writes it there for all, so a step moves no delay, lease or retention.
"""

from typing import Final

from attrs import define, field

__all__ = ["ClockSteps"]

#: Milliseconds by which the database's clock and the monotonic clock may drift apart between two looks. If it is more,
#: the database's clock was set.
_STEP: Final = 2_000
#: After a correction this server makes no other for this many milliseconds. If its own machine had stood still, the
#: correction was wrong, and the other servers undo it.
_TRUSTING: Final = 600_000
#: A look that took longer than this many milliseconds is too inexact to be compared with the next one.
_LONG: Final = 1_000


@define
class ClockSteps:
    """Finds the steps of the database's clock: compares elapsed time with the monotonic clock, in milliseconds."""

    #: The bounds of their difference at the last look; None before the first.
    _least: int | None = field(default=None, init=False)
    _most: int = field(default=0, init=False)
    _trusts_until: int | None = field(default=None, init=False)

    def step(self, elapsed: int, before: int, after: int) -> int:
        """
        By how many milliseconds the database's clock was set; 0 if it was not.

        `elapsed` was read between `before` and `after` by the monotonic clock.
        """
        least, most = elapsed - after, elapsed - before
        step = self._difference(least, most)
        if step and (self._trusts_until is None or before > self._trusts_until):
            self._trusts_until = after + _TRUSTING
            return step
        if self._least is None or step or after - before <= _LONG:
            self._least, self._most = least, most
        return 0

    def _difference(self, least: int, most: int) -> int:
        if self._least is None:
            return 0
        if least > self._most + _STEP:
            return least - self._most
        return most - self._least if most < self._least - _STEP else 0
