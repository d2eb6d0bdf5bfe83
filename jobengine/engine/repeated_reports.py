"""
Repeated reports of failures: the answer to the first one was lost, and the job is in a dead-letter queue by now.

Such a report is answered with the moved job as it is now, like a repeated report about a job that was not moved.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from hmac import compare_digest
from typing import Any, TypeVar

from ..core import commands as c
from ..core.errors import DomainError, JobNotFound
from ..core.model import Job, State
from .sweeps import Asks

A = TypeVar("A", bound=DomainError)


async def repeated_report(engine: Asks, command: c.UpdateJob | c.WaitFor, error: JobNotFound) -> Job:
    """The moved job, if this update repeats the report that moved it; otherwise raises `error`."""
    if isinstance(command, c.UpdateJob):
        access = {"access_key": command.access_key, "admin": command.admin}
        update = c.JobUpdate(uid=command.uid, changes=command.changes, lease=command.lease)
        job = await _moved_by(engine, access, command.queue, update)
        if job is not None:
            return job
    raise error


async def with_repeated(
    engine: Asks, access: Mapping[str, Any], updates: Iterable[tuple[str, c.JobUpdate]], outcomes: Sequence[Job | A]
) -> Sequence[Job | A]:
    """The outcomes; for an update that repeats a report, the moved job. `updates` are given with their queues."""
    if JobNotFound not in map(type, outcomes):
        return outcomes
    found = list(outcomes)
    for index, ((queue, update), outcome) in enumerate(zip(updates, outcomes, strict=True)):
        if isinstance(outcome, JobNotFound):
            found[index] = await _moved_by(engine, access, queue, update) or outcome
    return found


async def _moved_by(engine: Asks, access: Mapping[str, Any], queue: str, update: c.JobUpdate) -> Job | None:
    """The job that an earlier report with this update's lease has moved into a dead-letter queue; or None."""
    if update.lease is None or update.changes.state is not State.FAILED:
        return None
    with suppress(DomainError):
        name = await engine.ask(c.ReadDeadLetter(queue=queue, **access))
        if name is not None:
            job = await engine.ask(c.ReadJob(queue=name, uid=update.uid, admin=True))
            origin, lease = job.spec.rare.moved_from, job.standing.lease
            is_its = origin is not None and origin.queue == queue and lease is not None
            if is_its and compare_digest((lease or "").encode(), update.lease.encode()):
                return job
    return None
