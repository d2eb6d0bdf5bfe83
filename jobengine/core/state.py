"""
All queues and jobs in memory, with the indexes that answer in O(log n).

There is one way to change it, `apply`, and one way to take a change back, `restore`.
"""

from collections.abc import Iterator
from enum import Enum
from heapq import merge
from itertools import islice
from typing import Any, Final

from sortedcontainers import SortedList

from .events import Fact, JobAdded, JobChanged, JobRemoved, QueueChanged, QueueCreated, QueueDeleted
from .model import UNFINISHED, Job, Queue, Rank, State
from .records import encode

__all__ = ["Before", "Place", "QueueTable", "Tables"]

#: What a fact replaced: the queue's name, the job's uid or None for the queue itself, and what was there: the job, the
#: queue with all its jobs, the queue's set-up alone, or nothing.
Before = tuple[str, str | None, "Job | QueueTable | Queue | None"]

#: The bytes of a job's record beside its content and its queue's name; an estimate.
_RECORD_OVERHEAD: Final = 200
#: A page of jobs ends when their contents are longer than this in all.
_PAGE_BYTES: Final = 1 << 20
#: Sorts behind every uid.
_LAST_UID: Final = "\U0010ffff"
_EMPTY: Final[SortedList[Rank]] = SortedList()


class Place(Enum):
    """Where in a queue a job is: its state, and if queued, whether it can be claimed."""

    READY = "ready"
    DELAYED = "delayed"
    INPROGRESS = "inprogress"
    COMPLETE = "complete"
    FAILED = "failed"


_PLACES: Final = {
    State.QUEUED: (Place.READY, Place.DELAYED),
    State.INPROGRESS: (Place.INPROGRESS,),
    State.COMPLETE: (Place.COMPLETE,),
    State.FAILED: (Place.FAILED,),
}


def _place(job: Job | None) -> Place | None:
    if job is None:
        return None
    return _PLACES[job.state][1 if job.state is State.QUEUED and job.standing.ready_at else 0]


class QueueTable:
    """
    One queue and its jobs.

    Only Tables changes it; everybody may read.
    """

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        #: Every job, by uid.
        self.jobs: dict[str, Job] = {}
        #: The rank of every job: execution order.
        self.order: SortedList[Rank] = SortedList()
        #: The same, for each place that a job can be in.
        self.places: dict[Place, SortedList[Rank]] = {place: SortedList() for place in Place}
        #: The ranks of the jobs that can be claimed, and of those among them with a tag, by tag.
        self.ready = self.places[Place.READY]
        self.ready_by_tag: dict[str, SortedList[Rank]] = {}
        #: The uids of the unfinished jobs with a unique key, by that key: one, unless a finished one was queued again.
        self.unique: dict[str, dict[str, None]] = {}
        #: (deadline, uid) of every job that time will move on by itself.
        self.deadlines: SortedList[tuple[int, str]] = SortedList()
        #: About how many bytes the records of this queue would take in a fresh snapshot.
        self.live_bytes = len(encode(QueueCreated(queue)))
        #: About how many of them each job takes for the queue's name: more than it has characters.
        self.name_bytes = len(encode(QueueDeleted(queue.name)))
        #: The arrival number of the next job to be added.
        self.next_arrival = 0

    def ready_jobs(self, tags: tuple[str, ...] = ()) -> Iterator[Job]:
        """The jobs that can be claimed, in execution order, those with all of `tags`. Not for use after a change."""
        if not tags:
            return (self.jobs[rank[2]] for rank in self.ready)
        narrowest = min((self.ready_by_tag.get(tag, _EMPTY) for tag in tags), key=len)
        wanted = frozenset(tags)
        return (job for rank in narrowest if wanted <= frozenset((job := self.jobs[rank[2]]).spec.tags))

    @property
    def next_deadline(self) -> int | None:
        """When the first of the jobs is moved on by time, or None."""
        return self.deadlines[0][0] if self.deadlines else None

    def in_progress(self) -> list[Job]:
        """The jobs that somebody holds."""
        return [self.jobs[rank[2]] for rank in self.places[Place.INPROGRESS]]

    def count(self, state: State) -> int:
        """How many jobs are in a state."""
        return sum(len(self.places[place]) for place in _PLACES[state])

    def page(
        self, after: Rank | None, limit: int, state: State | None = None, arrived_before: int | None = None
    ) -> tuple[list[Job], Rank | None]:
        """
        At most `limit` jobs in execution order, those behind the place `after`, and of one state if it is given.

        They are fewer where they are so long that a page of them would take long. With them comes the place of the
        last, or None if no more follow.
        """
        indexes = [self.order] if state is None else [self.places[place] for place in _PLACES[state]]
        ranks: Iterator[Rank] = merge(*(index.irange(after, inclusive=(False, True)) for index in indexes))
        if arrived_before is not None:
            ranks = (rank for rank in ranks if rank[1] < arrived_before)
        jobs, size = [], 0
        for rank in islice(ranks, limit):
            jobs.append(self.jobs[rank[2]])
            size += jobs[-1].size
            if size > _PAGE_BYTES:
                break
        return jobs, jobs[-1].spec.rank if jobs and next(ranks, None) is not None else None


