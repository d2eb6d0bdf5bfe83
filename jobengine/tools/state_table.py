"""A table of many jobs' states that takes little memory and keeps nothing else of them."""

from array import array
from typing import Final

__all__ = ["REMOVED", "StateTable"]

#: The state of a job that is no longer there; those of jobs that are there are 1 to 7.
REMOVED: Final = 0
_STATE: Final = 7
_HASH: Final = (1 << 64) - 1 - _STATE
#: Places to begin with.
_PLACES: Final = 64
_LOW: Final = (1 << 32) - 1


class StateTable:
    """
    The state of each job of a queue, and two lengths, by a hash of its uid.

    It is a hash table with open addressing over two arrays, and takes 24 to 48 bytes for each job: 61 bits of the hash
    and the state, and two lengths of 32 bits. Two jobs whose hashes are equal count as one: of files with 1,000,000
    jobs that is one in millions. A job that was removed keeps its place until the table is made anew.
    """

    def __init__(self) -> None:
        #: The two lengths of all jobs together.
        self.total = 0
        self._counts = [0] * (_STATE + 1)
        #: How many places are taken.
        self._used = 0
        self._keys = _places(_PLACES)
        self._lengths = _places(_PLACES)

    @property
    def memory(self) -> int:
        """The bytes that it takes."""
        return 2 * self._keys.itemsize * len(self._keys)

    def count(self, state: int) -> int:
        """How many jobs are in a state."""
        return self._counts[state]

    def put(self, uid: str, state: int, length: int) -> None:
        """A job is in a state, whether it was there or not; the other length is 0 again."""
        key = _key(uid)
        at = self._find(key)
        if not self._keys[at]:
            self._used += 1
            # So that the job which takes this place counts as one that was not there.
            self._counts[REMOVED] += 1
        self._set(at, key, state, length << 32)
        if self._used * 3 > len(self._keys) * 2:
            self._make_anew()

    def change(self, uid: str, state: int, length: int) -> None:
        """The job is in another state and has another second length; nothing happens if it is not there."""
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
        """The place of a key, or the free one that it would get."""
        keys, last = self._keys, len(self._keys) - 1
        at = key >> 3 & last
        while (there := keys[at]) and there & _HASH != key:
            at = at + 1 & last
        return at

    def _make_anew(self) -> None:
        """With places for twice as many as there are, and without those that were removed."""
        keys, lengths = self._keys, self._lengths
        there = sum(self._counts[1:])
        places = max(_PLACES, 1 << (2 * there - 1).bit_length())
        self._keys, self._lengths = _places(places), _places(places)
        for key, of_key in zip(keys, lengths, strict=True):
            if key & _STATE:
                at = self._find(key & _HASH)
                self._keys[at], self._lengths[at] = key, of_key
        self._used, self._counts[REMOVED] = there, 0


def _places(number: int) -> "array[int]":
    """So many free ones; the number is a power of 2."""
    return array("Q", bytes(8 * number))


def _key(uid: str) -> int:
    # Not 0, which is a place that nobody has.
    return hash(uid) & _HASH or _STATE + 1


def _sum(lengths: int) -> int:
    return (lengths >> 32) + (lengths & _LOW)
