"""
The values of the domain, and the errors it knows.

Times are whole milliseconds since the Unix epoch unless a field says otherwise. Everything here is frozen: a change
makes a new value, so a value that was handed out never changes under its reader.
"""

from enum import StrEnum
from typing import Final

from attrs import field, frozen

__all__ = [
    "FINISHED",
    "AccessDenied",
    "DomainError",
    "Job",
    "JobNotFound",
    "Queue",
    "QueueExists",
    "QueueNotFound",
    "Rank",
    "Spec",
    "State",
]

#: A place in execution order: negative priority, arrival, uid.
Rank = tuple[int, int, str]

_SECOND: Final = 1_000
_MINUTE: Final = 60_000


class State(StrEnum):
    """Where a job is in its life; the values are those of the API."""

    QUEUED = "queued"
    INPROGRESS = "inprogress"
    COMPLETE = "complete"
    FAILED = "failed"


#: The states in which a job is only kept to be looked at.
FINISHED: Final = frozenset({State.COMPLETE, State.FAILED})


@frozen(kw_only=True)
class Spec:
    """What was asked for when the job was added; the half of a job that stays the same."""

    #: A UUID as text, unique within the queue.
    uid: str
    #: Higher goes first.
    priority: int
    #: The job's place among those of equal priority; grows with every job added to the queue.
    arrival: int
    #: Minutes a finished job is kept; 0 removes it at once.
    keep_minutes: int
    #: Minutes in progress without an update until the job counts as failed; 0 is never.
    timeout_minutes: int
    #: Unix seconds at which a job still queued is removed; 0 is never.
    timeout_time: int
    #: A JSON object, byte for byte as the client sent it.
    content: bytes = field(repr=False)
    #: When it was added.
    created: int
    #: The job's place in execution order: smaller goes first. One tuple, shared by every index that holds it.
    rank: Rank = field(init=False, repr=False, eq=False)

    @rank.default
    def _rank(self) -> Rank:
        return (-self.priority, self.arrival, self.uid)


@frozen(kw_only=True)
class Job:
    """A job as it is now: its fixed half and the half that changes."""

    #: The fixed half.
    spec: Spec
    #: Where it is in its life.
    state: State
    #: When it last changed.
    updated: int

    @property
    def deadline(self) -> int | None:
        """When time will move this job on by itself, or None if it never does."""
        if self.state is State.QUEUED:
            return self.spec.timeout_time * _SECOND or None
        if self.state is State.INPROGRESS:
            timeout = self.spec.timeout_minutes * _MINUTE
            return self.updated + timeout if timeout else None
        return self.updated + self.spec.keep_minutes * _MINUTE


@frozen(kw_only=True)
class Queue:
    """A queue as its creator made it, without its jobs."""

    #: Unique among all queues.
    name: str
    #: Random text that makes the digest this queue's own.
    salt: str = field(repr=False)
    #: Keyed digest of the access key, as hexadecimal text (see jobengine.core.access).
    digest: str = field(repr=False)
    #: When it was created.
    created: int


class DomainError(Exception):
    """A command that can't be carried out; str() of it is written for the client."""


class QueueNotFound(DomainError):
    """No queue has the name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"There is no queue named {name!r}; create it with PUT /api/v1/queue.")


class QueueExists(DomainError):
    """The name of a queue to be created is taken."""

    def __init__(self, name: str) -> None:
        super().__init__(f"A queue named {name!r} exists already; choose another name, or use it with its access key.")


class AccessDenied(DomainError):
    """The access key is not this queue's."""

    def __init__(self) -> None:
        super().__init__("The access key is not the one of this queue; send its own in X-Access-Key.")


class JobNotFound(DomainError):
    """The queue holds no job with the uid."""

    def __init__(self, uid: str) -> None:
        super().__init__(f"The queue holds no job with uid {uid!r}; it may have been removed after its time.")