class Tables:
    """The state of one engine: its queues by name, and all that will happen by itself, by time."""

    def __init__(self) -> None:
        self.queues: dict[str, QueueTable] = {}
        #: (next deadline, name) of every queue that has one.
        self.deadlines: SortedList[tuple[int, str]] = SortedList()
        #: About how many bytes the records of a fresh snapshot would take, over all queues.
        self.live_bytes = 0
        self._appliers: Final[dict[type, Any]] = {
            QueueCreated: self._queue_created,
            QueueChanged: self._queue_changed,
            QueueDeleted: self._queue_deleted,
            JobAdded: self._job_added,
            JobChanged: self._job_changed,
            JobRemoved: self._job_removed,
        }

    def apply(self, fact: Fact) -> Before:
        """
        Make a fact true, and say what it replaced.

        A change to a job or queue that is not there is passed over: in a file that was compacted, a commit may speak of
        a job that was removed before its slice of the snapshot was taken (docs/database-format.md).
        """
        before: Before = self._appliers[type(fact)](fact)
        return before

    def restore(self, before: Before) -> None:
        """Take back the newest change that was not yet taken back, given what apply said of it."""
        name, uid, old = before
        if isinstance(old, Queue):
            self.queues[name].queue = old
        elif uid is None:
            assert not isinstance(old, Job)
            self._swap_queue(name, old)
        elif (table := self.queues.get(name)) is not None:
            assert not isinstance(old, QueueTable)
            self._swap_job(table, uid, old)

    def due(self, now: int) -> Iterator[tuple[str, Job]]:
        """The jobs whose deadline has come, with their queue's name; not to be used beyond the next change."""
        for deadline, name in self.deadlines:
            if deadline > now:
                return
            table = self.queues[name]
            for _, uid in table.deadlines.irange(maximum=(now, _LAST_UID)):
                yield name, table.jobs[uid]

    def snapshot(self, slice_size: int) -> Iterator[list[Fact]]:
        """
        The state as facts, in slices of at most `slice_size`, while it goes on changing.

        Each slice is true at the moment it is taken. What changed since in the part already given is in the facts
        applied since: replaying slices and facts in the order in which they were made gives the state.
        """
        for name in list(self.queues):
            table = self.queues.get(name)
            if table is None:
                continue
            yield [QueueCreated(table.queue)]
            # Jobs that come from now on are in the facts applied since; walking on to them might never end.
            after, end = None, table.next_arrival
            while self.queues.get(name) is table:
                jobs, after = table.page(after, slice_size, arrived_before=end)
                yield [JobAdded(name, job) for job in jobs]
                if after is None:
                    break

    def _queue_created(self, fact: QueueCreated) -> Before:
        name = fact.queue.name
        old = self.queues.get(name)
        if old is not None and old.queue.salt == fact.queue.salt:
            # The same queue again, as a slice of a snapshot may have it.
            return self._queue_changed(QueueChanged(fact.queue))
        return (name, None, self._swap_queue(name, QueueTable(fact.queue)))

    def _queue_changed(self, fact: QueueChanged) -> Before:
        name = fact.queue.name
        table = self.queues.get(name)
        if table is None or table.queue.salt != fact.queue.salt:
            return (name, None, table)
        before, table.queue = table.queue, fact.queue
        return (name, None, before)

    def _queue_deleted(self, fact: QueueDeleted) -> Before:
        return (fact.name, None, self._swap_queue(fact.name, None))

    def _job_added(self, fact: JobAdded) -> Before:
        table = self.queues.get(fact.queue)
        uid = fact.job.spec.uid
        if table is None:
            return (fact.queue, uid, None)
        return (fact.queue, uid, self._swap_job(table, uid, fact.job))

    def _job_changed(self, fact: JobChanged) -> Before:
        table = self.queues.get(fact.queue)
        old = None if table is None else table.jobs.get(fact.uid)
        if table is not None and old is not None:
            self._swap_job(table, fact.uid, Job(old.spec, fact.standing))
        return (fact.queue, fact.uid, old)

    def _job_removed(self, fact: JobRemoved) -> Before:
        table = self.queues.get(fact.queue)
        if table is None:
            return (fact.queue, fact.uid, None)
        return (fact.queue, fact.uid, self._swap_job(table, fact.uid, None))

    def _swap_queue(self, name: str, new: QueueTable | None) -> QueueTable | None:
        old = self.queues.pop(name, None)
        if old is not None:
            self.live_bytes -= old.live_bytes
            self._move_deadline(name, old.next_deadline, None)
        if new is not None:
            self.queues[name] = new
            self.live_bytes += new.live_bytes
            self._move_deadline(name, None, new.next_deadline)
        return old

    def _move_deadline(self, name: str, was: int | None, now: int | None) -> None:
        if was != now:
            if was is not None:
                self.deadlines.remove((was, name))
            if now is not None:
                self.deadlines.add((now, name))

    def _swap_job(self, table: QueueTable, uid: str, new: Job | None) -> Job | None:
        """Put `new` where the job `uid` is, or remove it, and keep every index in step."""
        old = table.jobs.pop(uid, None) if new is None else table.jobs.get(uid)
        if new is not None:
            table.jobs[uid] = new
            table.next_arrival = max(table.next_arrival, new.spec.arrival + 1)
        self._index_rank(table, old, new)
        self._weigh(table, old, new)
        self._index_place(table, old, new)
        self._index_unique(table, old, new)
        self._index_deadline(table, old, new)
        return old

    def _index_rank(self, table: QueueTable, old: Job | None, new: Job | None) -> None:
        if old is not None and new is not None and old.spec is new.spec:
            return
        if old is not None:
            table.order.remove(old.spec.rank)
        if new is not None:
            table.order.add(new.spec.rank)

    def _index_place(self, table: QueueTable, old: Job | None, new: Job | None) -> None:
        was, now = _place(old), _place(new)
        if old is not None and new is not None and was is now and old.spec is new.spec:
            return
        if old is not None and was is not None:
            table.places[was].remove(old.spec.rank)
            if was is Place.READY:
                for tag in old.spec.tags:
                    _discard(table.ready_by_tag, tag, old.spec.rank)
        if new is not None and now is not None:
            table.places[now].add(new.spec.rank)
            if now is Place.READY:
                for tag in new.spec.tags:
                    table.ready_by_tag.setdefault(tag, SortedList()).add(new.spec.rank)

    def _index_unique(self, table: QueueTable, old: Job | None, new: Job | None) -> None:
        was, now = _unique_key(old), _unique_key(new)
        if was == now:
            return
        if old is not None and was is not None:
            del table.unique[was][old.spec.uid]
            if not table.unique[was]:
                del table.unique[was]
        if new is not None and now is not None:
            table.unique.setdefault(now, {})[new.spec.uid] = None

    def _index_deadline(self, table: QueueTable, old: Job | None, new: Job | None) -> None:
        was = None if old is None else old.deadline
        now = None if new is None else new.deadline
        if was == now:
            return
        first = table.next_deadline
        if was is not None and old is not None:
            table.deadlines.remove((was, old.spec.uid))
        if now is not None and new is not None:
            table.deadlines.add((now, new.spec.uid))
        self._move_deadline(table.queue.name, first, table.next_deadline)

    def _weigh(self, table: QueueTable, old: Job | None, new: Job | None) -> None:
        if old is not None and new is not None and old.spec is new.spec and _said(old) == _said(new):
            return
        change = (0 if new is None else _weight(table, new)) - (0 if old is None else _weight(table, old))
        table.live_bytes += change
        self.live_bytes += change


def _said(job: Job) -> tuple[int, str | None]:
    """What, beside its fixed half, may make a job's record a long one."""
    return id(job.standing.notes), job.standing.worker


def _weight(table: QueueTable, job: Job) -> int:
    """About how long the job's record is; exactly, if there is anything in it that may be long."""
    spec, standing, notes = job.spec, job.standing, job.standing.notes
    if spec.tags or spec.unique_key or standing.worker or notes.result or notes.error or len(notes.history) > 1:
        return len(encode(JobAdded(table.queue.name, job)))
    return len(spec.content) + table.name_bytes + _RECORD_OVERHEAD


def _unique_key(job: Job | None) -> str | None:
    return job.spec.unique_key if job is not None and job.state in UNFINISHED else None


def _discard(index: dict[str, SortedList[Rank]], tag: str, rank: Rank) -> None:
    ranks = index[tag]
    ranks.remove(rank)
    if not ranks:
        del index[tag]
