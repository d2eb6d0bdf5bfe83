"""
Tables of the few jobs that a batch has loaded, without the indexes of a whole queue.

Most of these jobs are changed once and then written. Building indexes for them and keeping those up to date would take
more time than the rules do.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, dropwhile

import msgspec
from attrs import define, field, frozen

from ....core.effects import JobSwap, QueueSwap, Swap
from ....core.facts import Fact, JobAdded, JobChanged, JobRemoved, QueueChanged, QueueCreated, QueueDeleted
from ....core.history import KeptPeriod
from ....core.model import UNFINISHED, Job, Position, Queue, Rank, State
from ....core.required_rows import Needs, ReadyOf
from ....core.sorting import Sort
from ....core.stats import QueueCounts
from ....core.tables import JobTable
from ....core.values import Value


@define(eq=False)
class SmallTable:
    """A queue and some of its jobs; see JobTable for what it answers."""

    queue: Queue
    #: How far the wall clock is ahead of elapsed time, in milliseconds.
    clock_ahead: int
    #: By uid.
    jobs: dict[str, Job] = field(factory=dict)
    next_arrival: int = 0
    #: The ranks of ready jobs in order, and of some that are ready no more; None before they are asked for.
    _ready: list[Rank] | None = field(default=None, init=False)
    #: The uids of jobs by unique key; None before they are asked for.
    _by_key: dict[str, set[str]] | None = field(default=None, init=False)

    def wall(self, now: int) -> int:
        """See JobTable, also for the following methods."""
        return now + self.clock_ahead

    def job(self, uid: str) -> Job | None:
        """See JobTable."""
        return self.jobs.get(uid)

    def holders(self, unique_key: str) -> list[Job]:
        """See JobTable."""
        if self._by_key is None:
            self._by_key = {}
            self._note_keys(self._by_key, self.jobs.values())
        jobs = [self.jobs[uid] for uid in self._by_key.get(unique_key, ()) if uid in self.jobs]
        return [job for job in jobs if job.state in UNFINISHED]

    def ready_jobs(self, tags: tuple[str, ...] = ()) -> Iterator[Job]:
        """See JobTable."""
        if self._ready is None:
            self._ready = sorted(job.spec.rank for job in self.jobs.values() if job.ready)
        # Those at the front were claimed by earlier commands of the batch.
        self._ready = list(dropwhile(lambda rank: self._at(rank) is None, self._ready))
        jobs = (job for rank in self._ready if (job := self._at(rank)) is not None)
        wanted = frozenset(tags)
        return (job for job in jobs if wanted.issubset(job.spec.tags)) if wanted else jobs

    def due(self, now: int) -> Iterator[Job]:
        """See JobTable."""
        wall = self.wall(now)
        elapsed = ((job.deadline, job.spec.rank) for job in self.jobs.values())
        by_wall = ((job.wall_deadline, job.spec.rank) for job in self.jobs.values())
        # A job whose two deadlines have both come is given once.
        ranks = dict.fromkeys(rank for _, rank in chain(_until(now, elapsed), _until(wall, by_wall)))
        return (self.jobs[rank[2]] for rank in ranks)

    def put(self, uid: str, new: Job | None) -> Job | None:
        """Replace the job `uid` by `new`, or remove it if that is None; returns the old job."""
        old = self.jobs.pop(uid, None) if new is None else self.jobs.get(uid)
        if new is not None:
            self.jobs[uid] = new
            if self._by_key is not None:
                self._note_keys(self._by_key, [new])
            if self._ready is not None and new.ready:
                _insert(self._ready, new.spec.rank)
        return old

    def _at(self, rank: Rank) -> Job | None:
        """The job with this rank, if it is ready."""
        job = self.jobs.get(rank[2])
        return job if job is not None and job.ready and job.spec.rank == rank else None

    def _note_keys(self, by_key: dict[str, set[str]], jobs: Iterable[Job]) -> None:
        for job in jobs:
            if job.spec.rare.unique_key is not None:
                by_key.setdefault(job.spec.rare.unique_key, set()).add(job.spec.uid)


class SmallTables:
    """The small tables of some queues; see JobTableSet."""

    def __init__(self, clock_ahead: int) -> None:
        self.queues: dict[str, SmallTable] = {}
        self._clock_ahead = clock_ahead

    def wall(self, now: int) -> int:
        """See JobTableSet, also for the following method."""
        return now + self._clock_ahead

    def due(self, now: int) -> Iterator[tuple[str, Job]]:
        """See JobTableSet."""
        return ((name, job) for name, table in self.queues.items() for job in table.due(now))

    def apply(self, facts: Iterable[Fact]) -> list[Swap]:
        """Apply facts in order; returns the effect of each. Each job and queue that they change must be there."""
        return [self._applied(fact) for fact in facts]

    def add(self, queue: Queue, jobs: dict[str, Job], next_arrival: int) -> None:
        """Add a queue and some of its jobs by uid."""
        self.queues[queue.name] = SmallTable(queue, self._clock_ahead, jobs, next_arrival)

    def _applied(self, fact: Fact) -> Swap:
        # By isinstance, because `match` takes three times as long, and there is one for each change of a job.
        if isinstance(fact, JobChanged):
            table = self.queues[fact.queue]
            old = table.jobs[fact.uid]
            new = Job(old.spec, fact.standing)
            table.put(fact.uid, new)
            return JobSwap(fact.queue, fact.uid, old, new)
        if isinstance(fact, JobAdded):
            uid = fact.job.spec.uid
            return JobSwap(fact.queue, uid, self.queues[fact.queue].put(uid, fact.job), fact.job)
        if isinstance(fact, JobRemoved):
            return JobSwap(fact.queue, fact.uid, self.queues[fact.queue].put(fact.uid, None), None)
        return self._applied_to_queue(fact)

    def _applied_to_queue(self, fact: Fact) -> Swap:
        match fact:
            case QueueChanged(queue):
                table = self.queues[queue.name]
                before, table.queue = table.queue, queue
                return QueueSwap(queue.name, before)
            case QueueCreated(queue):
                swap = QueueSwap(queue.name, self.queues.get(queue.name))
                self.add(queue, {}, 0)
                return swap
            case QueueDeleted(name):
                return QueueSwap(name, self.queues.pop(name))
        raise TypeError(f"no change of a small table: {fact!r}")


def _until(limit: int, deadlines: "Iterable[tuple[int | None, Rank]]") -> "Sequence[tuple[int, Rank]]":
    return sorted((when, rank) for when, rank in deadlines if when is not None and when <= limit)


def _insert(ranks: list[Rank], rank: Rank) -> None:
    """Insert it in order, unless it is there."""
    at = bisect_left(ranks, rank)
    if ranks[at : at + 1] != [rank]:
        ranks.insert(at, rank)


class NotLoaded(Exception):
    """A rule asked for something that `needs` did not name."""


class PartialTable(Value, frozen=True, kw_only=True, gc=True):
    """A table of which only some is loaded. See Table for all that it does."""

    #: The queue, the jobs that were loaded, and the next arrival number.
    loaded: JobTable
    #: What was loaded.
    needs: Needs
    #: Figures that can't be computed from what was loaded; None where they are not needed.
    total: int | None = None
    kinds: QueueCounts | None = None
    oldest: int | None = None
    places: Mapping[Rank, int] = msgspec.field(default_factory=dict)
    periods: Sequence[KeptPeriod] = ()

    @property
    def queue(self) -> Queue:
        """See Table."""
        return self.loaded.queue

    @property
    def next_arrival(self) -> int:
        """See Table."""
        return self.loaded.next_arrival

    def wall(self, now: int) -> int:
        """See Table."""
        return self.loaded.wall(now)

    def job(self, uid: str) -> Job | None:
        """See Table."""
        job = self.loaded.job(uid)
        if job is None and uid not in self.needs.uids:
            raise NotLoaded(f"job {uid}")
        return job

    def holders(self, unique_key: str) -> list[Job]:
        """See Table."""
        if unique_key not in self.needs.unique_keys:
            raise NotLoaded(f"the jobs with a unique key in {self.queue.name!r}")
        return self.loaded.holders(unique_key)

    def size(self) -> int:
        """See Table."""
        if self.total is None:
            raise NotLoaded(f"the size of {self.queue.name!r}")
        return self.total

    def ready_jobs(self, tags: tuple[str, ...] = ()) -> Iterator[Job]:
        """See Table; no more are loaded than were needed."""
        ready = self.needs.ready
        if ready is None or ready.tags != tags:
            raise NotLoaded(f"the ready jobs of {self.queue.name!r} with the tags {tags}")
        return self._first(ready)

    def _first(self, ready: ReadyOf) -> Iterator[Job]:
        for index, job in enumerate(self.loaded.ready_jobs(ready.tags)):
            if index == ready.count:
                break
            yield job
        else:
            # These are all the ready jobs.
            return
        raise NotLoaded(f"more than {ready.count} ready jobs of {self.queue.name!r}")

    def page(
        self, after: Position | None, limit: int, state: State | None = None, sort: Sort | None = None
    ) -> tuple[list[Job], Position | None]:
        """See Table; an engine that loads pages overrides this."""
        raise NotLoaded(f"a page of {self.queue.name!r} behind {after}, sorted by {sort}")

    def ahead(self, rank: Rank) -> int:
        """See Table."""
        if rank not in self.places:
            raise NotLoaded(f"how many jobs of {self.queue.name!r} are before {rank}")
        return self.places[rank]

    def counts(self) -> QueueCounts:
        """See Table."""
        if self.kinds is None:
            raise NotLoaded(f"the counts of {self.queue.name!r}")
        return self.kinds

    def oldest_ready(self) -> int | None:
        """See Table."""
        if not self.needs.counts:
            raise NotLoaded(f"the oldest job of {self.queue.name!r} that can be claimed")
        return self.oldest

    def kept_periods(self) -> Sequence[KeptPeriod]:
        """See Table."""
        if not self.needs.periods:
            raise NotLoaded(f"the history of {self.queue.name!r}")
        return self.periods

    def due(self, now: int) -> Iterator[Job]:
        """See Table: of those that are loaded."""
        return self.loaded.due(now)


@frozen
class PartialTables:
    """The tables of some queues: all that a command names and that are there."""

    queues: Mapping[str, PartialTable]
    #: How far the wall clock is ahead of elapsed time, in milliseconds.
    clock_ahead: int = 0
    #: The number of queues in the database; None if it was not loaded.
    number: int | None = None

    def count_queues(self) -> int:
        """See TableSet."""
        if self.number is None:
            raise NotLoaded("the number of queues")
        return self.number

    def wall(self, now: int) -> int:
        """See Table."""
        return now + self.clock_ahead

    def due(self, now: int) -> Iterator[tuple[str, Job]]:
        """See TableSet: of those that are loaded."""
        return chain.from_iterable(((name, job) for job in table.due(now)) for name, table in self.queues.items())
