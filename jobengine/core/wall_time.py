"""
Converts elapsed time to the wall clock: answers of the engine pass through here if the clock was set.

The state counts elapsed time, so that setting the wall clock moves no delay, lease or retention. Clients see times by
the present wall clock: what happened an hour ago is shown as an hour ago, even if the clock was set since.
"""

from typing import Protocol, Self, TypeVar, cast, runtime_checkable

from attrs import evolve
from msgspec.structs import replace

from .claimers import Claimers, WaitingClaim
from .model import AccessKey, Job, Notes, OldKey, Queue
from .stats import QueueStats

A = TypeVar("A")


def shown(answer: A, ahead: int) -> A:
    """The answer with its times converted to a wall clock that is `ahead` milliseconds ahead of elapsed time."""
    return _moved(answer, ahead) if ahead else answer


@runtime_checkable
class HasTimes(Protocol):
    """An answer of several values, which converts their times itself."""

    def at_wall_clock(self, ahead: int) -> Self:
        """The answer with its times converted; see shown."""


def _moved(answer: A, ahead: int) -> A:
    """Convert an answer of any type; one without times is returned unchanged."""
    if isinstance(answer, list | tuple):
        return cast("A", type(answer)(_moved(item, ahead) for item in answer))
    return cast("A", _value(answer, ahead))


def _value(value: object, ahead: int) -> object:
    match value:
        case Job():
            return _job(value, ahead)
        case Queue():
            return _queue(value, ahead)
        case QueueStats():
            last_claim = value.last_claim and value.last_claim + ahead
            held_until = value.held_until and value.held_until + ahead
            return evolve(value, queue=_queue(value.queue, ahead), last_claim=last_claim, held_until=held_until)
        case Claimers():
            return replace(value, waiting=[_waiting(one, ahead) for one in value.waiting])
        case AccessKey():
            return _access_key(value, ahead)
        case HasTimes():
            return value.at_wall_clock(ahead)
    return value


def _job(job: Job, ahead: int) -> Job:
    spec, standing = job.spec, job.standing
    moved = replace(
        standing,
        updated=standing.updated + ahead,
        claimed=standing.claimed and standing.claimed + ahead,
        ready_at=standing.ready_at and standing.ready_at + ahead,
        notes=_notes(standing.notes, ahead),
    )
    rare = spec.rare
    if rare.line is not None:
        rare = replace(rare, line=rare.line + ahead)
    if rare.moved_from is not None:
        rare = replace(rare, moved_from=replace(rare.moved_from, at=rare.moved_from.at + ahead))
    return Job(replace(spec, created=spec.created + ahead, rare=rare), moved)


def _notes(notes: Notes, ahead: int) -> Notes:
    if not notes.history:
        return notes
    history = (replace(one, started=one.started + ahead, ended=one.ended + ahead) for one in notes.history)
    return replace(notes, history=tuple(history))


def _queue(queue: Queue, ahead: int) -> Queue:
    return evolve(
        queue,
        created=queue.created + ahead,
        keys=tuple(_access_key(key, ahead) for key in queue.keys),
        old_key=_old_key(queue.old_key, ahead),
    )


def _waiting(claim: WaitingClaim, ahead: int) -> WaitingClaim:
    return replace(claim, since=claim.since + ahead, last_claim=claim.last_claim + ahead)


def _access_key(key: AccessKey, ahead: int) -> AccessKey:
    return evolve(key, created=key.created + ahead)


def _old_key(key: OldKey | None, ahead: int) -> OldKey | None:
    return key and evolve(key, until=key.until + ahead)
