"""Frees the memory of large unused objects, a small part in each turn of the reactor."""

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

from ...core.effects import Effect, QueueEffect
from .tables.queue_table import QueueTable
from .tables.state import Tables

#: The number of slices (see `add`) that are freed in one turn: about two milliseconds.
_AT_ONCE: Final = 4


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
                self.add(effect.old.dismantle())

    def _free(self) -> None:
        for _ in range(_AT_ONCE):
            if next(self._waiting[0], self) is self:
                self._waiting.popleft()
                break
        if self._waiting:
            self.clock.callLater(0, self._free)
