"""Connections on which nothing happens, closed when that has lasted too long."""

from collections.abc import Callable
from typing import Final, Generic, TypeVar

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime

__all__ = ["Idle"]

C = TypeVar("C")

#: A timer that comes this many seconds early is not set anew: clocks that add up floats are off by less.
_EARLY: Final = 1e-3


@define(eq=False)
class Idle(Generic[C]):
    """
    Who is idle, and since when, with one timer for all.

    Twisted's TimeoutMixin cancels a timer of each connection at each request and sets a new one: 4 microseconds a
    request. Here a request moves its connection to the end of a dict, and the timer stays where it is as long as
    anybody else is idle: it is there for whoever has been so for longest. While nobody is idle there is no timer.
    """

    _seconds: float
    _clock: IReactorTime
    #: Called with each who was idle for that many seconds; it is then no longer known here.
    _too_long: Callable[[C], None]
    #: Who is idle, and the time at which that is too long; the longest idle first.
    _until: dict[C, float] = field(factory=dict)
    _timer: IDelayedCall | None = None

    def add(self, one: C) -> None:
        """One is idle from now on."""
        self._until[one] = self._clock.seconds() + self._seconds
        if self._timer is None:
            self._timer = self._clock.callLater(self._seconds, self._end)

    def discard(self, one: C) -> None:
        """One is no longer idle, if it was."""
        if self._until.pop(one, None) is not None and not self._until and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end(self) -> None:
        self._timer = None
        now = self._clock.seconds()
        while self._until:
            one, until = next(iter(self._until.items()))
            if until > now + _EARLY:
                self._timer = self._clock.callLater(until - now, self._end)
                break
            del self._until[one]
            self._too_long(one)
