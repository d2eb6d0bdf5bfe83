"""The rules for the figures of queues."""

from collections.abc import Sequence
from heapq import nsmallest
from typing import Final

from . import commands as c
from .access import authorise
from .decision import NOTHING, Decision, Lately, NewId, Rules, table_of
from .model import QueueStats, QueueTotals
from .tables import Table, TableSet

__all__ = ["OTHERS"]


def _read_stats(
    tables: TableSet, command: c.ReadStats, now: int, _new_id: NewId, lately: Lately
) -> Decision[QueueStats]:
    """All figures of one queue; raises QueueNotFound, AccessDenied or NotAllowed."""
    table = table_of(tables, command.queue)
    authorise(table.queue, command, now)
    return NOTHING, _stats(table, now, lately)


def _list_queues(
    tables: TableSet, command: c.ListQueues, now: int, _new_id: NewId, lately: Lately
) -> Decision[Sequence[QueueStats]]:
    """All figures of some queues."""
    return NOTHING, [_stats(table, now, lately) for table in _some_tables(tables, command.after, command.limit)]


def _count_queues(
    tables: TableSet, command: c.CountQueues, now: int, _new_id: NewId, lately: Lately
) -> Decision[Sequence[QueueTotals]]:
    """The figures of some queues that are cheap to compute."""
    return NOTHING, [
        QueueTotals(
            name=table.queue.name,
            counts=table.counts().states,
            oldest_ready=_age(table.oldest_ready(), now),
            totals=lately.since_start(table.queue.name),
        )
        for table in _some_tables(tables, command.after, command.limit)
    ]


def _some_tables(tables: TableSet, after: str | None, limit: int) -> list[Table]:
    names = nsmallest(limit, (name for name in tables.queues if after is None or name > after))
    return [tables.queues[name] for name in names]


def _age(since: int | None, now: int) -> int | None:
    """Milliseconds since a time; 0 if it is ahead, since the wall clock may have been set back between two runs."""
    return None if since is None else max(0, now - since)


def _stats(table: Table, now: int, lately: Lately) -> QueueStats:
    counts, recent = table.counts(), lately.recent(table.queue.name)
    return QueueStats(
        queue=table.queue,
        counts=counts.states,
        ready=counts.ready,
        delayed=counts.delayed,
        oldest_ready=_age(table.oldest_ready(), now),
        last_minute=recent.last_minute,
        last_hour=recent.last_hour,
        minutes=recent.minutes,
        wait=recent.wait,
        run=recent.run,
    )


#: The rules of the other commands.
OTHERS: Final[Rules] = {
    c.ReadStats: _read_stats,
    c.ListQueues: _list_queues,
    c.CountQueues: _count_queues,
}
