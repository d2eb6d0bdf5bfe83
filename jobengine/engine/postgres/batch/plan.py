"""The tasks of a batch, and the needs of each: the rows to load."""

from collections.abc import Container, Iterable, Sequence
from typing import Final

from msgspec.structs import replace

from ....core import commands as c
from ....core.access import authorise
from ....core.errors import DomainError, QueueDamaged, QueueNotFound
from ....core.model import Grant
from ....core.required_rows import Needs
from ....core.values import Value
from ..database.group_rows import FlowLock
from ..database.rows import Known

#: A command to the engine.
Task = c.Command[object]

#: The largest weight of a small batch, or a small claim; see Command.weight. A small batch takes a few milliseconds.
SMALL: Final = 100


class PlannedPart(Value, frozen=True):
    """A command about one queue, the grant of the caller's key there, and the parts of the queue to load."""

    command: c.QueueCommand[object]
    grant: Grant
    needs: Needs


class PlannedCommand(Value, frozen=True, gc=True):
    """A task and its parts, one for each queue. A task about no queue, or a refused task, has no parts."""

    task: Task
    parts: Sequence[PlannedPart] = ()
    #: The error of a refused task, otherwise None.
    refused: DomainError | None = None


def names_of(tasks: Iterable[Task]) -> list[str]:
    """The names of the tasks' queues, each once."""
    return list(dict.fromkeys(name for task in tasks for name in task.queue_names))


def changes_jobs(tasks: Iterable[Task]) -> bool:
    """Whether any of these tasks may change a job."""
    return not all(task.reads for task in tasks)


def flow_lock_of(tasks: Iterable[Task]) -> FlowLock:
    """How a batch of these tasks locks queues with flow."""
    return max((_lock_of(task) for task in tasks if not task.reads), default=FlowLock.SHARED)


def only_adds(parts: Iterable[PlannedPart]) -> bool:
    """Whether the only named things that the commands need are the batches to which they add jobs."""
    return all(isinstance(part.command, c.AddJobs) for part in parts if part.needs.items)


def _lock_of(task: Task) -> FlowLock:
    match task:
        case c.AddJobs() | c.DeleteJob():
            return FlowLock.SHARED
        case c.UpdateJob() | c.UpdateJobs():
            updates = task.updates if isinstance(task, c.UpdateJobs) else [task]
            holds = any(one.changes.hold_seconds is not None for one in updates)
            return FlowLock.CLAIMS if holds else FlowLock.SHARED
        case c.Claims() | c.ReturnClaims():
            return FlowLock.CLAIMS
    return FlowLock.ALONE


def overlaps(task: Task, *, has_flow: bool) -> bool:
    """
    Whether a task may run at the same time as other tasks about its queue, on another connection.

    Small claims may not: they cost less in one batch, and each would skip the jobs that another has locked. Large
    claims may: waiting would cost more than skipping. Tasks that add jobs with a unique key may not: they would wait
    for each other's locks. In queues with flow only large tasks that are not claims may: other tasks would mostly wait
    for the same rows of groups.
    """
    if has_flow and (task.weight <= SMALL or _lock_of(task) is not FlowLock.SHARED):
        return False
    if isinstance(task, c.Claims):
        return task.weight > SMALL
    return task.overlaps and not (isinstance(task, c.AddJobs) and any(job.unique_key is not None for job in task.jobs))


def plan(task: Task, known: "dict[str, Known]", now: int, damaged: Container[str] = ()) -> PlannedCommand:
    """
    Split a task into its parts. The task is refused if a queue does not exist, or the caller's key does not open it.
    `damaged` are queues that can't be opened; a claim skips them if it also names other queues.
    """
    try:
        if damaged and _deletes_damaged(task, damaged):
            return PlannedCommand(task)
        task = _without(damaged, task) if damaged else task
        return PlannedCommand(task, [_part(command, known, now, damaged) for command in task.parts])
    except DomainError as error:
        return PlannedCommand(task, refused=error)


def _deletes_damaged(task: Task, damaged: Container[str]) -> bool:
    """
    Whether the task deletes a damaged queue with the admin key. Other keys can't be checked, because their digests are
    in the damaged queue's row.
    """
    return isinstance(task, c.DeleteQueue) and task.admin and task.queue in damaged


def _without(damaged: Container[str], task: Task) -> Task:
    """
    Return the task; damaged queues are removed from a claim that also names other queues. Raises QueueDamaged if the
    task creates a damaged queue.
    """
    if isinstance(task, c.CreateQueue) and task.queue in damaged:
        raise QueueDamaged(task.queue)
    if not isinstance(task, c.Claims):
        return task
    sound = tuple(name for name in task.queues if name not in damaged)
    return replace(task, queues=sound) if sound else task


def _part(command: c.QueueCommand[object], known: "dict[str, Known]", now: int, damaged: Container[str]) -> PlannedPart:
    if command.queue in damaged:
        raise QueueDamaged(command.queue)
    if command.queue not in known:
        raise QueueNotFound(command.queue)
    queue = known[command.queue].queue
    grant = authorise(queue, command, now)
    return PlannedPart(command, grant, command.needs(queue, grant))
