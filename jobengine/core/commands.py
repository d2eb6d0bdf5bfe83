"""Commands: what an engine can be asked, as frozen values, each typed by its answer."""

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
    """A question or an order to an engine; A_co is the type of its answer."""

    @property
    def queue_names(self) -> tuple[str, ...]:
        """The queues that it names."""
        return ()


class QueueCommand(Command[A_co], frozen=True, kw_only=True):
    """A command about one queue, with the caller's key."""

    #: The queue's name.
    queue: str
    #: The access key as bytes; ignored if `admin`.
    access_key: bytes = b""
    #: The caller has shown the server's admin key, which opens every queue.
    admin: bool = False

    @property
    def queue_names(self) -> tuple[str, ...]:
        """See Command."""
        return (self.queue,)


# All queues


class AllQueues(Command[A_co], frozen=True, kw_only=True):
    """A page of all queues, by name, empty after the last; the caller must have been authenticated."""

    #: Start after this name; None starts at the first.
    after: str | None = None
    #: At most this many; a page of 100 takes a few milliseconds.
    limit: int = 100


class ListQueues(AllQueues[Sequence[QueueStats]], frozen=True, kw_only=True):
    """All figures of the queues."""


class CountQueues(AllQueues[Sequence[QueueTotals]], frozen=True, kw_only=True):
    """The figures of queues that are cheap to compute."""


# Queues


class CreateQueue(QueueCommand[None], frozen=True, kw_only=True):
    """Make an empty queue whose owner's key is `access_key`."""

    #: How many queues there may be, for callers without the admin key; None is any number.
    max_queues: int | None = None


class DeleteQueue(QueueCommand[None], frozen=True, kw_only=True):
    """Remove the queue and every job in it."""


class ChangeQueue(QueueCommand[Queue], frozen=True, kw_only=True):
    """Reconfigure a queue; what is None stays as it is."""

    #: See Queue.
    paused: bool | None = None
    draining: bool | None = None
    require_lease: bool | None = None
    max_jobs: int | None = None
    defaults: Defaults | None = None
    #: A new owner's key, and for how many seconds the present one stays valid beside it; older ones are not.
    new_access_key: bytes | None = None
    old_key_seconds: int = 0


class AddKey(QueueCommand[AccessKey], frozen=True, kw_only=True):
    """Add a key with a role."""

    #: What it may do.
    role: Role
    #: The key.
    new_access_key: bytes


class RevokeKey(QueueCommand[None], frozen=True, kw_only=True):
    """Revoke a key with a role."""

    #: See AccessKey.id.
    key_id: str


class ListKeys(QueueCommand[Sequence[AccessKey]], frozen=True, kw_only=True):
    """The keys beside the owner's."""


class CheckKey(QueueCommand[Grant], frozen=True, kw_only=True):
    """See whether the key opens the queue, with any role."""


class ReadStats(QueueCommand[QueueStats], frozen=True, kw_only=True):
    """Counts and times of the queue."""


class Subscribe(QueueCommand[Queue], frozen=True, kw_only=True):
    """Watch the events of a queue, which come through Engine.watch."""

    #: Resume after the event with this id; None starts with the next event.
    after: str | None = None


# Jobs


class NewJob(Value, frozen=True, kw_only=True):
    """A job to be added; None stands for the default of the queue or the server."""

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
    #: Seconds until it can be claimed.
    delay_seconds: int = 0
    #: The Unix time in seconds from which it can be claimed; 0 is at once.
    not_before: int = 0
    #: Its uid, if the client chose one.
    uid: str | None = None
    #: The uid is derived from this, so that the same key means the same job.
    idempotency_key: str | None = None


class AddJobs(QueueCommand[Sequence["Added"]], frozen=True, kw_only=True):
    """Add jobs, all or none."""

    #: Which ones.
    jobs: tuple[NewJob, ...]
    #: The server's defaults, for a queue without its own.
    defaults: Defaults
    #: Whether the request is for many, so that an error names the index of its job.
    many: bool = False


class Added(Value, frozen=True):
    """The outcome of adding one job."""

    #: The job as it is now.
    job: Job
    #: Whether this request added it; otherwise an earlier one did.
    new: bool


class ReadJob(QueueCommand[Job], frozen=True, kw_only=True):
    """Look at one job."""

    #: Which one.
    uid: str
    #: How many seconds to wait for it to finish.
    wait: float = 0


class Filter(Value, frozen=True, kw_only=True):
    """Selects the jobs of a queue that match every condition."""

    #: In this state; None is any.
    state: State | None = None
    #: With this tag; None is any.
    tag: str | None = None
    #: With this text in their content, in any case; it must be casefolded (str.casefold). None is any.
    text: str | None = None
    #: Held, or last held, by a worker of this name; None is any.
    worker: str | None = None
    #: With this text in their error, casefolded as well; None is any.
    error: str | None = None
    #: Added, or last changed, at least this many seconds ago; None is any time.
    older_than: int | None = None
    updated_before: int | None = None


