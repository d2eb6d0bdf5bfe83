"""Pages of a list, as full as was asked for."""

from collections.abc import Awaitable, Callable
from typing import Final

from msgspec.structs import replace

from ..core import commands as c
from ..core.model import Job
from ..engine.door import Engine

__all__ = ["filled_page"]

#: A page ends when the contents in it are longer than this in all.
_PAGE_BYTES: Final = 8 << 20


async def filled_page(engine: Engine, command: c.ListJobs, pause: Callable[[], Awaitable[None]]) -> c.Page:
    """As many jobs as were asked for, though the engine looks at so many at a time and not all may match."""
    jobs: list[Job] = []
    size = 0
    while True:
        page = await engine.ask(replace(command, limit=command.limit - len(jobs)))
        jobs += page.jobs
        size += sum(job.size for job in page.jobs)
        if page.following is None or len(jobs) == command.limit or size > _PAGE_BYTES:
            return c.Page(jobs=jobs, following=page.following)
        await pause()
        command = replace(command, after=page.following)
