"""Changes all jobs that match, a slice at a time; other requests go in between."""

from typing import Protocol, TypeVar

from msgspec.structs import replace
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from ..core import commands as c

A = TypeVar("A")


class Asks(Protocol):
    """What these functions use of an Engine."""

    async def ask(self, command: c.Command[A]) -> A:
        """Carry out a command."""


async def update_matching(engine: Asks, clock: IReactorTime, command: c.UpdateMatching) -> int:
    """Change all that match; returns how many did. If the priority changes, jobs move, so all are picked before."""
    if command.changes.priority is None or command.dry_run:
        return await sweep(engine, clock, command)
    # Some keys may list jobs and not change them: check that first, even if nothing matches.
    matched = await sweep(engine, clock, replace(command, uids=()))
    uids = await _matching(engine, clock, command)
    for start in range(0, len(uids), command.limit):
        matched += await sweep(engine, clock, replace(command, uids=tuple(uids[start : start + command.limit])))
        await deferLater(clock, 0)
    return matched


async def sweep(engine: Asks, clock: IReactorTime, command: c.UpdateMatching | c.DeleteMatching) -> int:
    """Change all that match, by place; returns how many did."""
    matched = 0
    while True:
        swept = await engine.ask(command)
        matched += swept.matched
        if swept.following is None:
            return matched
        command = replace(command, after=swept.following)
        await deferLater(clock, 0)


async def _matching(engine: Asks, clock: IReactorTime, command: c.UpdateMatching) -> list[str]:
    """The uids of the jobs that match now."""
    listing = c.ListJobs(
        queue=command.queue,
        access_key=command.access_key,
        admin=command.admin,
        filter=command.filter,
        limit=command.limit,
    )
    uids: list[str] = []
    while True:
        page = await engine.ask(listing)
        uids += [job.spec.uid for job in page.jobs]
        if page.following is None:
            return uids
        listing = replace(listing, after=page.following)
        await deferLater(clock, 0)
