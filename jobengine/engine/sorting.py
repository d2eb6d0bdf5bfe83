"""Makes the indexes for lists by time when somebody asks for one, and drops those that nobody uses any more."""

from typing import Final

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from ..core.queue_table import QueueTable
from ..core.sorting import Sort
from .freeing import Freeing

__all__ = ["SortIndexes"]

#: Jobs that are sorted anew for each page: about a millisecond.
_FEW: Final = 1_000
#: Jobs that are put into an index at a time: about two milliseconds.
_SLICE: Final = 1_000
#: Seconds that an index is kept beyond its last use. It takes 75 bytes a job, and time at each change of one.
_KEPT: Final = 300


@define(eq=False)
class SortIndexes:
    """The indexes for lists by time, over all queues."""

    clock: IReactorTime
    _freeing: Freeing = field(init=False)
    #: What drops each index, by its table and ascending order.
    _drops: dict[tuple[QueueTable, Sort], IDelayedCall] = field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        self._freeing = Freeing(self.clock)

    def lack(self, table: QueueTable, sort: Sort) -> bool:
        """Whether more of an index is to be made, after a slice of it was: let others in, then ask again."""
        by = sort.ascending
        if table.size() <= _FEW and by not in table.sort_indexes:
            return False
        self._keep(table, by)
        return not table.sort_some(by, _SLICE)

    def stop(self) -> None:
        """Drop nothing any more."""
        for drop in self._drops.values():
            drop.cancel()
        self._drops.clear()

    def _keep(self, table: QueueTable, by: Sort) -> None:
        drop = self._drops.get((table, by))
        if drop is None:
            self._drops[table, by] = self.clock.callLater(_KEPT, self._drop, table, by)
        else:
            drop.reset(_KEPT)

    def _drop(self, table: QueueTable, by: Sort) -> None:
        del self._drops[table, by]
        index = table.sort_indexes.pop(by, None)
        if index is not None:
            self._freeing.add(index.dismantle())
