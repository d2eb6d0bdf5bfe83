"""Commands that add jobs, look at them or remove one."""

from collections.abc import Sequence

from ..model import NO_CONTEXT, Context, Defaults, Job, Position, Queue, State
from ..sorting import Sort
from ..values import Value
from .command import QueueCommand

__all__ = [
    "AddJobs",
    "Added",
    "DeleteJob",
    "ExplainJob",
    "Explanation",
    "Filter",
    "ListJobs",
    "NewJob",
    "Page",
    "Peek",
    "ReadJob",
]


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


class DeleteJob(QueueCommand[None], frozen=True, kw_only=True):
    """Remove a job."""

    #: Which one.
    uid: str
