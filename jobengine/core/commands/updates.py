"""Changing and deleting jobs: one, several, or all that match."""

from collections.abc import Callable, Sequence
from typing import Final

from msgspec.structs import replace

from ..access import OWNERS, WORKERS
from ..dependants import lost_facts
from ..errors import (
    ClaimRequired,
    DomainError,
    GroupInUse,
    JobDamaged,
    JobNotFound,
    LeaseLost,
    LeaseRequired,
    NothingAwaited,
)
from ..facts import Fact, ItemSet, JobAdded, JobChanged, JobRemoved
from ..filter import Filter, matches
from ..flow import NO_FLOW, Flow
from ..gates import GateChanges, with_flow
from ..model import SECOND, Grant, Job, Queue, Rank, State
from ..moves import Pace, paced
from ..required_rows import Needs, PageOf
from ..tables import NOTHING, Decision, NewId, RecentActivity, Table, job_of
from ..transitions import Changes, update
from ..values import Value
from .command import QueueCommand

__all__ = [
    "Changes",
    "DeleteJob",
    "DeleteMatching",
    "JobUpdate",
    "Swept",
    "UpdateJob",
    "UpdateJobs",
    "UpdateMatching",
]


class UpdateJob(QueueCommand[Job], frozen=True, kw_only=True):
    """Change a job; an update of a job in progress extends its lease."""

    roles = WORKERS
    reads = False
    is_batched = True
    overlaps = True

    #: The job's uid.
    uid: str
    #: What to change.
    changes: Changes
    #: The caller's lease, which must be the job's current one; None skips the check.
    lease: str | None = None

    def needs(self, queue: Queue, grant: Grant) -> Needs:
        return Needs(uids=frozenset([self.uid]))

    def flow_after(self, queue: Queue) -> Flow | None:
        return NO_FLOW if self.changes.of_groups and queue.flow is None else None

    def decide_in(self, table: Table, grant: Grant, now: int, new_id: NewId, activity: RecentActivity) -> Decision[Job]:
        """Raises JobNotFound, and the errors of `update`."""
        job = job_of(table, self.uid)
        fact, updated = update(table.queue, job, self.changes, now, lease=self.lease)
        if fact is None:
            return NOTHING, updated
        return (_with_groups(table, [fact], [(job, self.changes)], now) if self.changes.of_groups else [fact]), updated


class JobUpdate(Value, frozen=True, kw_only=True):
    """One entry of UpdateJobs; see UpdateJob."""

    uid: str
    changes: Changes
    lease: str | None = None


#: The errors that prevent only one of several updates.
_OF_ONE_UPDATE: Final = (
    *(JobNotFound, JobDamaged, LeaseLost, LeaseRequired),
    *(ClaimRequired, GroupInUse, NothingAwaited),
)


class UpdateJobs(QueueCommand[Sequence[Job | DomainError]], frozen=True, kw_only=True):
    """Change jobs one by one; the answer has each changed job, or the error of _OF_ONE_UPDATE that prevented it."""

    roles = WORKERS
    reads = False
    is_batched = True
    overlaps = True

    #: The updates, in order.
    updates: tuple[JobUpdate, ...]

    @property
    def weight(self) -> int:
        return len(self.updates)

    def needs(self, queue: Queue, grant: Grant) -> Needs:
        return Needs(uids=frozenset(one.uid for one in self.updates))

    def flow_after(self, queue: Queue) -> Flow | None:
        if queue.flow is not None:
            return None
        # Compare the fields here: the property `of_groups` takes longer.
        of_groups = [
            one for one in self.updates if one.changes.hold_seconds is not None or one.changes.group is not None
        ]
        return NO_FLOW if of_groups else None

    def decide_in(
        self, table: Table, grant: Grant, now: int, new_id: NewId, activity: RecentActivity
    ) -> Decision[Sequence[Job | DomainError]]:
        facts: list[Fact] = []
        outcomes: list[Job | DomainError] = []
        # A job that comes twice is changed on top of its first change, which is not in the tables yet.
        changed: dict[str, Job] = {}
        of_groups: list[tuple[Job, Changes]] = []
        for item in self.updates:
            try:
                job = changed.get(item.uid) or job_of(table, item.uid)
                fact, updated = update(table.queue, job, item.changes, now, lease=item.lease)
            except _OF_ONE_UPDATE as error:
                outcomes.append(error)
                continue
            if fact is not None:
                facts.append(fact)
                changed[item.uid] = updated
                if item.changes.hold_seconds is not None or item.changes.group is not None:
                    of_groups.append((job, item.changes))
            outcomes.append(updated)
        return (_with_groups(table, facts, of_groups, now) if of_groups else facts), outcomes


def _with_groups(
    table: Table, facts: Sequence[Fact], updates: Sequence[tuple[Job, Changes]], now: int
) -> Sequence[Fact]:
    """The facts of updates that give jobs a group or hold a group, after the fact that gives the queue flow."""
    gates = GateChanges(table)
    for job, changes in updates:
        if changes.hold_seconds:
            gates.hold_longer(job, now + changes.hold_seconds * SECOND)
    return [*with_flow(table), *facts, *(fact for fact in gates.facts() if isinstance(fact, ItemSet))]


