"""Commands that claim jobs, and undo claims."""

from collections.abc import Sequence
from itertools import groupby

from ..errors import DomainError
from ..model import Job
from ..values import Value
from .changes import JobUpdate, UpdateJobs
from .command import Command, QueueCommand

__all__ = ["Claim", "ClaimResult", "Claimed", "Claims", "QueueUpdate", "ReturnClaims"]


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


class QueueUpdate(Value, frozen=True):
    """One update of many in several queues."""

    #: The queue's name.
    queue: str
    update: JobUpdate


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


class ClaimResult(Value, frozen=True, kw_only=True, gc=True):
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
