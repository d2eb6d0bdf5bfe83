"""Long answers, written no faster than the client reads them."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IPushProducer, IReactorTime
from zope.interface import implementer

from .request import JobRequest
from .unsent_bytes import Unsent

#: Seconds in which a client must read at least one byte of a long answer.
_PATIENCE: Final = 30


class TooSlow(Exception):
    """The client reads a long answer too slowly."""


@implementer(IPushProducer)
class _Flow:
    """A producer that Twisted notifies whether the client reads fast enough."""

    def __init__(self) -> None:
        self._open: Deferred[None] | None = None

    def pauseProducing(self) -> None:
        """Hold further data: the client does not keep up."""
        if self._open is None:
            self._open = Deferred()

    def resumeProducing(self) -> None:
        """Let the answer continue: the client has caught up."""
        opened, self._open = self._open, None
        if opened is not None:
            opened.callback(None)

    def stopProducing(self) -> None:
        """Wake the handler: the client disconnected, and the handler is cancelled."""
        self.resumeProducing()

    async def ready(self, clock: IReactorTime, unsent: Callable[[], Unsent | None]) -> None:
        """
        Return when more can be sent to the client; raises TooSlow if the client reads nothing for too long.

        A slow client may read for minutes before the system's buffer has room again. `unsent` returns the bytes that
        the client has not read yet, or None.
        """
        while self._open is not None:
            before, opened = unsent(), self._open
            late = clock.callLater(_PATIENCE, opened.cancel)
            try:
                await opened
            except CancelledError:
                if late.active():
                    # The caller was cancelled; the time-out did not expire.
                    late.cancel()
                    raise
                if unsent() == before:
                    raise TooSlow from None
                # The client reads slowly: wait again for the next change.
                if self._open is opened:
                    self._open = Deferred()
            else:
                late.cancel()


async def write_all(request: JobRequest, pieces: AsyncGenerator[bytes, None], clock: IReactorTime) -> None:
    """
    Write the pieces, each once the client has caught up; then close the iterator. Raises TooSlow if the client reads
    nothing for too long.
    """
    flow = _Flow()
    request.registerProducer(flow, True)
    if request.channel is not None and request.channel.paused:
        # Twisted notifies a producer only of later changes.
        flow.pauseProducing()
    try:
        async with aclosing(pieces):
            async for piece in pieces:
                request.write(piece)
                await flow.ready(clock, request.unsent)
    finally:
        if request.channel is not None:  # None if the client has disconnected
            request.unregisterProducer()
