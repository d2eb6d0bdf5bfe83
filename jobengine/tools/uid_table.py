"""A table of uids that takes little memory: which number each of them has."""

from array import array
from typing import Final

__all__ = ["UidTable"]

#: Places to begin with.
_PLACES: Final = 64
_NUMBER: Final = (1 << 32) - 1
_CHECK: Final = _NUMBER << 32


class UidTable:
    """
    A number below 2^32 - 1 for each uid, for files with more jobs than memory would hold.

    It is a hash table with open addressing over two arrays, and takes 24 to 48 bytes for each uid: 64 bits of one hash,
    32 of another, and the number. Two uids with the same 96 bits would count as one. Among 1,000,000,000 that happens
    in one run of 100,000,000,000, and never in the same way twice: the hashes are others in each process.
    """

    def __init__(self) -> None:
        #: The first hash in each place, and with 32 bits of the second one the number plus one: 0 is a free place.
        self._keys: array[int]
        self._entries: array[int]
        self._make(_PLACES)

    @property
    def memory(self) -> int:
        """The bytes that it takes."""
        return 2 * self._keys.itemsize * len(self._keys)

    def put(self, uid: str, number: int) -> int | None:
        """Give a uid this number; returns the one that it had, or None."""
        key, check = hash(uid), hash(uid[::-1]) & _CHECK
        at = self._find(key, check)
        before = self._entries[at]
        self._keys[at], self._entries[at] = key, check | number + 1
        if before:
            return (before & _NUMBER) - 1
        self._free -= 1
        if not self._free:
            self._grow()
        return None

    def get(self, uid: str) -> int | None:
        """The number of a uid, or None."""
        entry = self._entries[self._find(hash(uid), hash(uid[::-1]) & _CHECK)]
        return (entry & _NUMBER) - 1 if entry else None

    def numbers(self) -> list[int]:
        """The numbers of all uids."""
        return [(entry & _NUMBER) - 1 for entry in self._entries if entry]

    def _find(self, key: int, check: int) -> int:
        """The place of a uid, or the free one that it would get."""
        keys, entries, last = self._keys, self._entries, self._last
        at = key & last
        while (entry := entries[at]) and (keys[at] != key or entry & _CHECK != check):
            at = at + 1 & last
        return at

    def _grow(self) -> None:
        keys, entries = self._keys, self._entries
        self._make(2 * len(keys))
        for key, entry in zip(keys, entries, strict=True):
            if entry:
                at = self._find(key, entry & _CHECK)
                self._keys[at], self._entries[at] = key, entry
        self._free -= len(keys) * 2 // 3

    def _make(self, places: int) -> None:
        """Free places; their number is a power of 2."""
        self._keys, self._entries = array("q", bytes(8 * places)), array("Q", bytes(8 * places))
        self._last = places - 1
        #: How many may be taken before there are to be more.
        self._free = places * 2 // 3