class DeleteJob(QueueCommand[None], frozen=True, kw_only=True):
    """Remove a job."""

    roles = OWNERS
    reads = False
    removes = True
    is_batched = True
    overlaps = True

    #: The job's uid.
    uid: str

    def needs(self, queue: Queue, grant: Grant) -> Needs:
        return Needs(uids=frozenset([self.uid]), batches=True)

    def decide_in(
        self, table: Table, grant: Grant, now: int, new_id: NewId, activity: RecentActivity
    ) -> Decision[None]:
        """Raises JobNotFound."""
        job = job_of(table, self.uid)
        removed = JobRemoved(self.queue, self.uid)
        return [removed] if job.spec.rare.batch is None else [removed, *lost_facts(table, [job])], None


class Swept(Value, frozen=True):
    """The outcome of one slice of a sweep."""

    #: How many jobs of the slice matched.
    matched: int
    #: Where the next slice begins, or None if this was the last.
    following: Rank | None
    #: For a paced change: when the first job of the whole sweep can be claimed, and how many jobs were paced so far.
    pace: Pace | None = None


class _Sweep(QueueCommand[Swept], frozen=True, kw_only=True):
    """One slice of a change to all matching jobs."""

    roles = OWNERS
    reads = False

    #: Selects the jobs.
    filter: Filter
    #: Start after this rank; None starts at the front.
    after: Rank | None = None
    #: The most jobs to examine, in one commit.
    limit: int = 200
    #: Change nothing, only count.
    dry_run: bool = False

    def needs(self, queue: Queue, grant: Grant) -> Needs:
        return Needs(page=PageOf(self.after, self.limit, self.filter.only_state, None, self.filter.group))

    def _page(self, table: Table) -> tuple[list[Job], Rank | None]:
        return table.page(self.after, self.limit, self.filter.only_state, None, self.filter.group)

    def _sweep(
        self, change: Callable[[Job], Fact | None], jobs: Sequence[Job], following: Rank | None, now: int
    ) -> Decision[Swept]:
        matching = [job for job in jobs if matches(job, self.filter, now)]
        facts = [] if self.dry_run else [fact for fact in map(change, matching) if fact is not None]
        return facts, Swept(len(matching), following)


class UpdateMatching(_Sweep, frozen=True, kw_only=True):
    """Change the jobs that match; a change of groups or dependencies leaves out jobs in progress."""

    #: What to change.
    changes: Changes
    #: Only jobs with these uids, instead of those after `after`: a new priority moves jobs, so a walk in execution
    #: order could meet a job twice.
    uids: tuple[str, ...] | None = None
    #: How many jobs can be claimed per second, if the change queues them.
    pace: Pace | None = None

    def needs(self, queue: Queue, grant: Grant) -> Needs:
        return super().needs(queue, grant) if self.uids is None else Needs(uids=frozenset(self.uids))

    def flow_after(self, queue: Queue) -> Flow | None:
        return NO_FLOW if self.changes.group is not None and queue.flow is None and not self.dry_run else None

    def decide_in(
        self, table: Table, grant: Grant, now: int, new_id: NewId, activity: RecentActivity
    ) -> Decision[Swept]:
        """Raises ClaimRequired."""
        if self.changes.state is State.INPROGRESS and table.queue.require_lease:
            raise ClaimRequired(State.QUEUED)

        pace = None if self.pace is None else self.pace.begun(table.wall(now))

        def change(job: Job) -> Fact | None:
            nonlocal pace
            fact, updated = update(table.queue, job, self.changes, now, by_owner=True)
            if pace is None or updated.state is not State.QUEUED:
                return fact
            standing = paced(updated.standing, pace.at, table.wall(now))
            pace = pace.after(1)
            if updated.spec is job.spec:
                return JobChanged(self.queue, job.spec.uid, standing)
            return JobAdded(self.queue, Job(updated.spec, standing))

        if self.uids is None:
            jobs, following = self._page(table)
        else:
            jobs, following = [job for uid in self.uids if (job := table.job(uid)) is not None], None
        if self.changes.group is not None or self.changes.without_dependencies:
            # A job in progress keeps its group, and waits for nothing.
            jobs = [job for job in jobs if job.state is not State.INPROGRESS]
        facts, swept = self._sweep(change, jobs, following, now)
        swept = swept if pace is None else replace(swept, pace=pace)
        return ([*with_flow(table), *facts] if facts and self.changes.group is not None else facts), swept


class DeleteMatching(_Sweep, frozen=True, kw_only=True):
    """Remove the jobs that match."""

    removes = True

    def needs(self, queue: Queue, grant: Grant) -> Needs:
        return replace(super().needs(queue, grant), batches=True)

    def decide_in(
        self, table: Table, grant: Grant, now: int, new_id: NewId, activity: RecentActivity
    ) -> Decision[Swept]:
        removed: list[Job] = []

        def remove(job: Job) -> Fact:
            if job.spec.rare.batch is not None:
                removed.append(job)
            return JobRemoved(self.queue, job.spec.uid)

        facts, swept = self._sweep(remove, *self._page(table), now)
        return ([*facts, *lost_facts(table, removed)] if removed else facts), swept
