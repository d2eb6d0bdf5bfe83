"""
What a command does: `decide` looks at the state and answers with facts; it changes nothing.

The clock and new ids are arguments, so the same call gives the same facts on any day.
"""

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, Final

from .access import digest_of, opens
from .commands import (
    AddJob,
    Claim,
    Command,
    CreateQueue,
    DeleteJob,
    DeleteQueue,
    ListJobs,
    Page,
    Peek,
    ReadJob,
    UpdateJob,
)
from .events import Fact, JobAdded, JobChanged, JobRemoved, QueueCreated, QueueDeleted
from .model import AccessDenied, Job, JobNotFound, Queue, QueueExists, QueueNotFound, Spec, State
from .state import QueueTable, Tables

__all__ = ["Decision", "NewId", "decide", "expire"]

#: Makes a random UUID as text at each call.
NewId = Callable[[], str]
#: What becomes true, and what the one who asked is told.
Decision = tuple[Sequence[Fact], Any]

_NOTHING: Final[tuple[Fact, ...]] = ()


def decide(tables: Tables, command: Command, now: int, new_id: NewId) -> Decision:
    """
    The facts that `command` makes true at `now` (milliseconds), and its answer (see the command's docstring).

    Takes it that nothing is due at `now`: apply what `expire` says first. Raises a DomainError where the command can't
    be carried out, for the queue before the key and for the key before the job.
    """
    if isinstance(command, CreateQueue):
        return _create_queue(tables, command, now, new_id)
    table = _open_queue(tables, command)
    decider = _DECIDERS[type(command)]
    decision: Decision = decider(table, command, now, new_id)
    return decision


def expire(tables: Tables, now: int, limit: int) -> list[Fact]:
    """
    What time alone has made true by `now`, for at most `limit` jobs, those in one queue by their deadlines.

    Apply it and ask again until nothing comes: a job that times out may be due for removal at once.
    """
    return [_outlived(name, job, now) for name, job in islice(tables.due(now), limit)]


def _outlived(name: str, job: Job, now: int) -> Fact:
    if job.state is State.INPROGRESS:
        return JobChanged(name, job.spec.uid, State.FAILED, now)
    return JobRemoved(name, job.spec.uid)


def _open_queue(tables: Tables, command: Command) -> QueueTable:
    table = tables.queues.get(command.queue)
    if table is None:
        raise QueueNotFound(command.queue)
    if not opens(table.queue, command.access_key):
        raise AccessDenied
    return table


def _job(table: QueueTable, uid: str) -> Job:
    job = table.jobs.get(uid)
    if job is None:
        raise JobNotFound(uid)
    return job


def _create_queue(tables: Tables, command: CreateQueue, now: int, new_id: NewId) -> Decision:
    if command.queue in tables.queues:
        raise QueueExists(command.queue)
    salt = new_id()
    digest = digest_of(command.access_key, salt)
    return [QueueCreated(Queue(name=command.queue, salt=salt, digest=digest, created=now))], None


def _delete_queue(_table: QueueTable, command: DeleteQueue, _now: int, _new_id: NewId) -> Decision:
    return [QueueDeleted(command.queue)], None


def _list_jobs(table: QueueTable, command: ListJobs, _now: int, _new_id: NewId) -> Decision:
    jobs = table.page(command.after, command.limit)
    more = len(jobs) == command.limit and bool(jobs) and jobs[-1].spec.rank != table.order[-1]
    return _NOTHING, Page(jobs=jobs, following=jobs[-1].spec.rank if more else None)


def _add_job(table: QueueTable, command: AddJob, now: int, new_id: NewId) -> Decision:
    spec = Spec(
        uid=new_id(),
        priority=command.priority,
        arrival=table.next_arrival,
        keep_minutes=command.keep_minutes,
        timeout_minutes=command.timeout_minutes,
        timeout_time=command.timeout_time,
        content=command.content,
        created=now,
    )
    job = Job(spec=spec, state=State.QUEUED, updated=now)
    return [JobAdded(command.queue, job)], job


def _read_job(table: QueueTable, command: ReadJob, _now: int, _new_id: NewId) -> Decision:
    return _NOTHING, _job(table, command.uid)


def _peek(table: QueueTable, _command: Peek, _now: int, _new_id: NewId) -> Decision:
    return _NOTHING, table.first_ready()


def _claim(table: QueueTable, command: Claim, now: int, _new_id: NewId) -> Decision:
    job = table.first_ready()
    if job is None:
        return _NOTHING, None
    return _move(command.queue, job, State.INPROGRESS, now)


def _update_job(table: QueueTable, command: UpdateJob, now: int, _new_id: NewId) -> Decision:
    return _move(command.queue, _job(table, command.uid), command.state, now)


def _delete_job(table: QueueTable, command: DeleteJob, _now: int, _new_id: NewId) -> Decision:
    _job(table, command.uid)
    return [JobRemoved(command.queue, command.uid)], None


def _move(queue: str, job: Job, state: State, now: int) -> Decision:
    return [JobChanged(queue, job.spec.uid, state, now)], Job(spec=job.spec, state=state, updated=now)


_DECIDERS: Final[dict[type, Callable[..., Decision]]] = {
    DeleteQueue: _delete_queue,
    ListJobs: _list_jobs,
    AddJob: _add_job,
    ReadJob: _read_job,
    Peek: _peek,
    Claim: _claim,
    UpdateJob: _update_job,
    DeleteJob: _delete_job,
}
