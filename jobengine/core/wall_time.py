"""
Converts elapsed time to the wall clock: answers of the engine pass through here if the clock was set.

The state counts elapsed time, so that setting the wall clock moves no delay, lease or retention. Clients see times by
the present wall clock: what happened an hour ago is shown as an hour ago, even if the clock was set since.
"""

from collections.abc import Callable
from typing import Any, Final, TypeVar

from attrs import evolve
from msgspec.structs import replace

from . import commands as c
from .model import AccessKey, Job, JobEvent, Notes, OldKey, Queue, QueueStats

__all__ = ["shown"]

A = TypeVar("A")


def shown(answer: A, ahead: int) -> A:
    """The answer with its times converted to a wall clock that is ahead of elapsed time by `ahead` milliseconds."""
    return _moved(answer, ahead) if ahead else answer


def _moved(answer: Any, ahead: int) -> Any:
    if isinstance(answer, list | tuple):
        return type(answer)(_moved(item, ahead) for item in answer)
    move = _MOVERS.get(type(answer))
    return answer if move is None else move(answer, ahead)


def _job(job: Job, ahead: int) -> Job:
    spec, standing = job.spec, job.standing
    moved = replace(
        standing,
        updated=standing.updated + ahead,
        claimed=standing.claimed and standing.claimed + ahead,
        ready_at=standing.ready_at and standing.ready_at + ahead,
        notes=_notes(standing.notes, ahead),
    )
    return Job(replace(spec, created=spec.created + ahead), moved)


def _notes(notes: Notes, ahead: int) -> Notes:
    if not notes.history:
        return notes
    history = (replace(one, started=one.started + ahead, ended=one.ended + ahead) for one in notes.history)
    return replace(notes, history=tuple(history))


def _queue(queue: Queue, ahead: int) -> Queue:
    return evolve(
        queue,
        created=queue.created + ahead,
        keys=_moved(queue.keys, ahead),
        old_key=_moved(queue.old_key, ahead),
    )


_MOVERS: Final[dict[type, Callable[[Any, int], Any]]] = {
    Job: _job,
    Queue: _queue,
    AccessKey: lambda key, ahead: evolve(key, created=key.created + ahead),
    OldKey: lambda key, ahead: evolve(key, until=key.until + ahead),
    JobEvent: lambda event, ahead: evolve(event, at=event.at + ahead),
    QueueStats: lambda stats, ahead: evolve(stats, queue=_queue(stats.queue, ahead)),
    c.Added: lambda added, ahead: c.Added(_job(added.job, ahead), added.new),
    c.Claimed: lambda one, ahead: c.Claimed(one.queue, _job(one.job, ahead)),
    c.ClaimResult: lambda result, ahead: c.ClaimResult(
        jobs=_moved(result.jobs, ahead), results=_moved(result.results, ahead)
    ),
    c.Page: lambda page, ahead: replace(page, jobs=_moved(page.jobs, ahead)),
    c.Explanation: lambda told, ahead: replace(told, job=_job(told.job, ahead), queue=_queue(told.queue, ahead)),
}
