"""Closes connections that were idle for too long."""

from collections.abc import Callable
from typing import Final, Generic, TypeVar

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime

__all__ = ["Idle"]

C = TypeVar("C")

#: A timer that fires up to this many seconds early is not set again: sums of floats are off by less.
_EARLY: Final = 1e-3


@define(eq=False)
class Idle(Generic[C]):
    """
    Idle connections, oldest first, with one timer for all of them.

    Twisted's TimeoutMixin cancels and sets a timer at each request, which takes 4 microseconds. Here a request moves
    its connection to the end of a dict. The timer is for the connection that has been idle for longest; without idle
    connections there is none.
    """

    _seconds: float
    _clock: IReactorTime
    #: Called with each connection that was idle for too long, after it was removed.
    _too_long: Callable[[C], None]
    #: When each idle connection will have been idle for too long; the longest idle first.
    _until: dict[C, float] = field(factory=dict)
    _timer: IDelayedCall | None = None

    def add(self, one: C) -> None:
        """Add a connection that is idle from now on."""
        self._until[one] = self._clock.seconds() + self._seconds
        if self._timer is None:
            self._timer = self._clock.callLater(self._seconds, self._end)

    def discard(self, one: C) -> None:
        """Remove a connection, if it is there."""
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
