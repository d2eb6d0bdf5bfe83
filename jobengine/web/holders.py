"""Counts the jobs in progress by worker: page by page, so that other requests run in between."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from attrs import define, field
from msgspec.structs import replace

from ..core.commands import Filter, ListJobs
from ..core.model import Job, State
from ..engine.door import Engine
from ..wire.requests import Access
from ..wire.responses import Holder

#: Jobs that are counted without a pause: some tenths of a millisecond.
_PAGE: Final = 500


def jobs_held(queue: str, access: Access) -> ListJobs:
    """The command for the first page of jobs in progress."""
    return ListJobs(queue=queue, **access, filter=Filter(state=State.INPROGRESS), limit=_PAGE, scan=_PAGE)


@define
class Holders:
    """What each worker holds, by its name; None stands for all workers without a name."""

    by_name: dict[str | None, Holder] = field(factory=dict)

    def add(self, jobs: Iterable[Job]) -> None:
        """Count jobs in progress."""
        for job in jobs:
            name, claimed = job.standing.worker, job.standing.claimed or job.updated
            holder = self.by_name.setdefault(name, Holder(name, 0, claimed, job.updated))
            holder.jobs += 1
            holder.oldest_claimed = min(holder.oldest_claimed, claimed)
            holder.last_updated = max(holder.last_updated, job.updated)


async def count_holders(engine: Engine, command: ListJobs, pause: Callable[[], Awaitable[None]]) -> list[Holder]:
    """Count the jobs of each worker; each page shows the queue at the time when it is read."""
    holders = Holders()
    while True:
        page = await engine.ask(command)
        holders.add(page.jobs)
        if page.following is None:
            return list(holders.by_name.values())
        command = replace(command, after=page.following)
        await pause()
