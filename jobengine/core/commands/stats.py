"""Reading queue stats."""

from collections.abc import Sequence
from heapq import nsmallest

from ..access import READERS
from ..flow import GATE, OF_QUEUE, gate_of
from ..history import QueueHistory
from ..model import SECOND, Grant, Queue, State
from ..required_rows import Needs
from ..stats import QueueCounts, QueueStats, QueueTotals
from ..tables import NOTHING, Decision, NewId, RecentActivity, Table, TableSet
from .command import AllQueues, QueueCommand

__all__ = ["CountQueues", "ListQueues", "ReadHistory", "ReadStats"]


class ReadStats(QueueCommand[QueueStats], frozen=True, kw_only=True):
    """Read the queue's counts and times."""

    roles = READERS
    reads = True

    def needs(self, queue: Queue, grant: Grant) -> Needs:
        gate = frozenset([(GATE, OF_QUEUE)] if queue.flow is not None else ())
        return Needs(counts=True, periods=True, items=gate)

    def decide_in(
        self, table: Table, grant: Grant, now: int, new_id: NewId, activity: RecentActivity
    ) -> Decision[QueueStats]:
        return NOTHING, _stats(table, now, activity)


class ReadHistory(QueueCommand[QueueHistory], frozen=True, kw_only=True):
    """Read the counts of each of the last 60 minutes and 168 hours."""

    roles = READERS
    reads = True

    def needs(self, queue: Queue, grant: Grant) -> Needs:
        return Needs(periods=True)

    def decide_in(
        self, table: Table, grant: Grant, now: int, new_id: NewId, activity: RecentActivity
    ) -> Decision[QueueHistory]:
        return NOTHING, activity.history(self.queue, now, table.kept_periods())


class ListQueues(AllQueues[Sequence[QueueStats]], frozen=True, kw_only=True):
    """Read the stats of a page of queues."""

    def decide(
        self, tables: TableSet, now: int, new_id: NewId, activity: RecentActivity
    ) -> Decision[Sequence[QueueStats]]:
        return NOTHING, [_stats(table, now, activity) for table in _some_tables(tables, self.after, self.limit)]


class CountQueues(AllQueues[Sequence[QueueTotals]], frozen=True, kw_only=True):
    """Read only the stats that are cheap to compute, of a page of queues."""

    def decide(
        self, tables: TableSet, now: int, new_id: NewId, activity: RecentActivity
    ) -> Decision[Sequence[QueueTotals]]:
        return NOTHING, [_totals(table, now, activity) for table in _some_tables(tables, self.after, self.limit)]


def _totals(table: Table, now: int, activity: RecentActivity) -> QueueTotals:
    counts = table.counts()
    wait, run = activity.times(table.queue.name)
    schedules, dead_letter = table.schedules(), table.queue.dead_letter
    return QueueTotals(
        name=table.queue.name,
        counts=counts.states,
        retrying=counts.retrying,
        oldest_ready=_oldest_ready(table, counts, now),
        totals=activity.since_start(table.queue.name),
        wait=wait,
        run=run,
        workers_waiting=activity.waiting(table.queue.name),
        paused=table.queue.paused,
        max_jobs=table.queue.max_jobs,
        held=counts.held,
        waiting=counts.waiting,
        workers_wanted=_workers_wanted(table, counts, activity),
        has_flow=table.queue.flow is not None,
        has_dead_letters=dead_letter is not None,
        lacks_dead_letters=dead_letter is not None and dead_letter.missing,
        has_schedules=schedules.number > 0,
        schedule_late=0 if schedules.next is None else max(0, table.wall(now) - schedules.next),
        schedules_failing=schedules.failing,
    )


def _some_tables(tables: TableSet, after: str | None, limit: int) -> list[Table]:
    names = nsmallest(limit, (name for name in tables.queues if after is None or name > after))
    return [tables.queues[name] for name in names]


def _oldest_ready(table: Table, counts: QueueCounts, now: int) -> int | None:
    """
    Milliseconds since the oldest ready job was added; None if no job can be claimed.

    It is 0 if the job seems to come from the future, because the wall clock was set back between two runs.
    """
    since = table.oldest_ready() if counts.ready else None
    return None if since is None else max(0, now - since)


def _stats(table: Table, now: int, activity: RecentActivity) -> QueueStats:
    counts, recent = table.counts(), activity.recent(table.queue.name, now, table.kept_periods())
    waiting, last_claim = activity.claims(table.queue.name)
    return QueueStats(
        queue=table.queue,
        counts=counts.states,
        ready=counts.ready,
        delayed=counts.delayed,
        held=counts.held,
        waiting=counts.waiting,
        retrying=counts.retrying,
        cancelled=counts.cancelled,
        oldest_ready=_oldest_ready(table, counts, now),
        last_minute=recent.last_minute,
        last_hour=recent.last_hour,
        minutes=recent.minutes,
        wait=recent.wait,
        run=recent.run,
        workers_waiting=waiting,
        last_claim=last_claim,
        workers_wanted=_workers_wanted(table, counts, activity),
        held_until=_held_until(table, now),
    )


def _workers_wanted(table: Table, counts: QueueCounts, activity: RecentActivity) -> int | None:
    """The work that is ready or in progress, divided by the time in which it should be done; see QueueStats."""
    queue = table.queue
    if queue.target_wait_seconds is None:
        return None
    _, run = activity.times(queue.name)
    jobs = counts.ready + counts.states[State.INPROGRESS]
    runs = sum(run.buckets.values())
    # Without a finished attempt nobody knows how long jobs run.
    wanted = -(-jobs * run.total // (runs * queue.target_wait_seconds * SECOND)) if runs else min(jobs, 1)
    limit = None if queue.flow is None else queue.flow.limits.in_progress
    return min(wanted if jobs else 0, jobs if limit is None else limit)


def _held_until(table: Table, now: int) -> int | None:
    if table.queue.flow is None:
        return None
    held = gate_of(table.item(GATE, OF_QUEUE)).held
    return held if held > now else None
