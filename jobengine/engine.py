"""
The door between those who ask and the engine that keeps the jobs.

Every verb takes and gives values of jobengine.core and returns an awaitable, so that an engine on another machine can
stand behind the same door. What a verb answers is on disk when it answers.
"""

from typing import Protocol

from attrs import Factory, frozen

from .core.commands import (
    AddJob,
    Claim,
    CreateQueue,
    DeleteJob,
    DeleteQueue,
    ListJobs,
    Page,
    Peek,
    ReadJob,
    UpdateJob,
)
from .core.model import Job, State

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

    Beside what is said at each verb, all raise QueueNotFound, AccessDenied and the kinds of Unavailable, in the order
    queue, key, job.
    """

    async def create_queue(self, command: CreateQueue) -> None:
        """Make an empty queue; raises QueueExists."""

    async def delete_queue(self, command: DeleteQueue) -> None:
        """Remove a queue with all its jobs."""

    async def list_jobs(self, command: ListJobs) -> Page:
        """Some jobs of every state, in execution order."""

    async def add_job(self, command: AddJob) -> Job:
        """Add a job and return it, queued."""

    async def read_job(self, command: ReadJob) -> Job:
        """The job as it is; raises JobNotFound."""

    async def peek(self, command: Peek) -> Job | None:
        """The job that is to run next, left where it is; None if none is queued."""

    async def claim(self, command: Claim) -> Job | None:
        """The job that is to run next, in progress from now on and given to nobody else; None if none is queued."""

    async def update_job(self, command: UpdateJob) -> Job:
        """Put a job in a state and return it; raises JobNotFound."""

    async def delete_job(self, command: DeleteJob) -> None:
        """Remove a job; raises JobNotFound."""

    async def readiness(self) -> Readiness:
        """Whether changes are taken."""

    async def stats(self) -> Stats:
        """What there is to count."""
