"""Answers that are sent in parts, as jobs or events arrive from the engine."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Final

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall

from ..core.model import Job
from ..engine.door import Watched
from ..http.request import JobRequest
from ..http.stream import write_all
from ..wire.responses import queue_head, queue_tail, sent_events
from ..wire.shown_job import job_json

#: Seconds between comments in a stream of events: proxies close a connection that is silent for long.
_SIGN_OF_LIFE: Final = 20


async def send_events(request: JobRequest, watching: AsyncGenerator[Watched, None], clock: IReactorTime) -> None:
    """Send the events of a watch as they happen, and comments in between; raises TooSlow."""
    request.write(b":\n\n")
    alive = LoopingCall(request.write, b":\n\n")
    alive.clock = clock
    alive.start(_SIGN_OF_LIFE, now=False)
    try:
        await write_all(request, _as_sent_events(watching), clock)
    finally:
        alive.stop()


async def _as_sent_events(watching: AsyncGenerator[Watched, None]) -> AsyncGenerator[bytes, None]:
    """Encode the events of a watch as server-sent events."""
    async with aclosing(watching):
        async for watched in watching:
            yield _encoded(watched)


def _encoded(watched: Watched) -> bytes:
    if watched is None:
        return b"event: gone\ndata: {}\n\n"
    # A block with only an id tells the client where to continue; it is no event.
    return b"id: %b\n\n" % watched.encode() if isinstance(watched, str) else b"".join(map(sent_events, watched))


async def queue_in_parts(
    name: str, begun: Sequence[Sequence[Job]], pages: AsyncGenerator[Sequence[Job], None]
) -> AsyncGenerator[bytes, None]:
    """Encode a queue page by page; the number of jobs comes last, once it is known."""
    yield queue_head(name) + b",".join([job_json(job, name) for page in begun for job in page])
    size = sum(map(len, begun))
    async for page in pages:
        size += len(page)
        yield b"," + b",".join([job_json(job, name) for job in page])
    yield queue_tail(size)
