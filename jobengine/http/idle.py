"""Closes connections that were idle for too long."""

from collections.abc import Callable
from typing import Generic, TypeVar

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime

__all__ = ["Idle"]

C = TypeVar("C")


@define(eq=False)
class Idle(Generic[C]):
    """The idle connections and their timers; there is none while a request is under way."""

    _seconds: float
    _clock: IReactorTime
    #: Called with each connection that was idle for too long, after it was removed.
    _too_long: Callable[[C], None]
    _timers: dict[C, IDelayedCall] = field(factory=dict)

    def add(self, one: C) -> None:
        """Add a connection that is idle from now on."""
        self.discard(one)
        self._timers[one] = self._clock.callLater(self._seconds, self._end, one)

    def discard(self, one: C) -> None:
        """Remove a connection, if it is there."""
        timer = self._timers.pop(one, None)
        if timer is not None:
            timer.cancel()

    def _end(self, one: C) -> None:
        del self._timers[one]
        self._too_long(one)
