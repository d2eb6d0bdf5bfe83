"""
All queues and jobs in memory, with the indexes that answer in O(log n).

There is one way to change it, `apply`, and one way to take a change back, `restore`.
"""

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

from sortedcontainers import SortedList

from .events import Fact, JobAdded, JobChanged, JobRemoved, QueueCreated, QueueDeleted, encode
from .model import Job, Queue, Rank, State

__all__ = ["Before", "QueueTable", "Tables"]

#: What a fact replaced: the queue's name, the job's uid or None for the queue itself, and what was there.
Before = tuple[str, str | None, "Job | QueueTable | None"]

#: The bytes of a job's record beside its content and its queue's name; an estimate from above.
_RECORD_OVERHEAD: Final = 160
#: Sorts behind every uid.
_LAST_UID: Final = "\U0010ffff"


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
        #: The ranks of the queued jobs.
        self.ready: SortedList[Rank] = SortedList()
        #: How many jobs are in each state.
        self.counts: Counter[State] = Counter()
        #: (deadline, uid) of every job that time will move on by itself.
        self.deadlines: SortedList[tuple[int, str]] = SortedList()
        #: About how many bytes the records of this queue would take in a fresh snapshot.
        self.live_bytes = len(encode(QueueCreated(queue)))
        #: About how many of them each job takes for the queue's name: more than it has characters.
        self.name_bytes = len(encode(QueueDeleted(queue.name)))
        #: The arrival number of the next job to be added.
        self.next_arrival = 0

    def first_ready(self) -> Job | None:
        """The queued job that is to run next."""
        return self.jobs[self.ready[0][2]] if self.ready else None

    @property
    def next_deadline(self) -> int | None:
        """When the first of the jobs is moved on by time, or None."""
        return self.deadlines[0][0] if self.deadlines else None

    def page(self, after: Rank | None, limit: int, arrived_before: int | None = None) -> list[Job]:
        """At most `limit` jobs of every state in execution order, those behind the place `after`."""
        ranks = self.order.irange(after, inclusive=(False, True))
        if arrived_before is not None:
            ranks = (rank for rank in ranks if rank[1] < arrived_before)
        return [self.jobs[rank[2]] for rank in islice(ranks, limit)]


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
        if uid is None:
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
            while self.queues.get(name) is table and (jobs := table.page(after, slice_size, end)):
                yield [JobAdded(name, job) for job in jobs]
                after = jobs[-1].spec.rank

    def _queue_created(self, fact: QueueCreated) -> Before:
        name = fact.queue.name
        old = self.queues.get(name)
        if old is not None and old.queue == fact.queue:
            return (name, None, old)
        return (name, None, self._swap_queue(name, QueueTable(fact.queue)))

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
            new = Job(spec=old.spec, state=fact.state, updated=fact.updated)
            self._swap_job(table, fact.uid, new)
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
        self._index_ready(table, old, new)
        self._index_deadline(table, old, new)
        if old is not None:
            table.counts[old.state] -= 1
        if new is not None:
            table.counts[new.state] += 1
        return old

    def _index_rank(self, table: QueueTable, old: Job | None, new: Job | None) -> None:
        if old is not None and new is not None and old.spec is new.spec:
            return
        if old is not None:
            table.order.remove(old.spec.rank)
            self._weigh(table, old, -1)
        if new is not None:
            table.order.add(new.spec.rank)
            self._weigh(table, new, 1)

    def _index_ready(self, table: QueueTable, old: Job | None, new: Job | None) -> None:
        was = old.spec.rank if old is not None and old.state is State.QUEUED else None
        now = new.spec.rank if new is not None and new.state is State.QUEUED else None
        if was != now:
            if was is not None:
                table.ready.remove(was)
            if now is not None:
                table.ready.add(now)

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

    def _weigh(self, table: QueueTable, job: Job, sign: int) -> None:
        weight = sign * (len(job.spec.content) + table.name_bytes + _RECORD_OVERHEAD)
        table.live_bytes += weight
        self.live_bytes += weight
