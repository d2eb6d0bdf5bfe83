"""Changes all matching jobs, a slice at a time; other requests run in between."""

from typing import Protocol, TypeVar

from msgspec.structs import replace
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from ..core import commands as c

A = TypeVar("A")


class Asks(Protocol):
    """The part of an Engine that these functions use."""

    async def ask(self, command: c.Command[A]) -> A:
        """Carry out a command."""


async def update_matching(engine: Asks, clock: IReactorTime, command: c.UpdateMatching) -> int:
    """
    Change all matching jobs; returns how many.

    If the priority changes, list all uids first: a changed job moves in execution order, and a walk in that order could
    meet it twice.
    """
    if command.changes.priority is None or command.dry_run:
        return await sweep(engine, clock, command)
    # A key may be allowed to list jobs but not to change them: an update without uids checks that, even if none match.
    matched = await sweep(engine, clock, replace(command, uids=()))
    uids = await _matching(engine, clock, command)
    for start in range(0, len(uids), command.limit):
        matched += await sweep(engine, clock, replace(command, uids=tuple(uids[start : start + command.limit])))
        await deferLater(clock, 0)
    return matched


async def sweep(engine: Asks, clock: IReactorTime, command: c.UpdateMatching | c.DeleteMatching) -> int:
    """Change or remove all matching jobs in execution order; returns how many matched."""
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
