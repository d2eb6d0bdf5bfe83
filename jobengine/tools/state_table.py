"""A table of the states of many jobs, in little memory."""

from array import array
from typing import Final

#: The state of a deleted job; other states are 1 to 7.
REMOVED: Final = 0
_STATE: Final = 7
_HASH: Final = (1 << 64) - 1 - _STATE
#: The initial number of places.
_PLACES: Final = 64
_LOW: Final = (1 << 32) - 1


class StateTable:
    """
    The state of each job of a queue, and two lengths, by a hash of its uid.

    A hash table with open addressing over two arrays. It takes 24 to 48 bytes for each job: 61 bits of hash, the
    state, and two lengths of 32 bits. Two jobs with equal hashes count as one; among 1,000,000 jobs the chance of that
    is one in millions. A deleted job keeps its place until the table is rebuilt.
    """

    def __init__(self) -> None:
        #: The two lengths, summed over all jobs.
        self.total = 0
        self._counts = [0] * (_STATE + 1)
        #: The number of used places.
        self._used = 0
        self._keys = _places(_PLACES)
        self._lengths = _places(_PLACES)

    @property
    def memory(self) -> int:
        """Its size in bytes."""
        return 2 * self._keys.itemsize * len(self._keys)

    def count(self, state: int) -> int:
        """The number of jobs in a state."""
        return self._counts[state]

    def put(self, uid: str, state: int, length: int) -> None:
        """Set the state and the first length of a job, new or not; the second length becomes 0."""
        key = _key(uid)
        at = self._find(key)
        if self._keys[at]:
            self._set(at, key, state, length << 32)
            return
        self._keys[at], self._lengths[at] = key | state, length << 32
        self._counts[state] += 1
        self.total += length
        self._used += 1
        if self._used * 3 > len(self._keys) * 2:
            self._rebuild()

    def change(self, uid: str, state: int, length: int) -> None:
        """Set the state and the second length of a job; does nothing if there is no such job."""
        key = _key(uid)
        at = self._find(key)
        if self._keys[at] & _STATE:
            first = self._lengths[at] & ~_LOW
            self._set(at, key, state, first | length if state else 0)

    def _set(self, at: int, key: int, state: int, lengths: int) -> None:
        self._counts[self._keys[at] & _STATE] -= 1
        self._counts[state] += 1
        self.total += _sum(lengths) - _sum(self._lengths[at])
        self._keys[at], self._lengths[at] = key | state, lengths

    def _find(self, key: int) -> int:
        """The place of a key, or the free place for it."""
        keys, last = self._keys, len(self._keys) - 1
        at = key >> 3 & last
        while (there := keys[at]) and there & _HASH != key:
            at = at + 1 & last
        return at

    def _rebuild(self) -> None:
        """Rebuild the table with twice as many places as jobs, and without deleted jobs."""
        keys, lengths = self._keys, self._lengths
        there = sum(self._counts[1:])
        places = max(_PLACES, 1 << (2 * there - 1).bit_length())
        self._keys, self._lengths = _places(places), _places(places)
        new, last = self._keys, places - 1
        for key, of_key in zip(keys, lengths, strict=True):
            if key & _STATE:
                # The first free place: no two keys are equal.
                at = key >> 3 & last
                while new[at]:
                    at = at + 1 & last
                new[at], self._lengths[at] = key, of_key
        self._used, self._counts[REMOVED] = there, 0


def _places(number: int) -> "array[int]":
    """Free places; `number` is a power of 2."""
    return array("Q", bytes(8 * number))


def _key(uid: str) -> int:
    # Not 0, which marks a free place.
    return hash(uid) & _HASH or _STATE + 1


def _sum(lengths: int) -> int:
    return (lengths >> 32) + (lengths & _LOW)
