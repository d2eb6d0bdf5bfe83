"""Claiming jobs, peeking at the next job, and undoing claims."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby, islice
from typing import Final, Protocol, TypeVar

from ..access import READERS, WORKERS
from ..claimers import Claimers, Origin
from ..errors import DomainError
from ..facts import Fact, JobChanged
from ..gates import GateChanges
from ..model import INPROGRESS, QUEUED, SECOND, Grant, Job, Queue, Standing
from ..required_rows import NOTHING_MORE, Needs, ReadyOf
from ..tables import NOTHING, Decision, NewId, RecentActivity, Table, TableSet
from ..values import Value
from ..wall_time import shown
from .command import Command, QueueCommand
from .updates import JobUpdate, UpdateJobs

__all__ = [
    "Claim",
    "ClaimResult",
    "Claimed",
    "Claims",
    "DecidePart",
    "ListClaimers",
    "Peek",
    "QueueUpdate",
    "ReturnClaims",
]

A = TypeVar("A")

#: A claim of many jobs ends before their contents exceed this many bytes: the answer is built in memory.
_CLAIMED_BYTES: Final = 16 << 20


class Peek(QueueCommand[Job | None], frozen=True, kw_only=True):
    """Read the first ready job, without changing it."""

    roles = READERS | WORKERS
    reads = True
    is_batched = True

    #: Seconds to wait for a ready job.
    wait: float = 0

    def needs(self, queue: Queue, grant: Grant) -> Needs:
        return Needs(ready=ReadyOf(1, ()))

    def decide_in(
        self, table: Table, grant: Grant, now: int, new_id: NewId, activity: RecentActivity
    ) -> Decision[Job | None]:
        return NOTHING, next(table.claim_order((), now, 1), None)


class Claim(QueueCommand[Sequence[Job]], frozen=True, kw_only=True):
    """Claim the first ready jobs: they become `inprogress`."""

    roles = WORKERS
    reads = False
    is_batched = True

    #: The most jobs to claim.
    count: int = 1
    #: Only jobs with all of these tags.
    tags: tuple[str, ...] = ()
    #: The name of the claiming worker, for others to see.
    worker: str | None = None
    #: Only jobs with these uids, claimed in this order; None: all ready jobs in execution order.
    uids: tuple[str, ...] | None = None

    @property
    def weight(self) -> int:
        return 1 + self.count

    def needs(self, queue: Queue, grant: Grant) -> Needs:
        if queue.paused:
            return NOTHING_MORE
        if self.uids is not None:
            return Needs(uids=frozenset(self.uids))
        return Needs(ready=ReadyOf(self.count, self.tags))

    def decide_in(
        self, table: Table, grant: Grant, now: int, new_id: NewId, activity: RecentActivity
    ) -> Decision[Sequence[Job]]:
        """A paused queue gives no job."""
        if table.queue.paused:
            return NOTHING, []
        facts: list[Fact] = []
        claimed: list[Job] = []
        size = 0
        for job in self._wanted(table, now):
            spec, before = job.spec, job.standing
            size += len(spec.content) + len(before.notes.result or b"")
            if claimed and size > _CLAIMED_BYTES:
                break
            standing = Standing(
                state=INPROGRESS,
                updated=now,
                attempts=before.attempts + 1,
                claimed=now,
                lease=new_id(),
                worker=self.worker,
                notes=before.notes,
            )
            facts.append(JobChanged(self.queue, spec.uid, standing))
            claimed.append(Job(spec, standing))
        if claimed and table.queue.flow is not None:
            gates = GateChanges(table)
            gates.claim(claimed, now)
            facts += gates.facts()
        return facts, claimed

    def _wanted(self, table: Table, now: int) -> Iterator[Job]:
        if self.uids is None:
            return table.claim_order(self.tags, now, self.count)
        tags, wall = frozenset(self.tags), table.wall(now)
        ready = (job for uid in self.uids if (job := table.job(uid)) is not None and job.ready)
        jobs = (job for job in ready if tags.issubset(job.spec.tags) and not 0 < job.spec.timeout_time * SECOND <= wall)
        return islice(jobs, self.count)


class QueueUpdate(Value, frozen=True):
    """An update of a job, and the queue of the job."""

    #: The queue's name.
    queue: str
    update: JobUpdate


class Claimed(Value, frozen=True):
    """A claimed job and its queue."""

    #: The queue's name.
    queue: str
    job: Job

    def at_wall_clock(self, ahead: int) -> "Claimed":
        return Claimed(self.queue, shown(self.job, ahead))


class ClaimResult(Value, frozen=True, kw_only=True, gc=True):
    """The answer to Claims."""

    #: The jobs that were claimed.
    jobs: Sequence[Claimed] = ()
    #: The outcome of each update that came with the claim; see UpdateJobs.
    results: Sequence[Job | DomainError] = ()

    def at_wall_clock(self, ahead: int) -> "ClaimResult":
        return ClaimResult(jobs=shown(self.jobs, ahead), results=shown(self.results, ahead))


class DecidePart(Protocol):
    """Decides a part of a command and applies its facts, so that the next part sees them; returns the answer."""

    def __call__(self, command: QueueCommand[A], /) -> A:
        """Decide the part; raises a DomainError if it is refused."""


def _nothing(_now: int) -> None:
    """The default for `after_updates`: serve no waiter between the updates and the claim."""


class Claims(Command[ClaimResult], frozen=True, kw_only=True):
    """Update jobs, then claim the first ready jobs of several queues, in one commit; one key opens all the queues."""

    reads = False
    is_batched = True

    #: The queues' names; jobs of earlier queues are claimed first.
    queues: tuple[str, ...]
    #: Updates to carry out before the claim.
    updates: tuple[QueueUpdate, ...] = ()
    #: See QueueCommand.
    access_key: bytes = b""
    admin: bool = False
    #: See Claim.
    count: int = 1
    tags: tuple[str, ...] = ()
    worker: str | None = None
    #: Seconds to wait for a ready job; ignored if there are updates.
    wait: float = 0
    #: Where the claim comes from, for others to see.
    origin: Origin | None = None

    @property
    def queue_names(self) -> tuple[str, ...]:
        return (*self.queues, *(one.queue for one in self.updates)) if self.updates else self.queues

    @property
    def parts(self) -> Sequence[QueueCommand[object]]:
        return [*self.update_commands(), *(self.of(name, self.count) for name in self.queues)]

    @property
    def weight(self) -> int:
        return 1 + self.count

    def carry_out(
        self, tables: TableSet, now: int, decide: DecidePart, after_updates: Callable[[int], None] = _nothing
    ) -> ClaimResult:
        """
        The command's rule: update, then claim from one queue after the other until there are `count` jobs.

        The key is checked for all parts before the first is decided. Then each of `parts` is decided once, in order;
        each claim takes at most as many jobs as are still missing to `count`.
        """
        results: list[Job | DomainError] = []
        if self.updates or len(self.queues) > 1:
            self.check(tables, now)
        if self.updates:
            for command in self.update_commands():
                results += decide(command)
            after_updates(now)
        claimed: list[Claimed] = []
        for name in self.queues:
            claimed += [Claimed(name, job) for job in decide(self.of(name, self.count - len(claimed)))]
        return ClaimResult(jobs=claimed, results=results)

    def carry_out_offer(
        self, tables: TableSet, now: int, decide: DecidePart, offer: Iterable[tuple[str, tuple[str, ...]]]
    ) -> ClaimResult:
        """Claim only offered jobs, given by queue and uids; the key is checked as in `carry_out`."""
        if len(self.queues) > 1:
            self.check(tables, now)
        claimed: list[Claimed] = []
        for name, uids in offer:
            claimed += [Claimed(name, job) for job in decide(self.of(name, self.count - len(claimed), uids))]
        return ClaimResult(jobs=claimed)

    def of(self, queue: str, count: int, uids: tuple[str, ...] | None = None) -> Claim:
        """The part that claims up to `count` jobs from one of the queues: with `uids`, only jobs with these uids."""
        return Claim(
            queue=queue,
            access_key=self.access_key,
            admin=self.admin,
            count=count,
            tags=self.tags,
            worker=self.worker,
            uids=uids,
        )

    def update_commands(self) -> list[UpdateJobs]:
        """The updates as commands, in order: one command for consecutive updates in the same queue."""
        return [
            UpdateJobs(
                queue=name,
                access_key=self.access_key,
                admin=self.admin,
                updates=tuple(one.update for one in updates),
            )
            for name, updates in groupby(self.updates, lambda one: one.queue)
        ]


class ReturnClaims(QueueCommand[None], frozen=True, kw_only=True):
    """
    Undo claims: the jobs are queued again at their places, and the attempts do not count.

    A job that another lease holds by now is left unchanged.
    """

    roles = WORKERS
    reads = False
    is_batched = True

    #: (uid, lease) of each claimed job.
    claims: tuple[tuple[str, str], ...]

    def needs(self, queue: Queue, grant: Grant) -> Needs:
        return Needs(uids=frozenset(uid for uid, _ in self.claims))

    def decide_in(
        self, table: Table, grant: Grant, now: int, new_id: NewId, activity: RecentActivity
    ) -> Decision[None]:
        gates = GateChanges(table)
        facts: list[Fact] = []
        for uid, lease in self.claims:
            job = table.job(uid)
            if job is not None and job.state is INPROGRESS and job.standing.lease == lease:
                facts.append(JobChanged(self.queue, uid, _returned(job.standing, now)))
                gates.give_back(job)
        return [*facts, *gates.facts()], None


class ListClaimers(QueueCommand[Claimers], frozen=True, kw_only=True):
    """List the claims that wait for jobs of the queue, and where its workers run."""

    roles = READERS
    reads = True

    def decide_in(
        self, table: Table, grant: Grant, now: int, new_id: NewId, activity: RecentActivity
    ) -> Decision[Claimers]:
        return NOTHING, activity.claimers(self.queue)


def _returned(standing: Standing, now: int) -> Standing:
    return Standing(state=QUEUED, updated=now, attempts=standing.attempts - 1, notes=standing.notes)
