"""What can be asked of an engine, and what it answers: frozen values, one a verb."""

from .model import Defaults, Job, Queue, Rank, Role, State
from .values import Value

__all__ = [
    "AddJobs",
    "AddKey",
    "Added",
    "ChangeQueue",
    "Changes",
    "Claim",
    "Claimed",
    "Claims",
    "Command",
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
    "NewJob",
    "Page",
    "Peek",
    "ReadJob",
    "ReadStats",
    "RevokeKey",
    "Subscribe",
    "Swept",
    "UpdateJob",
    "UpdateJobs",
    "UpdateMatching",
]


class Command(Value, frozen=True, kw_only=True):
    """What every command names: a queue, and what should open it."""

    #: The queue's name.
    queue: str
    #: The access key as bytes; counts for nothing if `admin`.
    access_key: bytes = b""
    #: The one who asks has shown the server's admin key, which opens every queue.
    admin: bool = False


# Queues


class CreateQueue(Command, frozen=True, kw_only=True):
    """Make an empty queue whose owner's key is `access_key`. Answer: None."""


class DeleteQueue(Command, frozen=True, kw_only=True):
    """Remove the queue and every job in it. Answer: None."""


class ChangeQueue(Command, frozen=True, kw_only=True):
    """Set up a queue otherwise; None leaves a thing as it is. Answer: the Queue."""

    #: See Queue.
    paused: bool | None = None
    draining: bool | None = None
    require_lease: bool | None = None
    max_jobs: int | None = None
    defaults: Defaults | None = None
    #: A new key for the owner; the old one opens nothing any more.
    new_access_key: bytes | None = None


class AddKey(Command, frozen=True, kw_only=True):
    """Add a key with a role. Answer: the AccessKey."""

    #: What it may do.
    role: Role
    #: The key.
    new_access_key: bytes


class RevokeKey(Command, frozen=True, kw_only=True):
    """Remove a key; it opens nothing any more. Answer: None."""

    #: See AccessKey.id.
    key_id: str


class ListKeys(Command, frozen=True, kw_only=True):
    """The keys beside the owner's. Answer: the Queue."""


class ReadStats(Command, frozen=True, kw_only=True):
    """Counts and times of the queue. Answer: QueueStats (see jobengine.core.activity)."""


class Subscribe(Command, frozen=True, kw_only=True):
    """Watch the changes of a queue's jobs. Answer: the Queue; what follows comes by Engine.watch."""

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
    #: Seconds from now on in which it is not to be claimed.
    delay_seconds: int = 0
    #: Unix seconds before which it is not to be claimed; 0 is at once.
    not_before: int = 0
    #: The uid it shall have, or None for a new one.
    uid: str | None = None
    #: In place of a uid: the same key is the same job.
    idempotency_key: str | None = None


class AddJobs(Command, frozen=True, kw_only=True):
    """Add jobs, all or none. Answer: a list of Added, one for each."""

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


class ReadJob(Command, frozen=True, kw_only=True):
    """Look at one job. Answer: the Job."""

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


class ListJobs(Command, frozen=True, kw_only=True):
    """Read jobs in execution order. Answer: Page."""

    #: Which ones.
    filter: Filter = Filter()
    #: Start behind this place; None starts at the front.
    after: Rank | None = None
    #: At most so many jobs.
    limit: int
    #: Look at so many at most, whether they match or not.
    scan: int = 500


class Page(Value, frozen=True, kw_only=True):
    """Some jobs of a queue in execution order."""

    #: At most as many as were asked for; fewer, or none, does not mean that these are the last.
    jobs: list[Job]
    #: What to give as `after` for those that follow; None when these are the last.
    following: Rank | None


class Peek(Command, frozen=True, kw_only=True):
    """Look at the first job that can be claimed and change nothing. Answer: the Job, or None."""


class Claim(Command, frozen=True, kw_only=True):
    """Take the first jobs that can be claimed: they are in progress now. Answer: a list of Jobs, maybe empty."""

    #: At most so many.
    count: int = 1
    #: Only jobs with all of these tags.
    tags: tuple[str, ...] = ()
    #: A name for the one who claims, for others to see.
    worker: str | None = None


class Claims(Value, frozen=True, kw_only=True):
    """Take the first jobs of several queues that one key opens. Answer: a list of Claimed, maybe empty."""

    #: The queues' names; jobs of an earlier one go first.
    queues: tuple[str, ...]
    #: See Command.
    access_key: bytes = b""
    admin: bool = False
    #: See Claim.
    count: int = 1
    tags: tuple[str, ...] = ()
    worker: str | None = None
    #: Seconds to wait until there is one.
    wait: float = 0

    def of(self, queue: str, count: int) -> Claim:
        """The part of it that concerns one queue."""
        return Claim(
            queue=queue,
            access_key=self.access_key,
            admin=self.admin,
            count=count,
            tags=self.tags,
            worker=self.worker,
        )


class Claimed(Value, frozen=True):
    """A job that was claimed, and where from."""

    #: The queue's name.
    queue: str
    job: Job


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


class UpdateJob(Command, frozen=True, kw_only=True):
    """Change a job; an update of one in progress extends its lease. Answer: the Job."""

    #: Which one.
    uid: str
    #: How.
    changes: Changes
    #: The lease under which the one who asks holds it; None to not be asked.
    lease: str | None = None


class JobUpdate(Value, frozen=True, kw_only=True):
    """One update of many; see UpdateJob."""

    uid: str
    changes: Changes
    lease: str | None = None


class UpdateJobs(Command, frozen=True, kw_only=True):
    """
    Change jobs one by one. Answer: for each the Job, or the error for which it was left as it was.

    That is a JobNotFound, LeaseLost or LeaseRequired.
    """

    #: Which ones, and how.
    updates: tuple[JobUpdate, ...]


class DeleteJob(Command, frozen=True, kw_only=True):
    """Remove a job. Answer: None."""

    #: Which one.
    uid: str


class _Sweep(Command, frozen=True, kw_only=True):
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
    """Change the jobs that match. Answer: Swept."""

    #: How.
    changes: Changes
    #: Only these, in place of those behind `after`: what changes their order would come by some of them twice.
    uids: tuple[str, ...] | None = None


class DeleteMatching(_Sweep, frozen=True, kw_only=True):
    """Remove the jobs that match. Answer: Swept."""


class Swept(Value, frozen=True):
    """What came of one slice of a change to all jobs that match."""

    #: How many did.
    matched: int
    #: Where the next slice begins, or None if this was the last.
    following: Rank | None


class ExplainJob(Command, frozen=True, kw_only=True):
    """Say why a job is not running. Answer: Explanation."""

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
