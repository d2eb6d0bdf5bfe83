"""Reads lists of jobs page by page, so that other requests run in between."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from attrs import define, field
from msgspec.structs import replace

from ..core import commands as c
from ..core.model import Job, State
from ..engine.door import Door
from ..wire.requests import Access
from ..wire.responses import Holder

#: Bytes of contents at which a page ends.
_PAGE_BYTES: Final = 8 << 20
#: Jobs that are counted without a pause: some tenths of a millisecond.
_COUNTED_AT_ONCE: Final = 500


async def filled_page(engine: Door, command: c.ListJobs, pause: Callable[[], Awaitable[None]]) -> c.Page:
    """Fill a page with the requested number of jobs: the engine examines some jobs at a time, and not all may match."""
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


def jobs_held(queue: str, access: Access) -> c.ListJobs:
    """The command for the first page of jobs in progress."""
    return c.ListJobs(
        queue=queue, **access, filter=c.Filter(state=State.INPROGRESS), limit=_COUNTED_AT_ONCE, scan=_COUNTED_AT_ONCE
    )


@define
class Holders:
    """The jobs of each worker, by its name; None stands for all workers without a name."""

    by_name: dict[str | None, Holder] = field(factory=dict)

    def add(self, jobs: Iterable[Job]) -> None:
        """Count jobs in progress."""
        for job in jobs:
            name, claimed = job.standing.worker, job.standing.claimed or job.updated
            holder = self.by_name.setdefault(name, Holder(name, 0, claimed, job.updated))
            holder.jobs += 1
            holder.oldest_claimed = min(holder.oldest_claimed, claimed)
            holder.last_updated = max(holder.last_updated, job.updated)


async def count_holders(engine: Door, command: c.ListJobs, pause: Callable[[], Awaitable[None]]) -> list[Holder]:
    """Count the jobs of each worker; each page shows the queue at the time of reading."""
    holders = Holders()
    while True:
        page = await engine.ask(command)
        holders.add(page.jobs)
        if page.following is None:
            return list(holders.by_name.values())
        command = replace(command, after=page.following)
        await pause()
