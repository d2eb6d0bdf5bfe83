"""Values in order: only the first are loaded; the others are loaded when they are needed."""

from bisect import bisect_left, insort
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, TypeVar

from attrs import define, field

V = TypeVar("V", bound=Any)


@define(eq=False)
class Loading(Generic[V]):
    """Values in order: those of the database that are loaded so far, and others that are added."""

    #: Loads the next values of the database, given `of` and the last loaded value (None at first). Returns the values
    #: to add, and the last value that was read (None at the end).
    load: Callable[[str | None, V | None], tuple[Sequence[V], V | None]]
    of: str | None = None
    values: list[V] = field(factory=list)
    #: The last loaded value: all values of the database up to here are known.
    _last: V | None = field(default=None, init=False)
    _is_whole: bool = field(default=False, init=False)

    def __iter__(self) -> Iterator[V]:
        at = 0
        while True:
            if at < len(self.values) and (self._is_whole or (self._last is not None and self.values[at] <= self._last)):
                yield self.values[at]
                at += 1
            elif self._is_whole:
                return
            else:
                # The values that are loaded next come after all values yielded so far.
                self.load_more()

    @property
    def has_begun(self) -> bool:
        """Whether any values of the database were loaded."""
        return self._is_whole or self._last is not None

    def load_more(self) -> None:
        """Load the next values."""
        self.take(*self.load(self.of, self._last))

    def take(self, values: Sequence[V], last: V | None) -> None:
        """Take the next values of the database, as `load` returns them."""
        if self.values:
            for value in values:
                self.add(value)
        else:
            self.values = [*values]
        self._is_whole, self._last = last is None, last

    def add(self, value: V) -> None:
        """Insert a value, unless it is there."""
        at = bisect_left(self.values, value)
        if self.values[at : at + 1] != [value]:
            insort(self.values, value)

    def discard(self, value: V) -> None:
        """Remove a value, if it is there."""
        at = bisect_left(self.values, value)
        if self.values[at : at + 1] == [value]:
            del self.values[at]
