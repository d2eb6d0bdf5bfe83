"""
The table of a queue in a batch: the few jobs and counts that were loaded, without the indexes of a whole queue.

Most of these jobs are changed once and then written. Building and updating indexes for them would take more time than
the rules do.
"""

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import chain, islice, takewhile
from typing import Final

from attrs import define, evolve, field
from msgspec.structs import replace

from ....core import commands as c
from ....core.batches import BatchCounts
from ....core.dead_letters import DUE
from ....core.dependencies import Awaited
from ....core.errors import ItemDamaged, JobDamaged
from ....core.failures import Alike, FoundPage, GroupPosition
from ....core.flow import GATE, GROUP
from ....core.history import KeptPeriod
from ....core.key_holders import may_hold
from ....core.model import FINISHED, SECOND, Job, Position, Queue, Rank, State
from ....core.required_rows import NOTHING_MORE, FailuresOf, Needs, PageOf
from ....core.schedules import ScheduleCounts
from ....core.sorting import GroupSort, Sort
from ....core.stats import FailureCounts, GroupState, QueueCounts
from ....core.tables import Due
from ..database.rows import RowRank, rank_of
from .group_reports import ahead_in_group, ahead_of, claimable_of, holders_of, page_of, state_of
from .groups import MOST, LoadedGroups
from .pages import PageRows
from .plan import PlannedPart
from .turns import Turns

#: Commands that fail if a job that they name is damaged. Other commands skip a damaged job.
_FAIL_FOR_DAMAGE: Final = (c.AddJobs, c.DeleteJob, c.ExplainJob, c.ReadJob, c.UpdateJob, c.UpdateJobs)


_NO_JOBS: Final = BatchCounts({})


class NotLoaded(Exception):
    """A rule used something that its command's `needs` do not include."""


