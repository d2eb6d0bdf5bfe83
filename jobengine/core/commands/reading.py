"""Reading jobs: one job, a page of many, and why a job is not running."""

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec.structs import replace

from ..access import PRODUCERS, READERS, WORKERS
from ..dependencies import Awaited
from ..errors import JobNotFound
from ..failures import Alike, failure_of
from ..filter import Filter, matches
from ..groups import Hold, wait_of
from ..key_holders import held_until, holds
from ..model import Grant, Job, Position, Queue, State
from ..required_rows import Needs, PageOf
from ..sorting import Sort, position
from ..tables import NOTHING, Decision, NewId, RecentActivity, Table, job_of
from ..values import Value
from ..wall_time import shown
from .command import QueueCommand

#: A client that claims repeatedly, without waiting, counts as present for this many milliseconds after each claim.
_PRESENT_FOR: Final = 10_000

__all__ = ["ExplainJob", "Explanation", "Filter", "Links", "ListJobs", "Page", "ReadJob", "ReadLinks"]


class ReadJob(QueueCommand[Job], frozen=True, kw_only=True):
    """Read one job."""

    roles = READERS | PRODUCERS
    reads = True
    is_batched = True
    overlaps = True

    #: The job's uid.
    uid: str
    #: Seconds to wait for the job to finish.
    wait: float = 0

    def needs(self, queue: Queue, grant: Grant) -> Needs:
        return Needs(uids=frozenset([self.uid]))

    def decide_in(self, table: Table, grant: Grant, now: int, new_id: NewId, activity: RecentActivity) -> Decision[Job]:
        """Raises JobNotFound, also for a producer that did not add the job."""
        job = job_of(table, self.uid)
        if not may_read(job, grant):
            raise JobNotFound(self.uid, has_dead_letter=table.queue.dead_letter is not None)
        return NOTHING, job


class Links(Value, frozen=True):
    """Jobs, and the jobs that depend on each of them."""

    #: The jobs that exist, in the order of the request.
    jobs: Sequence[Job]
    #: The dependants of each uid of the request, as queue and uid: unfinished jobs that wait for it, and jobs that have
    #: failed because of it. Some are missing if there are many.
    dependants: Mapping[str, Sequence[Awaited]]
    #: The uids of jobs that exist, but which the key may not read.
    hidden: frozenset[str] = frozenset()

    def at_wall_clock(self, ahead: int) -> "Links":
        return replace(self, jobs=shown(self.jobs, ahead))


class ReadLinks(QueueCommand[Links], frozen=True, kw_only=True):
    """Read jobs, or the jobs that depend on them; jobs that are gone, or that the key may not read, are left out."""

    roles = READERS | PRODUCERS | WORKERS
    reads = True
    is_batched = True

    #: The uids of the jobs; also keys of batches, to read the jobs that wait for these.
    uids: tuple[str, ...]
    #: The most dependants to read of each job; 0 reads none.
    most: int = 0
    named_in: str | None = None

    def needs(self, queue: Queue, grant: Grant) -> Needs:
        return Needs(uids=frozenset(self.uids), dependants=self.most > 0)

    def decide_in(
        self, table: Table, grant: Grant, now: int, new_id: NewId, activity: RecentActivity
    ) -> Decision[Links]:
        found = [one for uid in self.uids if (one := table.job(uid)) is not None]
        jobs = [one for one in found if may_read(one, grant)]
        hidden = frozenset(one.spec.uid for one in found if not may_read(one, grant))
        dependants = {
            uid: [(name, its) for name, its, _ in table.dependants((self.queue, uid), self.most)]
            for uid in (self.uids if self.most else ())
        }
        return NOTHING, Links(jobs, dependants, hidden)


def may_read(job: Job, grant: Grant) -> bool:
    """Whether a key with this grant may read a job: a producer only those that it added."""
    return not grant.is_producer or job.spec.rare.author == grant.key_id


class Page(Value, frozen=True, kw_only=True):
    """Some jobs of a queue in the requested order."""

    #: At most `limit` jobs; a short or empty page need not be the last.
    jobs: list[Job]
    #: The `after` of the next page, with the same `sort`; None after the last page.
    following: Position | None

    def at_wall_clock(self, ahead: int) -> "Page":
        return Page(jobs=shown(self.jobs, ahead), following=self.following)


