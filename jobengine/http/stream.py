"""Long answers, written no faster than the client reads."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IPushProducer, IReactorTime
from twisted.web.server import Request
from zope.interface import implementer

__all__ = ["TooSlow", "write_all"]

#: Seconds in which a client must take something of a long answer.
_PATIENCE: Final = 30


class TooSlow(Exception):
    """The client takes nothing of a long answer."""


@implementer(IPushProducer)
class _Flow:
    """Whether the client takes more; a producer in name, to be told of it."""

    def __init__(self) -> None:
        self._open: Deferred[None] | None = None

    def pauseProducing(self) -> None:
        """The client is behind."""
        if self._open is None:
            self._open = Deferred()

    def resumeProducing(self) -> None:
        """The client has caught up."""
        opened, self._open = self._open, None
        if opened is not None:
            opened.callback(None)

    def stopProducing(self) -> None:
        """The client is gone; the handler learns it by being cancelled."""
        self.resumeProducing()

    async def ready(self, clock: IReactorTime) -> None:
        """Return when the client takes more; raises TooSlow if that takes too long."""
        if self._open is not None:
            try:
                await self._open.addTimeout(_PATIENCE, clock)
            except DeferredTimeout:
                raise TooSlow from None


async def write_all(request: Request, pieces: AsyncGenerator[bytes, None], clock: IReactorTime) -> None:
    """
    Write the pieces one by one, each when the client has taken the one before; they are closed at the end.

    Raises TooSlow if the client takes nothing for too long: what it is to be sent would fill the memory.
    """
    flow = _Flow()
    request.registerProducer(flow, True)
    try:
        async with aclosing(pieces):
            async for piece in pieces:
                request.write(piece)
                await flow.ready(clock)
    finally:
        if request.channel is not None:  # it is None once the client has gone
            request.unregisterProducer()
