"""The whole state as facts, to be written to a fresh file."""

import sys

from ...core.facts import ClockSet, Fact, ItemSet, JobAdded, PeriodsCounted, QueueCreated
from ...core.model import Job, Rank
from .queue_table import QueueTable
from .state import Tables


class Snapshot:
    """
    Yields the state as facts, slice by slice, while jobs and queues keep changing.

    Each slice shows its part at the moment when it is taken. Later changes of that part are in facts applied later:
    replaying slices and facts in their order yields the final state.
    """

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._begun = False
        self._names = iter(list(tables.queues))
        self._table: QueueTable | None = None
        #: Kind and name of each of the queue's named things that is still to be taken.
        self._items: list[tuple[str, str]] = []
        self._after: Rank | None = None
        self._end = 0

    def take(self, most: int) -> list[Fact] | None:
        """The next facts, at least one and at most `most`; None at the end."""
        if not self._begun:
            self._begun = True
            if self._tables.ahead:
                return [ClockSet(self._tables.ahead)]
        while True:
            table = self._table
            if table is None or self._tables.queues.get(table.queue.name) is not table:
                table = self._next_table()
                return None if table is None else _queue_facts(table)
            items = self._some_items(table, most)
            if items:
                return items
            if jobs := self._some_jobs(table, most):
                return [JobAdded(table.queue.name, job) for job in jobs]

    def _some_jobs(self, table: QueueTable, most: int) -> list[Job]:
        page, self._after = table.page(self._after, most)
        if self._after is None:
            self._table = None
        elif self._after[1] >= self._end:
            # All further jobs of this priority came after the snapshot began: go on with the next priority.
            self._after = (self._after[0], sys.maxsize, "")
        return [job for job in page if job.spec.rank[1] < self._end]

    def _next_table(self) -> QueueTable | None:
        tables = (self._tables.queues.get(name) for name in self._names)
        self._table = next((table for table in tables if table is not None), None)
        if self._table is not None:
            # Jobs added from now on are in later facts. A walk that included them might never end.
            self._after, self._end = None, self._table.next_arrival
            self._items = list(self._table.named)
        return self._table

    def _some_items(self, table: QueueTable, most: int) -> list[Fact]:
        keys, self._items = self._items[:most], self._items[most:]
        return [ItemSet(table.queue.name, *key, table.named[key]) for key in keys if key in table.named]


def _queue_facts(table: QueueTable) -> list[Fact]:
    """The facts of a queue: its configuration, and its history if it has one."""
    periods = tuple(table.history.all())
    return [QueueCreated(table.queue), *([PeriodsCounted(table.queue.name, periods)] if periods else [])]
