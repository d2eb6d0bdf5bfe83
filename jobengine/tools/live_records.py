"""The queues and jobs that result from a database's records, by the rules of jobengine.engine.tables.state."""

from collections.abc import Callable, Iterable
from typing import Any, Final, Generic, Protocol, TypeVar

from attrs import define, field

from ..core.fact_codec import Head, UnknownRecord, decode, head_of
from ..core.history import KeptPeriods
from ..core.model import Queue
from ..storage.errors import NewerFormat


class LiveJobs(Protocol):
    """A tool's store for a queue's jobs."""

    def add(self, uid: str, number: int, record: bytes) -> None:
        """Add or replace a job by a "job-added" record. `number` counts these records in all queues, from 0."""

    def change(self, uid: str, record: bytes) -> None:
        """Apply a "job-changed" record, if the job exists."""

    def remove(self, uid: str) -> None:
        """Remove the job, if it exists."""


J = TypeVar("J", bound=LiveJobs)


@define
class LiveQueue(Generic[J]):
    """A queue and its jobs."""

    queue: Queue
    #: The length of the queue's record in bytes.
    length: int
    jobs: J
    history: KeptPeriods = field(factory=KeptPeriods)
    #: The records of the queue's items, such as schedules and batches, by kind and name.
    items: dict[tuple[str, str], bytes] = field(factory=dict)


class LiveRecords(Generic[J]):
    """The queues and jobs after the records read so far. Each tool passes in its own store of jobs."""

    def __init__(self, path: str, make_jobs: Callable[[], J], only: str | None = None) -> None:
        """`path` is named in errors. With `only`, the name of a queue, jobs of other queues are left out."""
        #: How far the wall clock is ahead of elapsed time, in milliseconds.
        self.ahead = 0
        #: The number of records "job-added".
        self.added = 0
        #: The present queues by name, in the order of their creation.
        self.queues: dict[str, LiveQueue[J]] = {}
        self._path = path
        self._make_jobs = make_jobs
        self._only = only
        self._appliers: Final[dict[str, Callable[[Head, bytes], object]]] = {
            "clock-set": self._clock_set,
            "queue-created": self._queue_created,
            "queue-changed": self._queue_changed,
            "queue-deleted": self._queue_deleted,
            "job-added": self._job_added,
            "job-changed": self._job_changed,
            "job-removed": self._job_removed,
            "item-set": self._item_set,
            "periods-counted": self._periods_counted,
        }

    def add(self, records: Iterable[bytes]) -> None:
        """Read more records; raises NewerFormat for an unknown record, and OSError from the store of jobs."""
        try:
            for record in records:
                head = head_of(record)
                self._appliers[head.kind](head, record)
        except UnknownRecord as error:
            raise NewerFormat(f"{self._path}: {error} is not known to this JobEngine; use a newer one") from None

    def _clock_set(self, _head: Head, record: bytes) -> None:
        fact: Any = decode(record)
        self.ahead = fact.ahead

    def _queue_created(self, head: Head, record: bytes) -> None:
        # A snapshot may repeat the record of a queue; the queue then keeps its jobs.
        if not self._queue_changed(head, record):
            self._queue_deleted(head, record)
            fact: Any = decode(record)
            self.queues[head.queue] = LiveQueue(fact.queue, len(record), self._make_jobs())

    def _queue_changed(self, head: Head, record: bytes) -> bool:
        """Replace a queue; returns whether one of that name and salt existed."""
        fact: Any = decode(record)
        found = self.queues.get(head.queue)
        if found is None or found.queue.salt != fact.queue.salt:
            return False
        found.queue, found.length = fact.queue, len(record)
        return True

    def _queue_deleted(self, head: Head, _record: bytes) -> None:
        self.queues.pop(head.queue, None)

    def _periods_counted(self, head: Head, record: bytes) -> None:
        if (found := self.queues.get(head.queue)) is not None:
            fact: Any = decode(record)
            found.history.put(fact.periods)

    def _item_set(self, head: Head, record: bytes) -> None:
        if (found := self.queues.get(head.queue)) is not None:
            fact: Any = decode(record)
            found.items.pop((fact.kind, fact.name), None)
            if fact.value is not None:
                found.items[fact.kind, fact.name] = record

    def _job_added(self, head: Head, record: bytes) -> None:
        if (jobs := self._jobs_of(head.queue)) is not None:
            jobs.add(head.uid, self.added, record)
        self.added += 1

    def _job_changed(self, head: Head, record: bytes) -> None:
        if (jobs := self._jobs_of(head.queue)) is not None:
            jobs.change(head.uid, record)

    def _job_removed(self, head: Head, _record: bytes) -> None:
        if (jobs := self._jobs_of(head.queue)) is not None:
            jobs.remove(head.uid)

    def _jobs_of(self, name: str) -> J | None:
        found = self.queues.get(name)
        return None if found is None or self._only not in (None, name) else found.jobs