class ListJobs(QueueCommand[Page], frozen=True, kw_only=True):
    """Read a page of jobs."""

    roles = READERS
    reads = True

    #: Selects the jobs.
    filter: Filter = Filter()
    #: The order; None is execution order.
    sort: Sort | None = None
    #: Start after this position in that order; None starts at the front.
    after: Position | None = None
    #: The most jobs of the page.
    limit: int
    #: The most jobs to examine, matching or not.
    scan: int = 500

    def needs(self, queue: Queue, grant: Grant) -> Needs:
        return Needs(page=PageOf(self.after, self.scan, self.filter.only_state, self.sort, self.filter.group))

    def decide_in(
        self, table: Table, grant: Grant, now: int, new_id: NewId, activity: RecentActivity
    ) -> Decision[Page]:
        wanted = self.filter
        jobs_there, following = table.page(self.after, self.scan, wanted.only_state, self.sort, wanted.group)
        jobs: list[Job] = []
        for index, job in enumerate(jobs_there):
            if matches(job, wanted, now):
                jobs.append(job)
            if len(jobs) == self.limit and index + 1 < len(jobs_there):
                following = position(job, self.sort)
                break
        return NOTHING, Page(jobs=jobs, following=following)


class Explanation(Value, frozen=True, kw_only=True):
    """Why a job is not running: the job, its queue, and how many jobs come before it."""

    #: The job.
    job: Job
    #: The job's queue, which may be paused.
    queue: Queue
    #: How many jobs will be claimed before it; None if it can't be claimed now. In a queue with flow, a number above
    #: 1,000 may be too high.
    ahead: int | None
    #: The limit, rate, hold or order of groups that keeps a ready job from being claimed; of a delayed job, the
    #: pause of its group, or the hold that outlasts the delay.
    hold: Hold | None = None
    #: For a failed job: how many jobs failed like it, itself included, and since when; None for other jobs.
    alike: Alike | None = None
    #: How many jobs of its group come before it; None if it has no group or is not ready.
    ahead_in_group: int | None = None
    #: Until when the job, although it is finished, holds its unique key; None if it holds none.
    key_held_until: int | None = None
    #: Whether a claim would get the job or one before it, but no claim waits, and none came in the last 10 seconds.
    lacks_claims: bool = False
    #: If the job could be claimed now, but each waiting claim wants a tag that it lacks: the tags of each claim.
    other_tags: tuple[tuple[str, ...], ...] = ()

    def at_wall_clock(self, ahead: int) -> "Explanation":
        job, queue, hold = shown(self.job, ahead), shown(self.queue, ahead), shown(self.hold, ahead)
        until = None if self.key_held_until is None else self.key_held_until + ahead
        return replace(self, job=job, queue=queue, hold=hold, alike=shown(self.alike, ahead), key_held_until=until)


class ExplainJob(QueueCommand[Explanation], frozen=True, kw_only=True):
    """Explain why a job is not running."""

    roles = READERS
    reads = True

    #: The job's uid.
    uid: str

    def needs(self, queue: Queue, grant: Grant) -> Needs:
        return Needs(uids=frozenset([self.uid]), alike=True, ahead=queue.flow is None, holds=queue.flow is not None)

    def decide_in(
        self, table: Table, grant: Grant, now: int, new_id: NewId, activity: RecentActivity
    ) -> Decision[Explanation]:
        """Raises JobNotFound."""
        job = job_of(table, self.uid)
        ahead, hold = wait_of(table, job, now)
        in_group = table.ahead_in_group(job) if job.ready and table.queue.flow and job.spec.rare.group else None
        failure = failure_of(job) if job.state is State.FAILED else None
        return NOTHING, Explanation(
            job=job,
            queue=table.queue,
            ahead=ahead,
            hold=hold,
            ahead_in_group=in_group,
            alike=None if failure is None else _alike(table, *failure),
            key_held_until=held_until(job) if holds(job, now) else None,
            lacks_claims=(ahead is not None or (hold is not None and hold.later))
            and _lacks_claims(table, now, activity),
            other_tags=() if ahead is None or table.queue.paused else tuple(_other_tags(table, job, activity)),
        )


def _lacks_claims(table: Table, now: int, activity: RecentActivity) -> bool:
    """Whether the queue lacks claims although it is not paused; see Explanation."""
    waiting, last = activity.claims(table.queue.name)
    return not table.queue.paused and not waiting and (last is None or now - last > _PRESENT_FOR)


def _other_tags(table: Table, job: Job, activity: RecentActivity) -> Sequence[tuple[str, ...]]:
    """The tags of each waiting claim; empty if one of them takes the job, or if not all waiting claims are listed."""
    name = table.queue.name
    wanted = [claim.tags for claim in activity.claimers(name).waiting]
    is_whole = len(wanted) >= activity.claims(name)[0]
    return wanted if is_whole and not any(map(set(job.spec.tags).issuperset, wanted)) else ()


def _alike(table: Table, fingerprint: str, failed_at: int) -> Alike:
    """The jobs that failed with this fingerprint; if their group was dropped, only the job that failed at this time."""
    alike = table.alike(fingerprint)
    return alike if alike.count else Alike(1, failed_at, at_least=alike.at_least)
