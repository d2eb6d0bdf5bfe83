"""Closes connections that were idle for too long."""

from collections.abc import Callable
from typing import Final, Generic, TypeVar

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime

C = TypeVar("C")

#: A timer that fires up to this many seconds early counts as on time: the rounding error of clocks is smaller.
_EARLY: Final = 1e-3


@define(eq=False)
class IdleConnections(Generic[C]):
    """
    The idle connections, with one timer for all.

    A timer per connection would be cancelled at each request and set again after it, which takes 4 microseconds a
    request.
    """

    _seconds: float
    _clock: IReactorTime
    #: Called with each connection that was idle for too long, after it was removed.
    _too_long: Callable[[C], None]
    #: For each connection, the time at which to close it; the connection that has been idle the longest comes first.
    _until: dict[C, float] = field(factory=dict)
    #: The timer for the first connection to close. It stays set even if that connection is no longer idle.
    _timer: IDelayedCall | None = None

    def add(self, one: C) -> None:
        """Add a connection that is idle from now on."""
        self._until.pop(one, None)
        self._until[one] = self._clock.seconds() + self._seconds
        if self._timer is None:
            self._timer = self._clock.callLater(self._seconds, self._end)

    def discard(self, one: C) -> None:
        """Remove a connection, if it is there."""
        self._until.pop(one, None)

    def _end(self) -> None:
        self._timer = None
        now = self._clock.seconds()
        while self._until:
            one, until = next(iter(self._until.items()))
            if until > now + _EARLY:
                self._timer = self._clock.callLater(until - now, self._end)
                return
            del self._until[one]
            self._too_long(one)
