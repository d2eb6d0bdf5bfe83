"""Counts the jobs of a database by state, in little memory."""

from array import array
from collections.abc import Mapping, Sequence
from typing import Final

from attrs import frozen

from ..core.fact_codec import fields_of
from ..core.model import State
from .live_records import LiveRecords

#: The number of each state; a deleted job has 0.
_NUMBER: Final = {state: number for number, state in enumerate(State, 1)}
REMOVED: Final = 0
#: The index of the state in a job's record, counted from the end.
_STATE_FIELD: Final = -7
_STATE: Final = 7
_HASH: Final = (1 << 64) - 1 - _STATE
#: The initial number of slots of the hash table.
_PLACES: Final = 64
_LOW: Final = (1 << 32) - 1
#: The estimated bytes of a "job-changed" record that repeat fields of the "job-added" record.
_BARE: Final = 150


@frozen(kw_only=True)
class QueueCount:
    """A queue and the number of its jobs."""

    name: str
    jobs: Mapping[State, int]


class JobCounts:
    """
    The state of each job of a queue, and the lengths of two records, by a hash of its uid.

    A hash table with open addressing over two arrays: 24 to 48 bytes per job. A slot has 61 bits of hash, the state,
    and two lengths of 32 bits: of the record of the whole job, and of its last change. Two jobs with equal hashes count
    as one; among 1,000,000 jobs the chance is one in millions. A deleted job keeps its slot until the table is rebuilt.
    """

    def __init__(self) -> None:
        #: The sum of both lengths over all jobs.
        self.total = 0
        self._counts = [0] * (_STATE + 1)
        #: The number of used slots.
        self._used = 0
        self._keys = _places(_PLACES)
        self._lengths = _places(_PLACES)

    @property
    def memory(self) -> int:
        """The table's size in bytes."""
        return 2 * self._keys.itemsize * len(self._keys)

    def by_state(self) -> Mapping[State, int]:
        """The number of jobs in each state."""
        return {state: self._counts[number] for state, number in _NUMBER.items()}

    def add(self, uid: str, number: int, record: bytes) -> None:
        self.put(uid, _number_of(record), len(record))

    def change(self, uid: str, record: bytes) -> None:
        self.set(uid, _number_of(record), max(0, len(record) - _BARE))

    def remove(self, uid: str) -> None:
        self.set(uid, REMOVED, 0)

    def put(self, uid: str, state: int, length: int) -> None:
        """
        Set a job's state and the length of its whole record, adding the job if needed; the length of its last change
        becomes 0.
        """
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

    def set(self, uid: str, state: int, length: int) -> None:
        """Set a job's state and the length of its last change; does nothing if the job is unknown."""
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
        """The slot of a key, or the free slot for it."""
        keys, last = self._keys, len(self._keys) - 1
        at = key >> 3 & last
        while (there := keys[at]) and there & _HASH != key:
            at = at + 1 & last
        return at

    def _rebuild(self) -> None:
        """Rebuild the table without deleted jobs, with at least twice as many slots as jobs."""
        keys, lengths = self._keys, self._lengths
        there = sum(self._counts[1:])
        places = max(_PLACES, 1 << (2 * there - 1).bit_length())
        self._keys, self._lengths = _places(places), _places(places)
        new, last = self._keys, places - 1
        for key, of_key in zip(keys, lengths, strict=True):
            if key & _STATE:
                # Take the first free slot; no comparison is needed, since all keys differ.
                at = key >> 3 & last
                while new[at]:
                    at = at + 1 & last
                new[at], self._lengths[at] = key, of_key
        self._used, self._counts[REMOVED] = there, 0


def _number_of(record: bytes) -> int:
    """The number of the state in a job's record."""
    return _NUMBER[fields_of(record)[0][_STATE_FIELD]]


def _places(number: int) -> "array[int]":
    """An array of `number` free slots; `number` is a power of 2."""
    return array("Q", bytes(8 * number))


def _key(uid: str) -> int:
    # Never 0, because 0 marks a free slot.
    return hash(uid) & _HASH or _STATE + 1


def _sum(lengths: int) -> int:
    return (lengths >> 32) + (lengths & _LOW)


def counts_in(live: LiveRecords[JobCounts]) -> Sequence[QueueCount]:
    """The job counts of each queue; queues are in the order of their creation."""
    return [QueueCount(name=name, jobs=queue.jobs.by_state()) for name, queue in live.queues.items()]


def live_bytes(live: LiveRecords[JobCounts]) -> int:
    """The estimated bytes of the records of all present queues and jobs."""
    items = sum(len(record) for queue in live.queues.values() for record in queue.items.values())
    return items + sum(queue.length + queue.history.size + queue.jobs.total for queue in live.queues.values())
