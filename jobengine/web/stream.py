"""Long answers, written no faster than the client reads."""

from collections.abc import AsyncIterator

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.web.server import Request
from zope.interface import implementer

__all__ = ["write_all"]


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

    async def ready(self) -> None:
        """Return when the client takes more."""
        if self._open is not None:
            await self._open


async def write_all(request: Request, pieces: AsyncIterator[bytes]) -> None:
    """Write the pieces one by one, each when the client has taken the one before."""
    flow = _Flow()
    request.registerProducer(flow, True)
    try:
        async for piece in pieces:
            request.write(piece)
            await flow.ready()
    finally:
        request.unregisterProducer()
