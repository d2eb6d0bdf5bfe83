"""Collects garbage among young objects from time to time."""

import gc
from typing import Final

from attrs import define, field

#: The changes between two collections; one takes less than a millisecond.
_CHANGES: Final = 1_000


@define
class YoungObjects:
    """
    Collects garbage among young objects from time to time.

    Python begins a collection when there are many more new objects than freed ones. Where each change frees as many as
    it makes, it would wait until hundreds of thousands are young, and then hold up all requests for 0.1 s.
    """

    _changes: int = field(default=0, init=False)

    def changed(self, number: int) -> None:
        """Note that this number of facts was applied."""
        self._changes += number
        if self._changes >= _CHANGES:
            self._changes = 0
            gc.collect(1)
