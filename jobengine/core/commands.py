"""What can be asked of an engine, each typed by its answer: frozen values."""

from collections.abc import Sequence
from itertools import groupby
from typing import Generic, TypeVar

from .errors import DomainError
from .model import (
    NO_CONTEXT,
    AccessKey,
    Context,
    Defaults,
    Grant,
    Job,
    Position,
    Queue,
    QueueStats,
    QueueTotals,
    Rank,
    Role,
    State,
)
from .sorting import Sort
from .values import Value

__all__ = [
    "AddJobs",
    "AddKey",
    "Added",
    "AllQueues",
    "ChangeQueue",
    "Changes",
    "CheckKey",
    "Claim",
    "ClaimResult",
    "Claimed",
    "Claims",
    "Command",
    "CountQueues",
    "CreateQueue",
    "DeleteJob",
    "DeleteMatching",
    "DeleteQueue",
    "ExplainJob",
    "Explanation",
    "Filter",
    "JobUpdate",
    "ListJobs",
    "ListKeys",
    "ListQueues",
    "NewJob",
    "Page",
    "Peek",
    "QueueCommand",
    "QueueUpdate",
    "ReadJob",
    "ReadStats",
    "ReturnClaims",
    "RevokeKey",
    "Subscribe",
    "Swept",
    "UpdateJob",
    "UpdateJobs",
    "UpdateMatching",
]


A_co = TypeVar("A_co", covariant=True)


class Command(Value, Generic[A_co], frozen=True, kw_only=True):
    """Something that can be asked of an engine; A_co is the type of its answer."""

    @property
    def queue_names(self) -> tuple[str, ...]:
        """The queues that it names."""
        return ()


class QueueCommand(Command[A_co], frozen=True, kw_only=True):
    """A command about one queue, with what should open it."""

    #: The queue's name.
    queue: str
    #: The access key as bytes; counts for nothing if `admin`.
    access_key: bytes = b""
    #: The caller has shown the server's admin key, which opens every queue.
    admin: bool = False

    @property
    def queue_names(self) -> tuple[str, ...]:
        """See Command."""
        return (self.queue,)


# All queues


class AllQueues(Command[A_co], frozen=True, kw_only=True):
    """Some of all queues, by name, none if no more follow; the server must have authenticated the caller."""

    #: Start behind this name; None starts at the first.
    after: str | None = None
    #: At most so many; a few milliseconds.
    limit: int = 100


class ListQueues(AllQueues[Sequence[QueueStats]], frozen=True, kw_only=True):
    """Queues with all their numbers."""


class CountQueues(AllQueues[Sequence[QueueTotals]], frozen=True, kw_only=True):
    """Queues with the numbers that cost little."""


# Queues


class CreateQueue(QueueCommand[None], frozen=True, kw_only=True):
    """Make an empty queue whose owner's key is `access_key`."""

    #: How many queues there may be, for callers without the admin key; None is any number.
    max_queues: int | None = None


class DeleteQueue(QueueCommand[None], frozen=True, kw_only=True):
    """Remove the queue and every job in it."""


class ChangeQueue(QueueCommand[Queue], frozen=True, kw_only=True):
    """Reconfigure a queue; None leaves a thing as it is."""

    #: See Queue.
    paused: bool | None = None
    draining: bool | None = None
    require_lease: bool | None = None
    max_jobs: int | None = None
    defaults: Defaults | None = None
    #: A new key for the owner, and for how many seconds the one until now stays good; any older one opens nothing.
    new_access_key: bytes | None = None
    old_key_seconds: int = 0


class AddKey(QueueCommand[AccessKey], frozen=True, kw_only=True):
    """Add a key with a role."""

    #: What it may do.
    role: Role
    #: The key.
    new_access_key: bytes


class RevokeKey(QueueCommand[None], frozen=True, kw_only=True):
    """Remove a key; it opens nothing any more."""

    #: See AccessKey.id.
    key_id: str


class ListKeys(QueueCommand[Sequence[AccessKey]], frozen=True, kw_only=True):
    """The keys beside the owner's."""


class CheckKey(QueueCommand[Grant], frozen=True, kw_only=True):
    """See whether the key opens the queue, whatever its role."""


class ReadStats(QueueCommand[QueueStats], frozen=True, kw_only=True):
    """Counts and times of the queue."""


class Subscribe(QueueCommand[Queue], frozen=True, kw_only=True):
    """Watch the changes of a queue's jobs, which come by Engine.watch."""

    #: The id of the last event that was seen; None to begin with what comes next.
    after: str | None = None


