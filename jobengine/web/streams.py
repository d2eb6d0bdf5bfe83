"""Answers that are made in parts, as their jobs or events come from the engine."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from ..core.model import EventBatch, Job
from ..wire.responses import job_json, queue_head, queue_tail, sent_events

__all__ = ["as_sent_events", "queue_in_parts"]


async def as_sent_events(watching: AsyncGenerator[Sequence[EventBatch] | None, None]) -> AsyncGenerator[bytes, None]:
    """The events of a watch, as server-sent events."""
    async with aclosing(watching):
        async for batches in watching:
            yield b"event: gone\ndata: {}\n\n" if batches is None else b"".join(map(sent_events, batches))


async def queue_in_parts(
    name: str, begun: Sequence[Sequence[Job]], pages: AsyncGenerator[Sequence[Job], None]
) -> AsyncGenerator[bytes, None]:
    """The JSON of a queue, page by page; the number of jobs comes last, when it is known."""
    yield queue_head(name) + b",".join([job_json(job) for page in begun for job in page])
    size = sum(map(len, begun))
    async for page in pages:
        size += len(page)
        yield b"," + b",".join([job_json(job) for job in page])
    yield queue_tail(size)
