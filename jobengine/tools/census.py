"""Counts the queues and jobs of a database from its records, by the rules of jobengine.engine.local.tables.state."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, Protocol

from attrs import frozen

from ..core.fact_codec import UnknownRecord, decode
from ..core.facts import (
    ClockSet,
    JobAdded,
    JobChanged,
    JobRemoved,
    PeriodsCounted,
    QueueChanged,
    QueueCreated,
    QueueDeleted,
)
from ..core.history import KeptPeriods
from ..core.model import State
from ..storage.errors import NewerFormat
from .state_table import REMOVED, StateTable

_NUMBER: Final = {state: number for number, state in enumerate(State, 1)}
#: Bytes of a change's record that the record of the whole job has as well.
_BARE: Final = 150


@frozen(kw_only=True)
class QueueCount:
    """A queue and the number of its jobs."""

    name: str
    jobs: Mapping[State, int]


class Census:
    """The queues and jobs according to the records read so far."""

    def __init__(self) -> None:
        #: The jobs of each queue, by its name; below, the salt, which tells it from another queue of that name.
        self._queues: dict[str, StateTable] = {}
        self._salts: dict[str, str] = {}
        #: The length of the record of each queue.
        self._lengths: dict[str, int] = {}
        #: The history of each queue.
        self._histories: dict[str, KeptPeriods] = {}
        self._appliers: Final[dict[type, Callable[[Any, int], None]]] = {
            ClockSet: lambda _fact, _length: None,
            QueueCreated: self._queue_created,
            QueueChanged: self._queue_changed,
            QueueDeleted: lambda fact, _length: self._delete(fact.name),
            JobAdded: self._job_added,
            JobChanged: self._job_changed,
            JobRemoved: self._job_removed,
            PeriodsCounted: self._periods_counted,
        }

    def add(self, records: Iterable[bytes]) -> None:
        """Read more records; raises UnknownRecord."""
        for record in records:
            fact = decode(record)
            self._appliers[type(fact)](fact, len(record))

    def queues(self) -> Iterator[QueueCount]:
        """All queues, in the order of their creation."""
        for name, table in self._queues.items():
            yield QueueCount(name=name, jobs={state: table.count(number) for state, number in _NUMBER.items()})

    @property
    def memory(self) -> int:
        """The bytes that the tables of jobs take."""
        return sum(table.memory for table in self._queues.values())

    @property
    def live_bytes(self) -> int:
        """About how many bytes the records of the present queues and jobs take."""
        histories = sum(history.size for history in self._histories.values())
        return histories + sum(self._lengths.values()) + sum(table.total for table in self._queues.values())

    def _job_added(self, fact: JobAdded, length: int) -> None:
        if (table := self._queues.get(fact.queue)) is not None:
            table.put(fact.job.spec.uid, _NUMBER[fact.job.standing.state], length)

    def _job_changed(self, fact: JobChanged, length: int) -> None:
        if (table := self._queues.get(fact.queue)) is not None:
            table.change(fact.uid, _NUMBER[fact.standing.state], max(0, length - _BARE))

    def _job_removed(self, fact: JobRemoved, _length: int) -> None:
        if (table := self._queues.get(fact.queue)) is not None:
            table.change(fact.uid, REMOVED, 0)

    def _queue_created(self, fact: QueueCreated, length: int) -> None:
        queue = fact.queue
        # The same queue again, from a slice of a snapshot: it keeps its jobs.
        if self._salts.get(queue.name) != queue.salt:
            self._delete(queue.name)
            self._queues[queue.name] = StateTable()
            self._salts[queue.name] = queue.salt
        self._lengths[queue.name] = length

    def _queue_changed(self, fact: QueueChanged, length: int) -> None:
        if self._salts.get(fact.queue.name) == fact.queue.salt:
            self._lengths[fact.queue.name] = length

    def _periods_counted(self, fact: PeriodsCounted, _length: int) -> None:
        if fact.queue in self._queues:
            self._histories.setdefault(fact.queue, KeptPeriods()).put(fact.periods)

    def _delete(self, name: str) -> None:
        for of_queue in (self._queues, self._salts, self._lengths, self._histories):
            of_queue.pop(name, None)


class TakesRecords(Protocol):
    """A consumer of records, such as a census."""

    def add(self, records: Iterable[bytes]) -> None:
        """Read more records; raises UnknownRecord."""


def add_to(taker: TakesRecords, path: str, records: Iterable[bytes]) -> None:
    """Pass on more records of a file; raises NewerFormat for an unknown one."""
    try:
        taker.add(records)
    except UnknownRecord as error:
        raise NewerFormat(f"{path}: {error} is not known to this JobEngine; use a newer one") from None
