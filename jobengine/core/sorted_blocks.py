"""Values in order, put in and taken out in runs."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from itertools import chain, islice
from typing import Any, Final, Generic, TypeVar

__all__ = ["Ordered"]

T = TypeVar("T", bound=Any)

#: How long a block is after a cut, how long it may grow, and what it is joined with a neighbour below.
_BLOCK: Final = 1_000
_LONGEST: Final = 2 * _BLOCK
_SHORTEST: Final = _BLOCK // 2


class Ordered(Generic[T]):
    """
    A sorted list of values that can be compared.

    It is kept in blocks, so that a change moves a few thousand values at most, however many there are. What stands
    side by side is put in or taken out by one slice: in a run of a thousand that takes 0.04 us for each, where the
    SortedList of sortedcontainers takes 0.4.
    """

    def __init__(self) -> None:
        #: None of them is empty.
        self._blocks: list[list[T]] = []
        #: The last value of each block.
        self._lasts: list[T] = []
        self._length = 0
        #: How many have frozen it, and the ids of the blocks that they see: these are copied before they are changed.
        self._frozen = 0
        self._seen: set[int] | None = None

    def add_all(self, run: list[T]) -> None:
        """Put these in, in whatever order they come; the list is sorted for it."""
        run.sort()
        self._length += len(run)
        done = 0
        while done < len(run):
            at = bisect_right(self._lasts, run[done])
            done = self._put_in(at, run, done) if at < len(self._blocks) else self._append(run, done)

    def remove_all(self, run: list[T]) -> None:
        """Take these out; the list is sorted for it. Raises LookupError if one is not there, maybe with others gone."""
        run.sort()
        self._length -= len(run)
        done = 0
        while done < len(run):
            done = self._take_out(run, done)

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[T]:
        return chain.from_iterable(self._blocks)

    def first(self) -> T | None:
        """The first value, or None."""
        return self._blocks[0][0] if self._blocks else None

    def behind(self, value: T | None) -> Iterator[T]:
        """The values that come after `value`, which need not be there, or all; not for use after a change."""
        if value is None:
            return iter(self)
        at = bisect_right(self._lasts, value)
        if at == len(self._blocks):
            return iter(())
        block = self._blocks[at]
        # A slice would copy what nobody may ask for.
        rest = map(block.__getitem__, range(bisect_right(block, value), len(block)))
        return chain(rest, chain.from_iterable(islice(self._blocks, at + 1, None)))

    def back_from(self, value: T | None) -> Iterator[T]:
        """The values that come before `value`, which need not be there, or all, last first; as `behind`."""
        if value is None:
            return chain.from_iterable(map(reversed, reversed(self._blocks)))
        at = bisect_left(self._lasts, value)
        earlier = chain.from_iterable(map(reversed, map(self._blocks.__getitem__, range(at - 1, -1, -1))))
        if at == len(self._blocks):
            return earlier
        block = self._blocks[at]
        return chain(map(block.__getitem__, range(bisect_left(block, value) - 1, -1, -1)), earlier)

    def before(self, value: T) -> int:
        """How many values come before `value`, which need not be there; takes longer the more blocks these are."""
        at = bisect_left(self._lasts, value)
        inside = bisect_left(self._blocks[at], value) if at < len(self._blocks) else 0
        return sum(map(len, self._blocks[:at])) + inside

    def freeze(self) -> list[list[T]]:
        """Its blocks as they are now; they are left so until `thaw` was called as often as this."""
        self._frozen += 1
        self._seen = {*(self._seen or ()), *map(id, self._blocks)}
        return self._blocks.copy()

    def thaw(self) -> None:
        """Blocks that `freeze` gave are no longer looked at."""
        self._frozen -= 1
        if not self._frozen:
            self._seen = None

    def drop_block(self) -> bool:
        """Take out some of the last values; False if there are none."""
        if not self._blocks:
            return False
        self._length -= len(self._blocks.pop())
        self._lasts.pop()
        return True

    def _put_in(self, at: int, run: list[T], start: int) -> int:
        """Put in what goes into one gap of a block, from `run[start]` on; how far that was."""
        block = self._own(at)
        gap = bisect_right(block, run[start])
        end = bisect_left(run, block[gap], start + 1)
        block[gap:gap] = run[start:end]
        if len(block) > _LONGEST:
            self._cut(at, at + 1)
        return end

    def _append(self, run: list[T], start: int) -> int:
        """Put in what comes behind all that is there, from `run[start]` on."""
        if not self._blocks:
            self._blocks.append([])
            self._lasts.append(run[-1])
        block = self._own(len(self._blocks) - 1)
        block += run[start:] if start else run
        self._lasts[-1] = run[-1]
        if len(block) > _LONGEST:
            self._cut(len(self._blocks) - 1, len(self._blocks))
        return len(run)

    def _take_out(self, run: list[T], start: int) -> int:
        """Take out what stands side by side in one block, from `run[start]` on; how far that was."""
        value = run[start]
        at = bisect_left(self._lasts, value)
        block = self._blocks[at]
        place = bisect_left(block, value)
        if block[place] != value:
            raise LookupError(value)
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
        """A block to be changed: a copy in its place if somebody looks at it."""
        block = self._blocks[at]
        if self._seen is not None and id(block) in self._seen:
            block = self._blocks[at] = block.copy()
        return block

    def _cut(self, start: int, end: int) -> None:
        """Make one block of these, or some of equal length if it would be too long."""
        values = list(chain.from_iterable(self._blocks[start:end]))
        parts = 1 if len(values) <= _LONGEST else len(values) // _BLOCK
        size = -(-len(values) // parts)
        blocks = [values[at : at + size] for at in range(0, len(values), size)]
        self._blocks[start:end] = blocks
        self._lasts[start:end] = [block[-1] for block in blocks]


def _alike(block: list[T], place: int, run: list[T], start: int) -> int:
    """How far two lists of which one value is the same are the same: at least half as far as they are."""
    most = min(len(block) - place, len(run) - start)
    length = 1
    while length < most:
        more = min(2 * length, most)
        if block[place + length : place + more] != run[start + length : start + more]:
            break
        length = more
    return length
