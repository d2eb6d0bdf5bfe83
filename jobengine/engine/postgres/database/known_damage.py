"""The damaged rows that this server knows of."""

from collections.abc import Sequence
from threading import Lock
from typing import Final

from attrs import define, field, frozen
from twisted.logger import Logger

from ....core.model import Queue

#: Where operators read what to do about damaged rows: the heading and the title of docs/operate-postgresql.md.
WHERE_TO_READ: Final = 'See "A row is damaged" in the documentation, page "Operate servers on PostgreSQL".'
_DAMAGED: Final = f"queue number {{queue_id}} is damaged and is passed over: {{why}}. {WHERE_TO_READ}"


@define(eq=False)
class DamagedQueues:
    """The queues whose rows are damaged; each is logged once. Any thread may call these methods."""

    _numbers: set[int] = field(factory=set, init=False)
    _lock: Lock = field(factory=Lock, init=False)
    _log: Logger = field(factory=Logger, init=False)

    def note(self, number: int, why: str) -> None:
        """Record that the row of a queue can't be opened."""
        with self._lock:
            is_new = number not in self._numbers
            self._numbers.add(number)
        if is_new:
            self._log.error(_DAMAGED, queue_id=number, why=why)

    def numbers(self) -> list[int]:
        """The numbers of the damaged queues."""
        with self._lock:
            return sorted(self._numbers)

    def forget(self, number: int) -> None:
        """Forget a queue that was deleted, or whose row can be opened again."""
        with self._lock:
            self._numbers.discard(number)


@frozen
class SuspectJob:
    """A job whose row seems to be damaged."""

    queue_id: int
    queue: Queue
    uid: str
    #: Whether a claim has found this row; if so, the ready jobs after it are examined too.
    found_by_claim: bool = False


class DamageFound(Exception):
    """A batch has loaded rows that seem to be damaged: set these rows apart, and retry the batch."""

    def __init__(self, jobs: Sequence[SuspectJob]) -> None:
        super().__init__(f"{len(jobs)} rows seem to be damaged")
        self.jobs = jobs
