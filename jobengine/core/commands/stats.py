"""Reading queue stats."""

from collections.abc import Sequence
from heapq import nsmallest

from ..access import READERS
from ..history import QueueHistory
from ..model import Grant, Queue
from ..required_rows import Needs
from ..stats import QueueStats, QueueTotals
from ..tables import NOTHING, Decision, NewId, RecentActivity, Table, TableSet
from .command import AllQueues, QueueCommand

__all__ = ["CountQueues", "ListQueues", "ReadHistory", "ReadStats"]


class ReadStats(QueueCommand[QueueStats], frozen=True, kw_only=True):
    """Read the queue's counts and times."""

    roles = READERS
    reads = True

    def needs(self, queue: Queue, grant: Grant) -> Needs:
        return Needs(counts=True, periods=True)

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
    """Read the stats of a page of queues that are cheap to compute."""

    def decide(
        self, tables: TableSet, now: int, new_id: NewId, activity: RecentActivity
    ) -> Decision[Sequence[QueueTotals]]:
        return NOTHING, [_totals(table, now, activity) for table in _some_tables(tables, self.after, self.limit)]


def _totals(table: Table, now: int, activity: RecentActivity) -> QueueTotals:
    counts = table.counts()
    wait, run = activity.times(table.queue.name)
    return QueueTotals(
        name=table.queue.name,
        counts=counts.states,
        retrying=counts.retrying,
        oldest_ready=_age(table.oldest_ready(), now),
        totals=activity.since_start(table.queue.name),
        wait=wait,
        run=run,
        workers_waiting=activity.waiting(table.queue.name),
        paused=table.queue.paused,
    )


def _some_tables(tables: TableSet, after: str | None, limit: int) -> list[Table]:
    names = nsmallest(limit, (name for name in tables.queues if after is None or name > after))
    return [tables.queues[name] for name in names]


def _age(since: int | None, now: int) -> int | None:
    """
    Milliseconds since a time; 0 if the time is in the future, as after a wall clock that was set back between two
    runs.
    """
    return None if since is None else max(0, now - since)


def _stats(table: Table, now: int, activity: RecentActivity) -> QueueStats:
    counts, recent = table.counts(), activity.recent(table.queue.name, now, table.kept_periods())
    waiting, last_claim = activity.claims(table.queue.name)
    return QueueStats(
        queue=table.queue,
        counts=counts.states,
        ready=counts.ready,
        delayed=counts.delayed,
        retrying=counts.retrying,
        cancelled=counts.cancelled,
        oldest_ready=_age(table.oldest_ready(), now),
        last_minute=recent.last_minute,
        last_hour=recent.last_hour,
        minutes=recent.minutes,
        wait=recent.wait,
        run=recent.run,
        workers_waiting=waiting,
        last_claim=last_claim,
    )
