"""Turns for long work: in each turn of the reactor, one waiter continues."""

from collections import deque
from typing import Final

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

#: Seconds until the reactor's next turn.
_NEXT: Final = 0


@define(eq=False)
class Turns:
    """
    A queue of waiters: each turn of the reactor wakes the first waiter. If all waiters continued in the same turn,
    hundreds of pieces of work of 10 ms would delay other requests for seconds.
    """

    clock: IReactorTime
    _waiting: "deque[Deferred[None]]" = field(factory=deque, init=False)

    def next(self) -> "Deferred[None]":
        """A Deferred that fires in a later turn of the reactor, alone in that turn."""
        turn: Deferred[None] = Deferred()
        self._waiting.append(turn)
        if len(self._waiting) == 1:
            self.clock.callLater(_NEXT, self._go_on)
        return turn

    def _go_on(self) -> None:
        # Skip cancelled waiters: their clients have disconnected.
        while self._waiting[0].called and len(self._waiting) > 1:
            self._waiting.popleft()
        turn = self._waiting.popleft()
        if self._waiting:
            self.clock.callLater(_NEXT, self._go_on)
        turn.callback(None)
