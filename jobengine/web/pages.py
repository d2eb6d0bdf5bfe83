"""Full pages of a list."""

from collections.abc import Awaitable, Callable
from typing import Final

from msgspec.structs import replace

from ..core import commands as c
from ..core.model import Job
from ..engine.door import Engine

#: Bytes of contents at which a page ends.
_PAGE_BYTES: Final = 8 << 20


async def filled_page(engine: Engine, command: c.ListJobs, pause: Callable[[], Awaitable[None]]) -> c.Page:
    """Fill a page with the number of jobs asked for: the engine looks at some jobs at a time, and not all may match."""
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
