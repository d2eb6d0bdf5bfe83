"""The rules for claiming jobs, for the next one to be claimed, and for undoing claims."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final

from . import commands as c
from .decision import NOTHING, Decision, NewId, Rules
from .facts import Fact, JobChanged
from .model import INPROGRESS, QUEUED, SECOND, Grant, Job, Standing
from .tables import Table

__all__ = ["OF_A_QUEUE"]

#: A claim of many jobs ends before their contents exceed this many bytes: the answer is built in memory.
_CLAIMED_BYTES: Final = 16 << 20


def _claimable(table: Table, now: int, tags: tuple[str, ...] = ()) -> Iterator[Job]:
    """The ready jobs, without those whose `timeout_time` has passed."""
    wall = table.wall(now)
    return (job for job in table.ready_jobs(tags) if not (until := job.spec.timeout_time) or until * SECOND > wall)


def _peek(table: Table, _grant: Grant, _command: c.Peek, now: int, _new_id: NewId) -> Decision[Job | None]:
    """Find the first job that can be claimed."""
    return NOTHING, next(_claimable(table, now), None)


def _wanted(table: Table, command: c.Claim, now: int) -> Iterator[Job]:
    if command.uids is None:
        return _claimable(table, now, command.tags)
    tags, wall = frozenset(command.tags), table.wall(now)
    jobs = (job for uid in command.uids if (job := table.job(uid)) is not None and job.ready)
    return (job for job in jobs if tags.issubset(job.spec.tags) and not 0 < job.spec.timeout_time * SECOND <= wall)


def _claim(table: Table, _grant: Grant, command: c.Claim, now: int, new_id: NewId) -> Decision[Sequence[Job]]:
    """Claim the first jobs; none of a paused queue."""
    if table.queue.paused:
        return NOTHING, []
    facts: list[Fact] = []
    claimed: list[Job] = []
    size = 0
    for job in islice(_wanted(table, command, now), command.count):
        size += job.size
        if claimed and size > _CLAIMED_BYTES:
            break
        standing = Standing(
            state=INPROGRESS,
            updated=now,
            attempts=job.standing.attempts + 1,
            claimed=now,
            lease=new_id(),
            worker=command.worker,
            notes=job.standing.notes,
        )
        facts.append(JobChanged(command.queue, job.spec.uid, standing))
        claimed.append(Job(job.spec, standing))
    return facts, claimed


def _return_claims(table: Table, _grant: Grant, command: c.ReturnClaims, now: int, _new_id: NewId) -> Decision[None]:
    """Undo claims."""
    held = ((table.job(uid), lease) for uid, lease in command.claims)
    facts = [
        JobChanged(command.queue, job.spec.uid, _returned(job.standing, now))
        for job, lease in held
        if job is not None and job.state is INPROGRESS and job.standing.lease == lease
    ]
    return facts, None


def _returned(standing: Standing, now: int) -> Standing:
    return Standing(state=QUEUED, updated=now, attempts=standing.attempts - 1, notes=standing.notes)


#: The rule of each command about one queue.
OF_A_QUEUE: Final[Rules] = {
    c.Peek: _peek,
    c.Claim: _claim,
    c.ReturnClaims: _return_claims,
}
