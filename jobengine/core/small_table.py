"""
Tables of the few jobs that a batch has loaded, without the indexes of a whole queue.

Most of these jobs are changed once and then written. Building indexes for them and keeping those up to date would take
more time than the rules do.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, dropwhile

from attrs import define, field

from .facts import Fact, JobAdded, JobChanged, JobRemoved, QueueChanged, QueueCreated, QueueDeleted
from .model import UNFINISHED, Job, Queue, Rank
from .state import JobSwap, QueueSwap, Swap

__all__ = ["SmallTable", "SmallTables"]


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
            if job.spec.unique_key is not None:
                by_key.setdefault(job.spec.unique_key, set()).add(job.spec.uid)


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
