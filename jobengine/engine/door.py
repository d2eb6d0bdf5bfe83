"""
The door between those who ask and the engine that keeps the jobs.

Every verb takes and gives values of jobengine.core and returns an awaitable, so that an engine on another machine can
stand behind the same door. What a verb answers is on disk when it answers.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from attrs import Factory, frozen

from ..core import commands as c
from ..core.errors import DomainError
from ..core.model import AccessKey, Job, JobEvent, Queue, QueueStats, State

__all__ = ["Busy", "Engine", "Full", "OutcomeUnknown", "Readiness", "Stats", "Unavailable"]


class Unavailable(Exception):
    """The engine can't carry out a command now; str() of it is written for the client."""


class Full(Unavailable):
    """There is no room on disk for a change."""


class OutcomeUnknown(Unavailable):
    """Storage has failed: the change may or may not be there after the restart that follows."""


class Busy(Unavailable):
    """More changes are waiting to be written than may wait; none of this command was carried out."""


@frozen(kw_only=True)
class Readiness:
    """Whether the engine takes changes."""

    #: It does.
    ready: bool
    #: Why it does not, or an empty text.
    reason: str
    #: "commit" or "interval"; see the README on DURABILITY.
    durability: str


@frozen(kw_only=True)
class Stats:
    """What there is to count; totals are since the start of the process."""

    #: Jobs by queue and state.
    jobs: dict[str, dict[State, int]] = Factory(dict)
    #: Writes that put changes on disk.
    commits: int = 0
    #: Records in them.
    records: int = 0
    #: Bytes of these records.
    record_bytes: int = 0
    #: Syncs of the file, and the seconds they took in all.
    syncs: int = 0
    sync_seconds: float = 0.0
    #: Length of the file in bytes.
    file_bytes: int = 0
    #: About how many of them are needed.
    live_bytes: int = 0
    #: Compactions that came to their end, and those that were given up.
    compactions: int = 0
    compactions_given_up: int = 0


class Engine(Protocol):
    """
    What an engine does.

    Beside what is said at each verb, all raise QueueNotFound, AccessDenied, NotAllowed and the kinds of Unavailable, in
    the order queue, key, job.
    """

    # Queues

    async def create_queue(self, command: c.CreateQueue) -> None:
        """Make an empty queue; raises QueueExists."""

    async def delete_queue(self, command: c.DeleteQueue) -> None:
        """Remove a queue with all its jobs."""

    async def change_queue(self, command: c.ChangeQueue) -> Queue:
        """Set up a queue otherwise, and return it."""

    async def add_key(self, command: c.AddKey) -> AccessKey:
        """Add a key with a role."""

    async def revoke_key(self, command: c.RevokeKey) -> None:
        """Remove a key; raises KeyNotFound."""

    async def list_keys(self, command: c.ListKeys) -> Sequence[AccessKey]:
        """The keys beside the owner's."""

    async def read_stats(self, command: c.ReadStats) -> QueueStats:
        """A queue in numbers."""

    async def list_queues(self) -> Sequence[QueueStats]:
        """All queues in numbers; whoever asks must have been let in by the server."""

    # Jobs

    async def add_jobs(self, command: c.AddJobs) -> Sequence[c.Added]:
        """Add jobs, all or none; raises QueueDraining, QueueFull or UidTaken, within a BadItem if it is one of many."""

    async def read_job(self, command: c.ReadJob) -> Job:
        """The job as it is, or when it is finished if the command waits; raises JobNotFound."""

    async def list_jobs(self, command: c.ListJobs) -> c.Page:
        """Some jobs, in execution order."""

    async def peek(self, command: c.Peek) -> Job | None:
        """The job that is to run next, left where it is; None if none can be claimed."""

    async def claim(self, command: c.Claims) -> Sequence[c.Claimed]:
        """The jobs that are to run next, in progress from now on and given to nobody else."""

    async def update_job(self, command: c.UpdateJob) -> Job:
        """Change a job and return it; raises JobNotFound, LeaseLost or LeaseRequired."""

    async def update_jobs(self, command: c.UpdateJobs) -> Sequence[Job | DomainError]:
        """Change jobs of one queue, in one commit: for each the job, or why it was not changed."""

    async def delete_job(self, command: c.DeleteJob) -> None:
        """Remove a job; raises JobNotFound."""

    async def update_matching(self, command: c.UpdateMatching) -> int:
        """Change all jobs that match, in slices between other commands; how many there were."""

    async def delete_matching(self, command: c.DeleteMatching) -> int:
        """Remove all jobs that match, in slices between other commands; how many there were."""

    async def explain(self, command: c.ExplainJob) -> c.Explanation:
        """Why a job is not running; raises JobNotFound."""

    async def watch(self, command: c.Subscribe) -> AsyncIterator[Sequence[JobEvent] | None]:
        """
        Changes of jobs as they happen, some at a time.

        The first item is None if what followed `command.after` is no longer kept. It ends when the queue is deleted or
        no longer takes the key, the engine stops, or the one who watches falls too far behind.
        """

    # The engine

    async def readiness(self) -> Readiness:
        """Whether changes are taken."""

    async def stats(self) -> Stats:
        """What there is to count."""
