"""Builds the failure index and the indexes of time-sorted lists when a list first needs them, and drops unused ones."""

from typing import Final

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from ..core.sorting import Sort
from .gradual_free import GradualFree
from .tables.queue_table import QueueTable

#: A queue with at most this many jobs is sorted for each page, in about a millisecond.
_FEW: Final = 1_000
#: How many jobs are added to an index at a time, which takes about two milliseconds.
_SLICE: Final = 1_000
#: Seconds for which an index is kept after its last use. An index takes 75 bytes a job, and time at each change of a
#: job.
_KEPT: Final = 300


@define(eq=False)
class IndexBuilder:
    """Builds and drops the indexes that queues have only while somebody reads them."""

    clock: IReactorTime
    _gradual_free: GradualFree = field(init=False)
    #: The timers that drop the indexes, by table and order; the order is None for the index of failures.
    _drops: dict[tuple[QueueTable, Sort | None], IDelayedCall] = field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        self._gradual_free = GradualFree(self.clock)

    def build_slice(self, table: QueueTable, sort: Sort) -> bool:
        """Add at most _SLICE jobs to an index; returns whether jobs are missing. Yield to the reactor between calls."""
        by = sort.ascending
        if table.size() <= _FEW and by not in table.sort_indexes:
            return False
        self._keep(table, by)
        return not table.sort_some(by, _SLICE)

    def build_failures(self, table: QueueTable) -> bool:
        """Index some failures; returns whether the index still lacks jobs. Yield to the reactor between calls."""
        self._keep(table, None)
        if table.failing.has_unused:
            self._gradual_free.add(table.failing.free_unused())
        return table.failing.build_some()

    def stop(self) -> None:
        """Cancel all timers."""
        for drop in self._drops.values():
            drop.cancel()
        self._drops.clear()

    def _keep(self, table: QueueTable, by: Sort | None) -> None:
        drop = self._drops.get((table, by))
        if drop is None:
            self._drops[table, by] = self.clock.callLater(_KEPT, self._drop, table, by)
        else:
            drop.reset(_KEPT)

    def _drop(self, table: QueueTable, by: Sort | None) -> None:
        del self._drops[table, by]
        index = table.failing if by is None else table.sort_indexes.pop(by, None)
        if index is not None:
            self._gradual_free.add(index.dismantle())