@define(eq=False)
class LoadedTable:
    """
    A queue with the jobs and counts that a batch's commands need.

    A rule may use only the `needs` of its own command, even if more is loaded for other commands: for anything else
    NotLoaded is raised. So a need that is missing is noticed in every batch, not only in some.
    """

    queue: Queue
    #: How far the wall clock is ahead of elapsed time, in milliseconds.
    clock_ahead: int
    #: The loaded jobs by uid.
    jobs: dict[str, Job] = field(factory=dict)
    next_arrival: int = 0
    #: The needs of the current command; see `restrict_to`.
    needs: Needs = NOTHING_MORE
    #: The current command.
    command: c.QueueCommand[object] | None = None
    #: The number of the queue's jobs that were not loaded; None if no command needs the queue's size.
    unloaded: int | None = None
    #: The queue's counts; None if no command needs them.
    counted: QueueCounts | None = None
    #: When the queue's oldest ready job was added, if a command needs the counts.
    oldest: int | None = None
    #: The number of ready jobs before a rank.
    places: dict[Rank, int] = field(factory=dict)
    #: The stored periods of the queue's history.
    periods: list[KeptPeriod] = field(factory=list)
    paged: PageRows | None = None
    #: By tags: the rank of the last job that was loaded for claims, if later jobs were not loaded because contents are
    #: long.
    cut: dict[tuple[str, ...], RowRank] = field(factory=dict)
    #: The uids of damaged jobs that a command names.
    damaged: set[str] = field(factory=set)
    #: The values of the queue's named things, by kind and name; None for a thing whose row is damaged.
    named: dict[tuple[str, str], str | None] = field(factory=dict)
    #: Whether a claim has found only locked jobs.
    passed_over: bool = False
    #: The number of jobs that were locked for claims, and the rank of the last; None if there are none.
    claimed: tuple[int, RowRank] | None = None
    #: The groups, in a queue with flow; None in other queues, and in tables of tests.
    groups_loaded: LoadedGroups | None = None
    turns: Turns | None = None
    #: Loads and locks more jobs for a rule: jobs with these uids, and the holders of these unique keys.
    load_more: Callable[[Collection[str], Collection[str]], None] | None = None
    #: The uids and unique keys that `load_more` has loaded.
    more_loaded: set[str] = field(factory=set)
    #: The uids of loaded jobs on which others depend.
    awaited: set[str] = field(factory=set)
    #: The uids of loaded jobs on which no job depends any more.
    freed: set[str] = field(factory=set)
    #: The uids of jobs that were loaded because they are due.
    found_due: set[str] = field(factory=set)
    #: The uids of the jobs that may be moved into the dead-letter queue now, since the rows for the move are loaded.
    moves: frozenset[str] = frozenset()
    #: The batches and schedules, by kind and name, that were loaded because loaded jobs belong to them.
    of_jobs: set[tuple[str, str]] = field(factory=set)
    #: The number of each batch's jobs by state, if commands need it.
    batch_jobs: dict[str, BatchCounts] = field(factory=dict)
    #: The number of named things of each kind, if commands need it.
    numbers: dict[str, int] = field(factory=dict)
    #: Finds the jobs that wait for a job or batch; see Table.dependants.
    find_dependants: Callable[[Awaited, int], Sequence[tuple[str, str, str | None]]] | None = None
    #: The functions behind `failures`, `alike` and `count_failures`; None if no command needs them.
    find_failures: Callable[[int], FoundPage] | None = None
    find_alike: Callable[[str], Alike] | None = None
    count_failed: Callable[[int], FailureCounts] | None = None
    #: The counts of the queue's schedules; None if no command needs them.
    schedule_counts: ScheduleCounts | None = None
    #: The ranks of ready jobs, in order; some of these jobs may not be ready any more. None until a claim needs the
    #: list.
    _ready: list[Rank] | None = field(default=None, init=False)
    #: The uids of jobs by unique key; None until a command needs them.
    _by_key: dict[str, set[str]] | None = field(default=None, init=False)

    def restrict_to(self, part: PlannedPart) -> None:
        """Until the next call, restrict the table to the needs of this part's command."""
        self.needs, self.command = part.needs, part.command

    def wall(self, now: int) -> int:
        return now + self.clock_ahead

    def job(self, uid: str) -> Job | None:
        """Raises JobDamaged."""
        if uid in self.damaged and isinstance(self.command, _FAIL_FOR_DAMAGE):
            raise JobDamaged(uid)
        job = self.jobs.get(uid)
        if job is None and uid not in self.needs.uids:
            raise NotLoaded(f"job {uid}")
        return job

    def load_jobs(self, uids: Collection[str], unique_key: str | None = None) -> None:
        if self.load_more is None or not self.needs.more_jobs:
            raise NotLoaded(f"more jobs of {self.queue.name!r}")
        keys = () if unique_key is None else (unique_key,)
        self.load_more(uids, keys)
        self.needs = replace(self.needs, uids=self.needs.uids | {*uids}, unique_keys=self.needs.unique_keys | {*keys})
        self._by_key = None

    def schedules(self) -> ScheduleCounts:
        if self.schedule_counts is None:
            raise NotLoaded(f"the counts of schedules in {self.queue.name!r}")
        return self.schedule_counts

    def batch_counts(self, name: str) -> BatchCounts:
        if not self.needs.counts_batches and name not in self.needs.counted_batches:
            raise NotLoaded(f"the jobs of the batch {name!r}")
        return self.batch_jobs.get(name, _NO_JOBS)

    def number_of(self, kind: str) -> int:
        if kind not in self.needs.numbers or kind not in self.numbers:
            raise NotLoaded(f"the number of things of the kind {kind!r}")
        return self.numbers[kind]

    def dependants(self, awaited: Awaited, most: int) -> Sequence[tuple[str, str, str | None]]:
        if not self.needs.dependants or self.find_dependants is None:
            raise NotLoaded(f"the dependants of {awaited}")
        return self.find_dependants(awaited, most)

    def is_awaited(self, uid: str) -> bool:
        if uid not in self.jobs:
            raise NotLoaded(f"whether others depend on the job {uid}")
        return uid in self.awaited

    def item(self, kind: str, name: str) -> str | None:
        """Raises ItemDamaged."""
        if kind in (GROUP, GATE) and self.groups_loaded is not None:
            return self.groups_loaded.item(kind, name)
        if (kind, name) not in self.needs.items and (kind, name) not in self.of_jobs:
            if kind in (GROUP, GATE):
                # Groups and gates have no effect in a queue without flow.
                return None
            raise NotLoaded(f"the {kind} {name!r} of {self.queue.name!r}")
        if (kind, name) not in self.named:
            return None
        value = self.named[kind, name]
        if value is None:
            raise ItemDamaged(kind, name)
        return value

    def items(self, kind: str) -> Iterator[tuple[str, str]]:
        """Damaged things are left out."""
        if kind not in self.needs.kinds:
            raise NotLoaded(f"the things of the kind {kind!r} in {self.queue.name!r}")
        found = sorted((name, value) for (its, name), value in self.named.items() if its == kind and value is not None)
        return iter(found)

    def holders(self, unique_key: str) -> list[Job]:
        if unique_key not in self.needs.unique_keys:
            raise NotLoaded(f"the jobs with a unique key in {self.queue.name!r}")
        if self._by_key is None:
            self._by_key = {}
            _add_keys(self._by_key, self.jobs.values())
        jobs = [self.jobs[uid] for uid in self._by_key.get(unique_key, ()) if uid in self.jobs]
        return [job for job in jobs if may_hold(job)]

    def size(self) -> int:
        if self.unloaded is None or not self.needs.size:
            raise NotLoaded(f"the size of {self.queue.name!r}")
        return self.unloaded + len(self.jobs)

    def claim_order(self, tags: tuple[str, ...], now: int, count: int) -> Iterator[Job]:
        ready = self.needs.ready
        if ready is None or ready.tags != tags or ready.count < count:
            raise NotLoaded(f"the first {count} ready jobs of {self.queue.name!r} with the tags {tags}")
        if self.turns is not None:
            return self.turns.order(tags, now, count)
        wall, jobs = self.wall(now), self._ready_jobs(tags)
        return islice((job for job in jobs if not (until := job.spec.timeout_time) or until * SECOND > wall), count)

    def turn_order(self, now: int) -> Iterator[Job]:
        if self.turns is None or not self.needs.holds:
            raise NotLoaded(f"the jobs of {self.queue.name!r} in turn")
        return iter(self.turns.in_turn((), MOST))

    def page(
        self,
        after: Position | None,
        limit: int,
        state: State | None = None,
        sort: Sort | None = None,
        group: str | None = None,
    ) -> tuple[list[Job], Position | None]:
        """Jobs that were removed since the page was found are left out."""
        if self.paged is None or self.needs.page != PageOf(after, limit, state, sort, group):
            raise NotLoaded(f"a page of {self.queue.name!r} behind {after}, sorted by {sort}")
        return [self.jobs[uid] for uid in self.paged.uids if uid in self.jobs], self.paged.following

    def ahead(self, rank: Rank) -> int:
        if self.groups_loaded is not None and self.needs.holds:
            return ahead_of(self.groups_loaded, rank)
        if rank not in self.places or not self.needs.ahead:
            raise NotLoaded(f"how many jobs of {self.queue.name!r} are before {rank}")
        return self.places[rank]

    def counts(self) -> QueueCounts:
        if self.counted is None or not self.needs.counts:
            raise NotLoaded(f"the counts of {self.queue.name!r}")
        if self.groups_loaded is None:
            return self.counted
        claimable, self.oldest = claimable_of(self.groups_loaded)
        held = max(0, self.counted.ready - claimable)
        return evolve(self.counted, ready=self.counted.ready - held, held=held)

    def oldest_ready(self) -> int | None:
        """In a queue with flow, call `counts` first, which finds the value."""
        if not self.needs.counts:
            raise NotLoaded(f"the oldest job of {self.queue.name!r} that can be claimed")
        return self.oldest

    def failures(self, after: GroupPosition | None, limit: int, now: int) -> FoundPage:
        if self.find_failures is None or self.needs.failures != FailuresOf(after, limit):
            raise NotLoaded(f"the failures of {self.queue.name!r} after {after}")
        return self.find_failures(now)

    def count_failures(self, since: int) -> FailureCounts:
        if self.count_failed is None or not self.needs.count_failures:
            raise NotLoaded(f"the number of failure groups of {self.queue.name!r}")
        return self.count_failed(since)

    def alike(self, fingerprint: str) -> Alike:
        if self.find_alike is None or not self.needs.alike:
            raise NotLoaded(f"the failures of {self.queue.name!r} with a fingerprint")
        return self.find_alike(fingerprint)

    def kept_periods(self) -> Sequence[KeptPeriod]:
        if not self.needs.periods:
            raise NotLoaded(f"the history of {self.queue.name!r}")
        return self.periods

    def running(self) -> int:
        return self._groups.running()

    def group(self, name: str) -> GroupState:
        return state_of(self._groups, name)

    def groups(
        self,
        sort: GroupSort,
        after: tuple[int, str] | None,
        limit: int,
        found: Sequence[tuple[int, str]] | None = None,
    ) -> tuple[list[tuple[str, GroupState]], tuple[int, str] | None]:
        return page_of(self._groups, sort, after, limit)

    def ahead_in_group(self, job: Job) -> int:
        return ahead_in_group(self._groups, job)

    def holders_of_group(self, name: str | None) -> list[Job]:
        return holders_of(self._groups, name)

    @property
    def _groups(self) -> LoadedGroups:
        if self.groups_loaded is None:
            raise NotLoaded(f"the groups of {self.queue.name!r}")
        return self.groups_loaded

    def due(self, now: int) -> Iterator[Due]:
        """As Table.due, for the jobs that are loaded."""
        wall = self.wall(now)
        elapsed = ((job.deadline, job.spec.rank) for job in self.jobs.values() if not self._is_kept(job))
        by_wall = ((job.wall_deadline, job.spec.rank) for job in self.jobs.values())
        # A job that is due by both clocks is yielded only once.
        ranks = dict.fromkeys(rank for _, rank in chain(_until(now, elapsed), _until(wall, by_wall)))
        return (self.jobs[rank[2]] for rank in ranks)

    def _is_kept(self, job: Job) -> bool:
        """Whether a job stays although its deadline has come: its retention is put off, or it is moved later."""
        if job.standing.notes.dead_letter == DUE and job.state in FINISHED:
            return job.spec.uid not in self.moves
        is_put_off = job.spec.rare.batch is not None or job.spec.uid in self.awaited
        return is_put_off and job.state in FINISHED and job.spec.uid not in self.found_due

    def put(self, uid: str, new: Job | None) -> Job | None:
        """Replace the job `uid` by `new`, or remove the job if `new` is None; returns the old job."""
        old = self.jobs.pop(uid, None) if new is None else self.jobs.get(uid)
        if new is not None:
            self.jobs[uid] = new
            if self._by_key is not None:
                _add_keys(self._by_key, [new])
            if self._ready is not None and new.ready:
                _insert(self._ready, new.spec.rank)
        if self.groups_loaded is not None:
            self.groups_loaded.change(old, new)
        return old

    def _ready_jobs(self, tags: tuple[str, ...]) -> Iterator[Job]:
        """
        The ready jobs with these tags, in order. Ends at the last job that was loaded for the tags: after it, jobs may
        be missing.
        """
        if self._ready is None:
            self._ready = sorted(job.spec.rank for job in self.jobs.values() if job.ready)
        # Drop the first ranks whose jobs were claimed by earlier commands of the batch.
        while self._ready and self._at(self._ready[0]) is None:
            del self._ready[0]
        jobs = (job for rank in self._ready if (job := self._at(rank)) is not None)
        if tags:
            wanted = frozenset(tags)
            jobs = (job for job in jobs if wanted.issubset(job.spec.tags))
        last = self.cut.get(tags)
        return jobs if last is None else takewhile(lambda job: rank_of(job) <= last, jobs)

    def _at(self, rank: Rank) -> Job | None:
        """The job with this rank, if it is ready."""
        job = self.jobs.get(rank[2])
        return job if job is not None and job.ready and job.spec.rank == rank else None


def _until(limit: int, deadlines: "Iterable[tuple[int | None, Rank]]") -> "Sequence[tuple[int, Rank]]":
    return sorted((when, rank) for when, rank in deadlines if when is not None and when <= limit)


def _insert(ranks: list[Rank], rank: Rank) -> None:
    """Insert a rank into a sorted list, unless the list has it."""
    at = bisect_left(ranks, rank)
    if ranks[at : at + 1] != [rank]:
        ranks.insert(at, rank)


def _add_keys(by_key: dict[str, set[str]], jobs: Iterable[Job]) -> None:
    for job in jobs:
        if job.spec.rare.unique_key is not None:
            by_key.setdefault(job.spec.rare.unique_key, set()).add(job.spec.uid)
