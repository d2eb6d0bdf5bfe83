"""The engine's time in elapsed milliseconds, which ignores settings of the wall clock; and a timer for deadlines."""

from collections.abc import Callable
from math import inf
from typing import Final

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime

#: The timer is never set further ahead than this many seconds.
_LONGEST_WAIT: Final = 86_400.0


@define
class Timeline:
    """Elapsed time, as jobengine.core.model describes it: the monotonic clock plus a number that `start` sets."""

    #: The monotonic clock, in seconds.
    clock: IReactorTime
    #: The wall clock, in milliseconds since the Unix epoch.
    wall: Callable[[], int]
    _origin: int = field(default=0, init=False)

    def start(self, ahead: int, latest: int) -> None:
        """
        Start at the wall clock's time minus `ahead`, the milliseconds by which it was last ahead of elapsed time.

        Elapsed time never starts before `latest`, the newest recorded time: if the wall clock was set back while the
        server was stopped, the stop counts as no time.
        """
        self._origin = max(self.wall() - ahead, latest) - int(self.clock.seconds() * 1000)

    def elapsed(self) -> int:
        """Elapsed time now, in milliseconds."""
        return int(self.clock.seconds() * 1000) + self._origin


@define
class DeadlineTimer:
    """Calls back at the earliest deadline, or after _LONGEST_WAIT if that is sooner."""

    _clock: IReactorTime
    _timeline: Timeline
    _call: Callable[[], None]
    #: The deadline that the timer is set for, in elapsed milliseconds; infinity if it is not set.
    due: float = field(default=inf, init=False)
    _timer: IDelayedCall | None = field(default=None, init=False)

    def no_later(self, deadline: int) -> None:
        """Call back at this deadline, unless an earlier one is set."""
        if deadline >= self.due:
            return
        self.due = deadline
        wait = max(0.0, min((deadline - self._timeline.elapsed()) / 1000, _LONGEST_WAIT))
        if self._timer is None:
            self._timer = self._clock.callLater(wait, self._fire)
        else:
            self._timer.reset(wait)

    def stop(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def _fire(self) -> None:
        self._timer, self.due = None, inf
        self._call()