# Jobs


class NewJob(Value, frozen=True, kw_only=True):
    """A job to be added; None where the queue's or the server's defaults hold."""

    #: See Spec.
    content: bytes
    priority: int = 0
    keep_minutes: int | None = None
    timeout_seconds: int | None = None
    timeout_time: int = 0
    tags: tuple[str, ...] = ()
    max_attempts: int | None = None
    retry_delay_seconds: int | None = None
    unique_key: str | None = None
    context: Context = NO_CONTEXT
    #: Seconds from now on in which it is not to be claimed.
    delay_seconds: int = 0
    #: Unix seconds before which it is not to be claimed; 0 is at once.
    not_before: int = 0
    #: The uid it shall have, or None for a new one.
    uid: str | None = None
    #: In place of a uid: the same key is the same job.
    idempotency_key: str | None = None


class AddJobs(QueueCommand[Sequence["Added"]], frozen=True, kw_only=True):
    """Add jobs, all or none."""

    #: Which ones.
    jobs: tuple[NewJob, ...]
    #: What the server has for those that do not say.
    defaults: Defaults
    #: Whether an error of one is to say which of many it is.
    many: bool = False


class Added(Value, frozen=True):
    """What became of one job that was to be added."""

    #: The job as it is now.
    job: Job
    #: Whether it is new; if not, it is what an earlier request has added.
    new: bool


class ReadJob(QueueCommand[Job], frozen=True, kw_only=True):
    """Look at one job."""

    #: Which one.
    uid: str
    #: Seconds to wait until it is finished.
    wait: float = 0


class Filter(Value, frozen=True, kw_only=True):
    """Which jobs of a queue are meant: those to which all of this applies."""

    #: In this state; None is any.
    state: State | None = None
    #: With this tag; None is any.
    tag: str | None = None
    #: With this text in their content, in upper or lower case; itself it is casefolded (str.casefold). None is any.
    text: str | None = None
    #: Held by a worker of this name, or by it last; None is any.
    worker: str | None = None
    #: With this text in their error, casefolded as well; None is any.
    error: str | None = None
    #: Added, and changed last, at least so many seconds ago; None is any time.
    older_than: int | None = None
    updated_before: int | None = None


class ListJobs(QueueCommand["Page"], frozen=True, kw_only=True):
    """Read jobs in some order."""

    #: Which ones.
    filter: Filter = Filter()
    #: The order; None is that of execution.
    sort: Sort | None = None
    #: Start behind this place in that order; None starts at the front.
    after: Position | None = None
    #: At most so many jobs.
    limit: int
    #: Look at so many at most, whether they match or not.
    scan: int = 500


class Page(Value, frozen=True, kw_only=True):
    """Some jobs of a queue in the order that was asked for."""

    #: At most as many as were asked for; fewer, or none, does not mean that these are the last.
    jobs: list[Job]
    #: What to give as `after` for those that follow, with the same `sort`; None when these are the last.
    following: Position | None


class Peek(QueueCommand[Job | None], frozen=True, kw_only=True):
    """Look at the first job that can be claimed and change nothing."""

    #: Seconds to wait until there is one.
    wait: float = 0


class Claim(QueueCommand[Sequence[Job]], frozen=True, kw_only=True):
    """Take the first jobs that can be claimed: they are in progress now."""

    #: At most so many.
    count: int = 1
    #: Only jobs with all of these tags.
    tags: tuple[str, ...] = ()
    #: The name of the worker that claims, for others to see.
    worker: str | None = None
    #: Only the jobs with these uids, in place of all that are ready; they are claimed in this order.
    uids: tuple[str, ...] | None = None


class Claims(Command["ClaimResult"], frozen=True, kw_only=True):
    """Update jobs, then take the first jobs of several queues, in one commit; one key opens all the queues."""

    #: The queues' names; jobs of an earlier one go first.
    queues: tuple[str, ...]
    #: Updates that are carried out before it.
    updates: tuple["QueueUpdate", ...] = ()
    #: See QueueCommand.
    access_key: bytes = b""
    admin: bool = False
    #: See Claim.
    count: int = 1
    tags: tuple[str, ...] = ()
    worker: str | None = None
    #: Seconds to wait until there is one; counts only without updates.
    wait: float = 0

    @property
    def queue_names(self) -> tuple[str, ...]:
        """See Command."""
        return (*self.queues, *(one.queue for one in self.updates)) if self.updates else self.queues

    def of(self, queue: str, count: int, uids: tuple[str, ...] | None = None) -> Claim:
        """The part of it that claims jobs of one queue."""
        return Claim(
            queue=queue,
            access_key=self.access_key,
            admin=self.admin,
            count=count,
            tags=self.tags,
            worker=self.worker,
            uids=uids,
        )

    def update_commands(self) -> "list[UpdateJobs]":
        """The parts of it that update jobs, in order: one for updates in the same queue that follow each other."""
        return [
            UpdateJobs(
                queue=name,
                access_key=self.access_key,
                admin=self.admin,
                updates=tuple(one.update for one in updates),
            )
            for name, updates in groupby(self.updates, lambda one: one.queue)
        ]


