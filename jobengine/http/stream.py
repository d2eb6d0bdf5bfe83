"""Long answers, written no faster than the client reads."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IPushProducer, IReactorTime
from zope.interface import implementer

from .request import JobRequest

__all__ = ["TooSlow", "write_all"]

#: Seconds in which a client must take something, be it a byte, of a long answer.
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

    async def ready(self, clock: IReactorTime, taken: Callable[[], int | None]) -> None:
        """
        Return when the client takes more; raises TooSlow if it takes nothing at all for too long.

        Between two times at which the system has room again a slow client may read for minutes: `taken` says how many
        bytes it has taken so far, or None.
        """
        while self._open is not None:
            before, opened = taken(), self._open
            late = clock.callLater(_PATIENCE, opened.cancel)
            try:
                await opened
            except CancelledError:
                if late.active():
                    # It was not for the time: whoever asked has gone.
                    late.cancel()
                    raise
                if taken() == before:
                    raise TooSlow from None
                # Whether it was resumed or not is to be told anew.
                if self._open is opened:
                    self._open = Deferred()
            else:
                late.cancel()


async def write_all(request: JobRequest, pieces: AsyncGenerator[bytes, None], clock: IReactorTime) -> None:
    """
    Write the pieces one by one, each when the client has taken the one before; they are closed at the end.

    Raises TooSlow if the client takes nothing for too long: what it is to be sent would fill the memory.
    """
    flow = _Flow()
    request.registerProducer(flow, True)
    if request.channel is not None and request.channel.paused:
        # Twisted tells a producer of what happens from now on only.
        flow.pauseProducing()
    try:
        async with aclosing(pieces):
            async for piece in pieces:
                request.write(piece)
                await flow.ready(clock, request.taken)
    finally:
        if request.channel is not None:  # it is None once the client has gone
            request.unregisterProducer()