class ListJobs(QueueCommand["Page"], frozen=True, kw_only=True):
    """Read jobs in some order."""

    #: Which ones.
    filter: Filter = Filter()
    #: The order; None is execution order.
    sort: Sort | None = None
    #: Start after this place in that order; None starts at the front.
    after: Position | None = None
    #: At most this many jobs.
    limit: int
    #: Examine at most this many, whether they match or not.
    scan: int = 500


class Page(Value, frozen=True, kw_only=True):
    """Some jobs of a queue in the order that was asked for."""

    #: At most `limit` jobs; a short or empty page need not be the last.
    jobs: list[Job]
    #: The `after` of the next page, with the same `sort`; None after the last page.
    following: Position | None


class Peek(QueueCommand[Job | None], frozen=True, kw_only=True):
    """Look at the first ready job, without changing it."""

    #: How many seconds to wait for one.
    wait: float = 0


class Claim(QueueCommand[Sequence[Job]], frozen=True, kw_only=True):
    """Claim the first ready jobs: they become `inprogress`."""

    #: At most this many.
    count: int = 1
    #: Only jobs with all of these tags.
    tags: tuple[str, ...] = ()
    #: The name of the claiming worker, for others to see.
    worker: str | None = None
    #: Only jobs with these uids, claimed in this order; None is all ready jobs in execution order.
    uids: tuple[str, ...] | None = None


class Claims(Command["ClaimResult"], frozen=True, kw_only=True):
    """Update jobs, then claim the first ready jobs of several queues, in one commit; one key opens all the queues."""

    #: The queues' names; jobs of an earlier one go first.
    queues: tuple[str, ...]
    #: Updates to carry out before the claim.
    updates: tuple["QueueUpdate", ...] = ()
    #: See QueueCommand.
    access_key: bytes = b""
    admin: bool = False
    #: See Claim.
    count: int = 1
    tags: tuple[str, ...] = ()
    worker: str | None = None
    #: How many seconds to wait for one; ignored if there are updates.
    wait: float = 0

    @property
    def queue_names(self) -> tuple[str, ...]:
        """See Command."""
        return (*self.queues, *(one.queue for one in self.updates)) if self.updates else self.queues

    def of(self, queue: str, count: int, uids: tuple[str, ...] | None = None) -> Claim:
        """The claim from one of its queues."""
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
        """Its updates as commands, in order: one command for consecutive updates in the same queue."""
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
    """A claimed job and its queue."""

    #: The queue's name.
    queue: str
    job: Job


class ClaimResult(Value, frozen=True, kw_only=True):
    """The answer to Claims."""

    #: The jobs that were claimed.
    jobs: Sequence[Claimed] = ()
    #: The outcome of each update that came with it; see UpdateJobs.
    results: Sequence[Job | DomainError] = ()


class ReturnClaims(QueueCommand[None], frozen=True, kw_only=True):
    """
    Undo claims: put the jobs back at their places and give the attempts back.

    A job that another lease holds by now is left as it is.
    """

    #: (uid, lease) of each.
    claims: tuple[tuple[str, str], ...]


class Changes(Value, frozen=True, kw_only=True):
    """The changes of an update; what is None stays as it is."""

    #: The new state; a failure with attempts left becomes queued.
    state: State | None = None
    #: Whether a failure may be tried again.
    retry: bool = True
    #: Request cancellation: a queued job fails, the worker of one in progress is told.
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
    #: Seconds until it can be claimed, if it is queued.
    delay_seconds: int | None = None


class UpdateJob(QueueCommand[Job], frozen=True, kw_only=True):
    """Change a job; an update of one in progress extends its lease."""

    #: Which one.
    uid: str
    #: How.
    changes: Changes
    #: The caller's lease, which must be the one that holds the job; None skips the check.
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
    Change jobs one by one; the answer has for each the changed job, or the error that prevented the change.

    That is a JobNotFound, LeaseLost, LeaseRequired or ClaimRequired.
    """

    #: Which ones, and how.
    updates: tuple[JobUpdate, ...]


class DeleteJob(QueueCommand[None], frozen=True, kw_only=True):
    """Remove a job."""

    #: Which one.
    uid: str


class _Sweep(QueueCommand["Swept"], frozen=True, kw_only=True):
    """A change of all jobs that match, one slice at a time."""

    #: Which ones.
    filter: Filter
    #: Start after this place; None starts at the front.
    after: Rank | None = None
    #: Examine at most this many jobs, in one commit.
    limit: int = 500
    #: Change nothing, only count.
    dry_run: bool = False


class UpdateMatching(_Sweep, frozen=True, kw_only=True):
    """Change the jobs that match."""

    #: How.
    changes: Changes
    #: Only these, instead of a page after `after`: a new priority moves jobs, and a walk by place could meet one twice.
    uids: tuple[str, ...] | None = None


class DeleteMatching(_Sweep, frozen=True, kw_only=True):
    """Remove the jobs that match."""


class Swept(Value, frozen=True):
    """The outcome of one slice."""

    #: How many jobs of the slice matched.
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
    #: How many jobs will be claimed before it; None if it can't be claimed now.
    ahead: int | None
