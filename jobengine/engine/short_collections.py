"""Keeps each run of Python's garbage collector short, however many jobs there are."""

import gc
from typing import Final

from attrs import define, field

#: After this number of changes, garbage is collected among the new objects, which takes less than a millisecond.
_YOUNG: Final = 1_000
#: After this number of changes, all present objects are exempted from collections. With fewer changes a full
#: collection takes a few milliseconds.
_LEFT_ALONE: Final = 100_000


@define
class ShortCollections:
    """
    Keeps each run of Python's garbage collector short, however many jobs there are.

    Python begins a collection when there are many more new objects than freed ones. If each change frees as many
    objects as it makes, a collection would begin only with hundreds of thousands of young objects, and then hold up all
    requests for 0.1 s. A full collection visits each entry of each index: 20 ms with 400,000 jobs. So the collector
    leaves older objects alone, also those that were read at the start. They need no collector: nothing that lives
    longer than a request refers to itself, directly or through others, so it is freed with the last reference to it.
    """

    _changes: int = field(default=0, init=False)
    _not_left_alone: int = field(default=0, init=False)

    def changed(self, number: int) -> None:
        """Record that this number of facts was applied."""
        self._changes += number
        if self._changes >= _YOUNG:
            self._collect()

    def _collect(self) -> None:
        gc.collect(1)
        self._not_left_alone += self._changes
        self._changes = 0
        if self._not_left_alone >= _LEFT_ALONE:
            self._not_left_alone = 0
            gc.freeze()
