"""Commands that change jobs: one, several, or all that match."""

from collections.abc import Sequence

from ..errors import DomainError
from ..model import Job, Rank, State
from ..values import Value
from .command import QueueCommand
from .jobs import Filter

__all__ = ["Changes", "DeleteMatching", "JobUpdate", "Swept", "UpdateJob", "UpdateJobs", "UpdateMatching"]


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


class UpdateJobs(QueueCommand[Sequence[Job | DomainError]], frozen=True, kw_only=True):
    """
    Change jobs one by one; the answer has for each the changed job, or the error that prevented the change.

    That is a JobNotFound, LeaseLost, LeaseRequired or ClaimRequired.
    """

    #: Which ones, and how.
    updates: tuple[JobUpdate, ...]


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
