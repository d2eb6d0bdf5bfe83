"""
Dead-letter queues, and where moved jobs came from.

A job that fails with no attempts left, in a queue with a dead-letter queue, is due at once: see Job.deadline. Then
jobengine.core.moves moves it, or records why it stays.
"""

from collections.abc import Mapping
from typing import Annotated, Final

from msgspec import Meta

from .values import Value

#: The minutes for which a dead-letter queue keeps a job, unless a setting says otherwise: two weeks.
KEEP_MINUTES: Final = 20_160


class DeadLetter(Value, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """The dead-letter queue of a queue."""

    #: The dead-letter queue's name.
    queue: str
    #: The dead-letter queue's salt: a later queue of that name, which may be somebody else's, gets no jobs.
    salt: str
    #: Minutes for which the queue keeps a moved job.
    keep_minutes: Annotated[int, Meta(ge=0)] = KEEP_MINUTES
    #: Whether the queue was found missing when a job was to be moved.
    missing: bool = False


class MovedFrom(Value, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Where a job was before its last move."""

    #: The name of the queue before the move.
    queue: str
    #: When the job was moved.
    at: int
    #: Of a job in a dead-letter queue: for how many minutes it is kept after a failure in other queues; else None.
    keep_failed: int | None = None
    #: The job's group before the move, if the queue to which it was moved has no groups.
    group: str | None = None


#: Notes.dead_letter of a job that is about to be moved.
DUE: Final = "due"
#: Notes.dead_letter of a job that is not moved: the reason.
FULL: Final = "full"
DRAINING: Final = "draining"
UID_TAKEN: Final = "uid_taken"
MISSING: Final = "missing"
REPLACED: Final = "replaced"
AWAITED: Final = "awaited"
BATCH: Final = "batch"
HOLDS_GROUP: Final = "holds_group"
#: Further reasons why a job that a client wants to move is not moved.
COMPLETE: Final = "complete"
IN_PROGRESS: Final = "inprogress"
WAITING: Final = "waiting"
#: The reason for each requested uid that no job of the queue has.
NOT_FOUND: Final = "not_found"

#: The reasons as sentences, with a place for the name of the other queue.
SENTENCES: Final[Mapping[str, str]] = {
    FULL: "the queue {queue!r} is full",
    DRAINING: "the queue {queue!r} is draining",
    UID_TAKEN: "the queue {queue!r} holds another job with this uid",
    MISSING: "there is no queue {queue!r}",
    REPLACED: "the queue {queue!r} was deleted and created again; set it as dead-letter queue again",
    AWAITED: "other jobs depend on it",
    BATCH: "it belongs to a batch",
    HOLDS_GROUP: "it holds its group",
    COMPLETE: "it is complete, and would be done again",
    IN_PROGRESS: "it is in progress",
    WAITING: "it waits for other jobs",
}
