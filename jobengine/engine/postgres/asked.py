"""The tasks of a batch, and what each needs to be loaded."""

from collections.abc import Iterable, Sequence
from typing import Final

from ...core import commands as c
from ...core.access import authorise
from ...core.errors import DomainError, QueueNotFound
from ...core.model import Grant
from ...core.needs import Needs, needs
from ...core.values import Value
from .rows import Known

__all__ = [
    "SMALL",
    "Asked",
    "Part",
    "Task",
    "asked",
    "changes_jobs",
    "is_batched",
    "names_of",
    "overlaps",
    "parts_of",
    "weight_of",
]

#: A command to the engine, which the rules decide.
Task = c.Command[object]

#: Commands that may share a batch: they need only jobs that are named, or the first ones of a queue.
_BATCHED: Final = frozenset(
    {
        c.AddJobs,
        c.CheckKey,
        c.Claim,
        c.Claims,
        c.DeleteJob,
        c.ListKeys,
        c.Peek,
        c.ReadJob,
        c.ReturnClaims,
        c.Subscribe,
        c.UpdateJob,
        c.UpdateJobs,
    }
)
#: Commands that change no jobs, so their jobs are not locked.
_READING: Final = (
    c.CheckKey,
    c.CountQueues,
    c.ExplainJob,
    c.ListJobs,
    c.ListKeys,
    c.ListQueues,
    c.Peek,
    c.ReadJob,
    c.ReadStats,
    c.Subscribe,
)
#: Commands that may overlap with others, beside AddJobs.
_OVERLAPPING: Final = (
    c.CheckKey,
    c.DeleteJob,
    c.ListKeys,
    c.ReadJob,
    c.Subscribe,
    c.UpdateJob,
    c.UpdateJobs,
)
#: The most that a small batch, or a small claim, weighs; see weight_of. It is carried out in a few milliseconds.
SMALL: Final = 100


class Part(Value, frozen=True):
    """A command about one queue, what its key may do there, and what it needs of the queue."""

    command: c.QueueCommand[object]
    grant: Grant
    needs: Needs


class Asked(Value, frozen=True, gc=True):
    """A task and its parts. It has none if it is about no queue, or is refused."""

    task: Task
    parts: Sequence[Part] = ()
    #: Why it is refused; None if it is not.
    refused: DomainError | None = None


def names_of(tasks: Iterable[Task]) -> list[str]:
    """The names of the queues that tasks name, each once."""
    return list(dict.fromkeys(name for task in tasks for name in task.queue_names))


def is_batched(task: Task) -> bool:
    """Whether a task may share a batch with others."""
    return type(task) in _BATCHED


def changes_jobs(tasks: Iterable[Task]) -> bool:
    """Whether any of them may change a job."""
    return any(not isinstance(task, _READING) for task in tasks)


def overlaps(task: Task) -> bool:
    """
    Whether a task may overlap with others about its queue on another connection.

    Small claims may not: they cost less in one batch, and each would pass over the jobs that another has locked. For a
    large one, to pass over them costs less than to wait. Nor may adding with a unique key, which waits for others that
    add with the same key.
    """
    if isinstance(task, c.AddJobs):
        return all(job.unique_key is None for job in task.jobs)
    if isinstance(task, c.Claims):
        return weight_of(task) > SMALL
    return isinstance(task, _OVERLAPPING)


def weight_of(task: Task) -> int:
    """How much a batch holds of it: the jobs that it may add, claim or change."""
    if isinstance(task, c.AddJobs):
        return len(task.jobs)
    if isinstance(task, c.UpdateJobs):
        return len(task.updates)
    return 1 + task.count if isinstance(task, c.Claim | c.Claims) else 1


def parts_of(task: Task) -> list[c.QueueCommand[object]]:
    """The commands that a task is made of, each about one queue."""
    if isinstance(task, c.Claims):
        return [*task.update_commands(), *(task.of(name, task.count) for name in task.queues)]
    return [task] if isinstance(task, c.QueueCommand) and not isinstance(task, c.CreateQueue) else []


def asked(task: Task, known: "dict[str, Known]", now: int) -> Asked:
    """The parts of a task; refused if a queue does not exist, or the key does not open it."""
    try:
        return Asked(task, [_part(command, known, now) for command in parts_of(task)])
    except DomainError as error:
        return Asked(task, refused=error)


def _part(command: c.QueueCommand[object], known: "dict[str, Known]", now: int) -> Part:
    if command.queue not in known:
        raise QueueNotFound(command.queue)
    queue = known[command.queue].queue
    grant = authorise(queue, command, now)
    return Part(command, grant, needs(command, queue, grant))
