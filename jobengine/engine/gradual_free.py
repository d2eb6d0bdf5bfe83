"""Frees the memory of large unused objects, a small part in each turn of the reactor."""

from collections import deque
from collections.abc import Iterator, MutableMapping, Sequence
from typing import Any, Final

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

from ..core.effects import Effect, QueueEffect
from .tables.queue_table import QueueTable
from .tables.sorted_list import SortedList
from .tables.state import Tables

#: How many slices (see `add`) are freed in one turn of the reactor, which takes about two milliseconds.
_AT_ONCE: Final = 4
#: Jobs that are freed in one step.
_FREED_AT_ONCE: Final = 1_000


@define
class GradualFree:
    """
    Frees large objects in small parts, one object after the other.

    Freed in one piece, a table of 1,000,000 jobs would block the reactor for 270 ms.
    """

    clock: IReactorTime
    _waiting: deque[Iterator[None]] = field(factory=deque, init=False)

    def add(self, slices: Iterator[None]) -> None:
        """Free an object; each step of `slices` frees a part of it."""
        self._waiting.append(slices)
        if len(self._waiting) == 1:
            self.clock.callLater(0, self._free)

    def add_deleted(self, effects: Sequence[Effect], tables: Tables) -> None:
        """Free the queues that these changes deleted; the changes are on disk and can't be rolled back."""
        for effect in effects:
            if type(effect) is not QueueEffect or not isinstance(effect.old, QueueTable):
                continue
            if tables.queues.get(effect.queue) is not effect.old:
                self.add(dismantle(effect.old))

    def _free(self) -> None:
        for _ in range(_AT_ONCE):
            if next(self._waiting[0], self) is self:
                self._waiting.popleft()
                break
        if self._waiting:
            self.clock.callLater(0, self._free)


def dismantle(table: QueueTable) -> Iterator[None]:
    """Free the memory of an unused table in slices, one at each step."""
    indexes: list[SortedList[Any]] = [*table.places.values(), table.deadlines, table.wall_deadlines]
    indexes += (*table.names.ready_by_tag.values(), *table.names.ready_by_tags.values())
    indexes += (part for index in table.sort_indexes.values() for part in index.states.values())
    table.names.ready_by_tag.clear()
    table.names.ready_by_tags.clear()
    table.sort_indexes.clear()
    while indexes:
        if not indexes[-1].drop_block():
            indexes.pop()
        yield
    yield from table.failing.dismantle()
    kinds: list[MutableMapping[Any, Any]] = [table.names.unique, table.named, table.jobs]
    for kept in kinds:
        while kept:
            for _ in range(min(_FREED_AT_ONCE, len(kept))):
                kept.popitem()
            yield
