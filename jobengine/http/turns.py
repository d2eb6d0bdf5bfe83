"""Turns: of those who have a few milliseconds of work to do, one goes on in each turn of the reactor."""

from collections import deque
from typing import Final

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

__all__ = ["Turns"]

#: Seconds to the next turn of the reactor.
_NEXT: Final = 0


@define(eq=False)
class Turns:
    """
    The line of those who wait for their turn, first come first served.

    Were each to go on in the reactor's next turn, hundreds of clients whose requests take 10 ms would hold up all
    others for seconds, though no request does.
    """

    clock: IReactorTime
    _waiting: "deque[Deferred[None]]" = field(factory=deque, init=False)

    def next(self) -> "Deferred[None]":
        """Fires in a later turn of the reactor, in which no other of these does."""
        turn: Deferred[None] = Deferred()
        self._waiting.append(turn)
        if len(self._waiting) == 1:
            self.clock.callLater(_NEXT, self._go_on)
        return turn

    def _go_on(self) -> None:
        # Those whose clients have gone were cancelled, and have nothing to do.
        while self._waiting[0].called and len(self._waiting) > 1:
            self._waiting.popleft()
        turn = self._waiting.popleft()
        if self._waiting:
            self.clock.callLater(_NEXT, self._go_on)
        turn.callback(None)
