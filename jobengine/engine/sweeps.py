"""Changes all matching jobs, a slice at a time; other requests run in between."""

from typing import Final, Protocol, TypeVar

from msgspec.structs import replace
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from ..core import commands as c
from ..core.dead_letters import NOT_FOUND

A = TypeVar("A")
#: The most jobs that are moved in one commit. 200 take a few milliseconds, in which other requests wait.
_MOVED: Final = 200


class Asks(Protocol):
    """The part of the Door that these functions use."""

    async def ask(self, command: c.Command[A]) -> A:
        """Carry out a command."""


async def update_matching(engine: Asks, clock: IReactorTime, command: c.UpdateMatching) -> int:
    """
    Change all matching jobs; returns how many.

    If changed jobs may get new places in execution order, list all uids first: a walk in that order could meet such a
    job twice.
    """
    if command.dry_run or not _may_meet_twice(command):
        return await sweep(engine, clock, command)
    # A key may be allowed to list jobs but not to change them: an update without uids checks that, even if none match.
    matched = await sweep(engine, clock, replace(command, uids=()))
    for uids in await _matching(engine, clock, command):
        swept = await engine.ask(replace(command, uids=tuple(uids.split())))
        matched, command = matched + swept.matched, replace(command, pace=swept.pace)
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
        if isinstance(command, c.UpdateMatching) and swept.pace is not None:
            command = replace(command, pace=swept.pace)
        await deferLater(clock, 0)


async def move_matching(engine: Asks, clock: IReactorTime, wanted: c.MoveMatching) -> c.Moved:
    """
    Move all matching jobs into another queue, _MOVED at a time in execution order; returns the outcome.

    Jobs that enter the source queue meanwhile, perhaps because they have failed again, stay there. Jobs given by uid
    are moved in the order of their uids instead.
    """
    if wanted.uids:
        return await _move_chosen(engine, clock, wanted)
    # The first step has no uids: it moves nothing, but checks the keys and reads the time.
    step = await engine.ask(_first_step(wanted))
    total, listing = step.moved, _listing(wanted, _MOVED)
    while True:
        page = await engine.ask(listing)
        uids = tuple(job.spec.uid for job in page.jobs)
        if uids:
            # If the list had to wait for a commit, this turn of the reactor also prepares the next write. Move in the
            # next turn, so that the moves, with a part of a compaction, are prepared as a write of their own.
            await deferLater(clock, 0)
            step = await engine.ask(replace(_first_step(wanted), uids=uids, pace=step.pace, before=step.since))
            total += step.moved
        if page.following is None:
            return total
        listing = replace(listing, after=page.following)
        await deferLater(clock, 0)


async def _move_chosen(engine: Asks, clock: IReactorTime, wanted: c.MoveMatching) -> c.Moved:
    """Move the jobs given by uid. No job is in two steps, so a job that changes meanwhile is moved too."""
    total, pace = c.Moved(), wanted.pace
    for start in range(0, len(wanted.uids), _MOVED):
        uids = wanted.uids[start : start + _MOVED]
        step = await engine.ask(replace(_first_step(wanted), uids=uids, pace=pace))
        total, pace = total + step.moved, step.pace
        await deferLater(clock, 0)
    return total + c.Moved(left={NOT_FOUND: len(wanted.uids) - total.matched})


def _may_meet_twice(command: c.UpdateMatching) -> bool:
    """Whether a walk in execution order could meet a changed job again, at its new place."""
    changes, only = command.changes, command.filter.only_state
    return changes.priority is not None or (changes.may_move and only in (None, changes.state))


def _first_step(wanted: c.MoveMatching) -> c.MoveJobs:
    return c.MoveJobs(
        queue=wanted.queue,
        to=wanted.to,
        access_key=wanted.access_key,
        admin=wanted.admin,
        filter=wanted.filter,
        uids=(),
        pace=wanted.pace,
        dry_run=wanted.dry_run,
    )


async def _matching(engine: Asks, clock: IReactorTime, command: c.UpdateMatching) -> list[str]:
    """
    The uids of the jobs that match now, in slices of `command.limit`, separated by spaces.

    A slice is one string, because a run of Python's garbage collector would visit each of 1,000,000 uids.
    """
    listing, slices = _listing(command, command.limit), []
    rest: list[str] = []
    while True:
        page = await engine.ask(listing)
        rest += [job.spec.uid for job in page.jobs]
        if len(rest) >= command.limit or page.following is None:
            slices.append(" ".join(rest[: command.limit]))
            del rest[: command.limit]
        if page.following is None:
            return [*filter(None, (*slices, " ".join(rest)))]
        listing = replace(listing, after=page.following)
        await deferLater(clock, 0)


def _listing(command: c.UpdateMatching | c.MoveMatching, limit: int) -> c.ListJobs:
    """The first page of the jobs that match."""
    return c.ListJobs(
        queue=command.queue, access_key=command.access_key, admin=command.admin, filter=command.filter, limit=limit
    )