class Claimed(Value, frozen=True):
    """A job that was claimed, and where from."""

    #: The queue's name.
    queue: str
    job: Job


class ClaimResult(Value, frozen=True, kw_only=True):
    """What came of a claim."""

    #: The jobs that were claimed.
    jobs: Sequence[Claimed] = ()
    #: For each update that came with it the job, or the error for which it was left as it was (see UpdateJobs).
    results: Sequence[Job | DomainError] = ()


class ReturnClaims(QueueCommand[None], frozen=True, kw_only=True):
    """
    Put jobs that were claimed back at their places, as if nobody had had them.

    One that is not held by the lease any more is left as it is.
    """

    #: (uid, lease) of each.
    claims: tuple[tuple[str, str], ...]


class Changes(Value, frozen=True, kw_only=True):
    """What an update changes; None leaves a thing as it is."""

    #: The state it shall have; a failure with attempts left becomes queued.
    state: State | None = None
    #: Whether a failure may be tried again.
    retry: bool = True
    #: Ask for its end: a queued job fails, the worker of one in progress is told.
    cancel: bool = False
    #: See Notes.
    progress: int | None = None
    result: bytes | None = None
    error: str | None = None
    #: See Spec.
    priority: int | None = None
    content: bytes | None = None
    tags: tuple[str, ...] | None = None
    timeout_time: int | None = None
    #: Seconds from now on in which it is not to be claimed, if it is queued.
    delay_seconds: int | None = None


class UpdateJob(QueueCommand[Job], frozen=True, kw_only=True):
    """Change a job; an update of one in progress extends its lease."""

    #: Which one.
    uid: str
    #: How.
    changes: Changes
    #: The lease of the caller, which must be the one that holds the job; None is not checked.
    lease: str | None = None


class JobUpdate(Value, frozen=True, kw_only=True):
    """One update of many; see UpdateJob."""

    uid: str
    changes: Changes
    lease: str | None = None


class QueueUpdate(Value, frozen=True):
    """One update of many in several queues."""

    #: The queue's name.
    queue: str
    update: JobUpdate


class UpdateJobs(QueueCommand[Sequence[Job | DomainError]], frozen=True, kw_only=True):
    """
    Change jobs one by one; the answer has for each the Job, or the error for which it was left as it was.

    That is a JobNotFound, LeaseLost or LeaseRequired.
    """

    #: Which ones, and how.
    updates: tuple[JobUpdate, ...]


class DeleteJob(QueueCommand[None], frozen=True, kw_only=True):
    """Remove a job."""

    #: Which one.
    uid: str


class _Sweep(QueueCommand["Swept"], frozen=True, kw_only=True):
    """A change to all jobs that match, a slice at a time."""

    #: Which ones.
    filter: Filter
    #: Start behind this place; None starts at the front.
    after: Rank | None = None
    #: Look at so many jobs at most, in one commit.
    limit: int = 500
    #: Change nothing, only count.
    dry_run: bool = False


class UpdateMatching(_Sweep, frozen=True, kw_only=True):
    """Change the jobs that match."""

    #: How.
    changes: Changes
    #: Only these, in place of those behind `after`: what changes their order would come by some of them twice.
    uids: tuple[str, ...] | None = None


class DeleteMatching(_Sweep, frozen=True, kw_only=True):
    """Remove the jobs that match."""


class Swept(Value, frozen=True):
    """What came of one slice of a change to all jobs that match."""

    #: How many did.
    matched: int
    #: Where the next slice begins, or None if this was the last.
    following: Rank | None


class ExplainJob(QueueCommand["Explanation"], frozen=True, kw_only=True):
    """Say why a job is not running."""

    #: Which one.
    uid: str


class Explanation(Value, frozen=True, kw_only=True):
    """Why a job is where it is."""

    #: The job.
    job: Job
    #: Its queue, which may be paused.
    queue: Queue
    #: How many jobs are to be claimed before it; None if it can't be claimed now.
    ahead: int | None
