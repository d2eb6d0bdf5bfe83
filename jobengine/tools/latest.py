"""Finds the records of a database that determine its present state; all others are obsolete."""

from array import array
from collections.abc import Callable, Iterable
from typing import Final

from attrs import define, field

from ..core.fact_codec import Head, decode, head_of
from ..core.facts import ClockSet, PeriodsCounted, QueueChanged, QueueCreated
from ..core.history import KeptPeriods, Period
from ..core.model import Queue
from .target import NewFile

#: Marks of a record "job-added": obsolete, as the job is gone or was written again; or the job is still as it says.
GONE: Final = 0
AS_ADDED: Final = 1
_FIRST: Final = 2
#: The size of the field with the length of a change, in bytes.
_LENGTH: Final = 4


@define
class _QueueNow:
    queue: Queue
    #: By uid: the number of the record that added the job last.
    jobs: dict[str, int] = field(factory=dict)
    history: KeptPeriods = field(factory=KeptPeriods)


class Latest:
    """
    The state that the records so far make, by the rules of engine/local/tables/state.py, without the jobs themselves.

    It takes some 150 bytes for each job, its uid among them, and 8 for each record "job-added". Records "job-changed"
    go to a file.
    """

    def __init__(self, changes: NewFile, only: str | None = None) -> None:
        """For the queue `only`, or for all; `changes` is an empty file, for records that are looked up later."""
        #: By how much the wall clock is ahead.
        self.ahead = 0
        #: For each record "job-added", in order: GONE, AS_ADDED, or the place of the job's last change (see change_at).
        self.marks = array("Q")
        self._queues: dict[str, _QueueNow] = {}
        self._changes = changes
        self._only = only
        self._appliers: Final[dict[str, Callable[[Head, bytes], None]]] = {
            "clock-set": self._clock_set,
            "queue-created": self._queue_created,
            "queue-changed": self._queue_changed,
            "queue-deleted": self._queue_deleted,
            "job-added": self._job_added,
            "job-changed": self._job_changed,
            "job-removed": self._job_removed,
            "periods-counted": self._periods_counted,
        }

    def add(self, records: Iterable[bytes]) -> None:
        """Read more records; raises UnknownRecord, and OSError if there is no room for `changes`."""
        for record in records:
            head = head_of(record)
            self._appliers[head.kind](head, record)

    @property
    def queues(self) -> list[Queue]:
        """The present queues, in the order in which they were made."""
        return [now.queue for now in self._queues.values()]

    def history(self, name: str) -> list[Period]:
        """The kept periods of a queue's history."""
        return list(self._queues[name].history.all())

    def change_at(self, mark: int) -> bytes:
        """The record of the last change of a job, for its mark; after the last record only."""
        position = mark - _FIRST
        length = int.from_bytes(self._changes.read(_LENGTH, position), "big")
        return self._changes.read(length, position + _LENGTH)

    def _clock_set(self, _head: Head, record: bytes) -> None:
        fact = decode(record)
        assert isinstance(fact, ClockSet)
        self.ahead = fact.ahead

    def _queue_created(self, head: Head, record: bytes) -> None:
        fact = decode(record)
        assert isinstance(fact, QueueCreated)
        there = self._queues.get(head.queue)
        # The same queue again, as a slice of a snapshot may have it, keeps its jobs.
        if there is not None and there.queue.salt == fact.queue.salt:
            there.queue = fact.queue
            return
        self._queue_deleted(head, record)
        self._queues[head.queue] = _QueueNow(fact.queue)

    def _queue_changed(self, head: Head, record: bytes) -> None:
        fact = decode(record)
        assert isinstance(fact, QueueChanged)
        there = self._queues.get(head.queue)
        if there is not None and there.queue.salt == fact.queue.salt:
            there.queue = fact.queue

    def _queue_deleted(self, head: Head, _record: bytes) -> None:
        there = self._queues.pop(head.queue, None)
        if there is not None:
            for number in there.jobs.values():
                self.marks[number] = GONE

    def _periods_counted(self, head: Head, record: bytes) -> None:
        fact = decode(record)
        assert isinstance(fact, PeriodsCounted)
        there = self._queues.get(head.queue)
        if there is not None:
            there.history.put(fact.periods)

    def _job_added(self, head: Head, _record: bytes) -> None:
        number = len(self.marks)
        there = self._queues.get(head.queue)
        if there is None or self._only not in (None, head.queue):
            self.marks.append(GONE)
            return
        self.marks.append(AS_ADDED)
        before = there.jobs.get(head.uid)
        if before is not None:
            self.marks[before] = GONE
        there.jobs[head.uid] = number

    def _job_changed(self, head: Head, record: bytes) -> None:
        there = self._queues.get(head.queue)
        number = None if there is None else there.jobs.get(head.uid)
        if number is not None:
            self.marks[number] = self._changes.size + _FIRST
            self._changes.write(len(record).to_bytes(_LENGTH, "big"), record)

    def _job_removed(self, head: Head, _record: bytes) -> None:
        there = self._queues.get(head.queue)
        number = None if there is None else there.jobs.pop(head.uid, None)
        if number is not None:
            self.marks[number] = GONE
