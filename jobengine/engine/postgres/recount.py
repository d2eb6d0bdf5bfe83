"""
Counts all jobs from their rows, and corrects the table `tally`, while servers work.

A server changes a job's row and its counts in one transaction. So a difference between rows and counts stays the same
until it is corrected, and a difference found in an old snapshot may be added to newer counts.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Final, LiteralString

from attrs import define, evolve, field, frozen
from psycopg import Connection
from psycopg.errors import DeadlockDetected, SerializationFailure

from ...core.model import Queue
from ...core.places import PLACES_OF, Mark, Place, mark_of
from ...storage.errors import Damaged, StorageError
from .batch.damage import set_apart
from .batch.regroup import flows_locked, regroup
from .batch.write import tally
from .database.arrays import bigints
from .database.connection import copied_jobs, together
from .database.dependency_rows import Child, batches_counted
from .database.known_damage import DamageFound, SuspectJob
from .database.pipeline import Row
from .database.rows import MARKS_RECOUNTED, Rows, check_place
from .recount_failures import FailureCounting, correct_failures
from .recount_links import LinkCounting, correct_links
from .sql import named

#: The slot of the tally for corrections. Servers use slots from 0 on, so only another recount can change the same rows.
CORRECTIONS: Final = -1
#: The most attempts at a recount. An attempt fails if it finds damaged rows, or if such rows are restored meanwhile.
_TRIES: Final = 5
#: Progress is reported each time this many jobs are counted.
_REPORTED: Final = 1_000
_COUNTS: Final = (*Place, *Mark)
_NAMES: Final = {int(number): number.name.lower() for number in _COUNTS}

_SNAPSHOT: Final[tuple[LiteralString, ...]] = (
    "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
    # Allow sequential scans, because the whole table is read; see transfer.py.
    "SET LOCAL enable_seqscan = on",
)
_LIST_QUEUES: Final = named("list_queues")
_LIST_COUNTED_JOBS: Final = named("list_counted_jobs")
_READ_QUEUE_ROWS: Final = named("read_queue_rows")
_READ_TALLY: Final = named("read_tally")
_MARK_RECOUNTED: Final = named("mark_recounted")
_DELETE_STRAY_COUNTS: Final = named("delete_stray_counts")


@frozen
class Correction:
    """A count that was wrong."""

    queue: str
    #: The name of the count: a place in lower case, retrying, or cancelled.
    count: str
    #: The wrong count.
    was: int
    #: The number of jobs that were found.
    jobs: int


@frozen(kw_only=True)
class Recount:
    """The result of a recount."""

    queues: int
    jobs: int
    corrections: list[Correction]
    #: How many groups had wrong counts.
    groups: int = 0
    #: How many jobs had wrong dependencies.
    dependencies: int = 0
    #: How many jobs had a wrong, missing or needless row in the table `failure`.
    failures: int = 0
    #: The numbers of damaged queues, whose counts were not changed.
    damaged: list[int]


def recount(connection: "Connection[Row]", rows: Rows, progress: Callable[[int, int], None]) -> Recount:
    """
    Count the jobs of all queues, and correct wrong counts. Damaged jobs are set apart, and not counted. Raises
    StorageError if concurrent changes made all attempts fail.
    """
    for _ in range(_TRIES):
        try:
            with connection.transaction():
                counting = _Counting.begin(connection, rows)
                done = counting.correct(progress)
            correct_links(connection, rows, counting.queues, counting.wrong_links)
            correct_failures(connection, rows, counting.queues, counting.wrong_failures)
            _DELETE_STRAY_COUNTS.execute(connection, slot=CORRECTIONS)
            groups = _recount_groups(connection, rows)
        except DamageFound as found:
            set_apart(connection, rows, found.jobs, 0)
        except (SerializationFailure, DeadlockDetected):
            # A damaged row was restored or deleted meanwhile, or another recount has changed the same counts.
            continue
        else:
            return evolve(done, groups=groups)
    raise StorageError("damaged rows, or another recount, have changed the counts meanwhile; run it again")


def _recount_groups(connection: "Connection[Row]", rows: Rows) -> int:
    """Correct the groups of all queues with flow; returns how many had wrong counts."""
    wrong = 0
    for number, *its in _LIST_QUEUES.execute(connection).fetchall():
        with suppress(Damaged), connection.transaction():
            together(connection, *flows_locked({number: rows.queue(number, *its)}))
            for found in _READ_QUEUE_ROWS.execute(connection, queue_ids=[number]).fetchall():
                queue = rows.queue(*found)
                wrong += regroup(connection, rows, number, queue, CORRECTIONS) if queue.flow is not None else 0
    return wrong


@define
class _Counting:
    """A recount in one snapshot."""

    _connection: "Connection[Row]"
    _rows: Rows
    _queues: Mapping[int, Queue]
    _damaged: list[int]
    #: The number of jobs by queue number and place, or mark (retrying, cancelled).
    _jobs: Counter[tuple[int, int]] = field(factory=Counter, init=False)
    _links: LinkCounting = field(init=False)
    #: The jobs whose dependencies are wrong.
    wrong_links: list[Child] = field(factory=list, init=False)
    _failures: FailureCounting = field(init=False)
    #: The jobs with wrong rows in the table `failure`.
    wrong_failures: list[Child] = field(factory=list, init=False)

    def __attrs_post_init__(self) -> None:
        self._links = LinkCounting(self._rows)
        self._failures = FailureCounting(self._rows)

    @property
    def queues(self) -> Mapping[int, Queue]:
        """The queues by number."""
        return self._queues

    @classmethod
    def begin(cls, connection: "Connection[Row]", rows: Rows) -> "_Counting":
        """Open the snapshot."""
        for statement in _SNAPSHOT:
            connection.execute(statement)
        queues, damaged = {}, []
        for number, *its in _LIST_QUEUES.execute(connection).fetchall():
            try:
                queues[number] = rows.queue(number, *its)
            except Damaged:
                damaged.append(number)
        return cls(connection, rows, queues, damaged)

    def correct(self, progress: Callable[[int, int], None]) -> Recount:
        """Count, and write the corrections; raises DamageFound."""
        numbers = [*self._queues]
        tally_rows = _READ_TALLY.execute(self._connection, queue_ids=numbers, places=list(map(int, _COUNTS)))
        counted = Counter({row[:2]: int(row[2]) for row in tally_rows})
        self._count(progress, _jobs_in(counted))
        wrong = sorted(key for key in self._jobs.keys() | counted.keys() if self._jobs[key] != counted[key])
        corrections = {key: self._jobs[key] - counted[key] for key in wrong}
        recounted = _MARK_RECOUNTED(mark=MARKS_RECOUNTED, queue_ids=bigints(numbers))
        of_batches = self._links.wrong_counts(self._connection, numbers)
        self.wrong_links = self._links.wrong_links(self._connection, numbers)
        self.wrong_failures = self._failures.wrong(self._connection, numbers)
        counts = [*batches_counted(of_batches, CORRECTIONS), *tally(corrections, CORRECTIONS)]
        together(self._connection, recounted, *counts)
        made = [
            Correction(self._queues[number].name, _NAMES[place], counted[number, place], self._jobs[number, place])
            for number, place in wrong
        ]
        made += self._of_batches(of_batches)
        return Recount(
            queues=len(numbers),
            jobs=_jobs_in(self._jobs),
            corrections=made,
            dependencies=len(self.wrong_links),
            failures=len(self.wrong_failures),
            damaged=self._damaged,
        )

    def _of_batches(self, wrong: Mapping[tuple[int, bytes, int], int]) -> Iterator[Correction]:
        for (number, key, place), by in wrong.items():
            jobs = self._links.counts[number, key, place]
            yield Correction(self._queues[number].name, f"{_NAMES[place]} in a batch", jobs - by, jobs)

    def _count(self, progress: Callable[[int, int], None], size: int) -> None:
        suspects = []
        for at, (number, uid, sealed, standing, place) in enumerate(self._records(), 1):
            if not at % _REPORTED:
                progress(at, max(at, size))
            # A deleted queue may have rows left.
            queue = self._queues.get(number)
            if queue is None:
                continue
            try:
                job = self._rows.job(queue, uid, sealed, standing)
                check_place(job, place)
            except Damaged:
                suspects.append(SuspectJob(number, queue, uid))
            else:
                self._jobs.update((number, count) for count in (place, mark_of(job)) if count is not None)
                self._links.count(number, job)
                self._failures.count(number, job)
        if suspects:
            raise DamageFound(suspects)

    def _records(self) -> Iterator[Row]:
        return copied_jobs(self._connection, _LIST_COUNTED_JOBS)


def _jobs_in(counted: Mapping[tuple[int, int], int]) -> int:
    """
    The number of jobs, from counts by queue number and place. Counts of marks are left out: they count jobs a second
    time.
    """
    return sum(jobs for (_, place), jobs in counted.items() if place in PLACES_OF[None])
