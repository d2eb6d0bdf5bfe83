"""
Notices when the clock of the database was set, or when another machine has taken its place.

Time is the database's. How far its clock is ahead of elapsed time is kept there as well, so that setting it moves no
delay, lease or retention: who notices first writes it, for all.
"""

from typing import Final

from attrs import define, field

__all__ = ["Pace"]

#: Milliseconds by which the two clocks may drift apart between two looks before one counts as set.
_STEP: Final = 2_000
#: Milliseconds for which this server takes the database's word after it has corrected it once: it might be its own
#: machine that stood still, and then the others correct it back.
_TRUSTING: Final = 600_000
#: A look that took longer than this many milliseconds says too little.
_LONG: Final = 1_000


@define
class Pace:
    """How elapsed time has gone on by the monotonic clock, all in milliseconds."""

    #: The bounds of elapsed time minus the monotonic clock.
    _least: int | None = field(default=None, init=False)
    _most: int = field(default=0, init=False)
    _trusts_until: int | None = field(default=None, init=False)

    def step(self, elapsed: int, before: int, after: int) -> int:
        """
        By how much the database's clock was set, 0 if it was not.

        Its clock has said `elapsed` between `before` and `after` by the monotonic clock.
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
