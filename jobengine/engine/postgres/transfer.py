"""Reads all queues and jobs of a database, and imports an export into an empty database."""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Final, LiteralString

from attrs import define, field
from msgspec.structs import replace
from psycopg import Connection

from ...core.batches import BATCH, batch_of, batch_text
from ...core.facts import ClockSet, Fact, ItemSet, JobAdded, PeriodsCounted, QueueCreated
from ...core.flow import GATE, gate_of, item_text
from ...core.history import SPANS, Period, merged
from ...core.model import Queue
from ...core.places import Place
from ...core.wall_time import shown
from ...storage.errors import Damaged, StorageError
from .batch.links import new_links
from .batch.queries import ARRIVALS
from .batch.write import Change, Linked, Writing
from .database.connection import copied_jobs, sent_as_made, together
from .database.group_rows import GroupChanges
from .database.history_rows import kept_of, write_periods
from .database.item_rows import all_items, items_written
from .database.pipeline import Row, Statement
from .database.rows import NO_CLAIM_START, Known, Rows, check_place, moving_of
from .sql import named

#: A write has at most _JOBS jobs, and has fewer if their bytes reach _BYTES earlier.
_JOBS, _BYTES = 1_000, 4 << 20

#: The settings of the transaction: it sees the database at one moment. It reads whole tables in their physical order,
#: from the first row on; the settings of servers (see connection.py) would read by an index. It may pause for ten
#: minutes, for a slow disk or a stopped process, before the database drops the connection.
_SNAPSHOT: Final[tuple[LiteralString, ...]] = (
    "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",
    "SET LOCAL enable_seqscan = on",
    "SET LOCAL synchronize_seqscans = off",
    "SET LOCAL tcp_user_timeout = '10min'",
)
_LIST_QUEUES: Final = named("list_queues")
_READ_AHEAD: Final = named("read_ahead")
_COUNT_ALL_JOBS: Final = named("count_all_jobs")
_LIST_JOBS: Final = named("list_jobs")
_LIST_QUEUE_JOBS: Final = named("list_queue_jobs")
_LOCK_FOR_IMPORT: Final = named("lock_for_import")
_INSERT_QUEUE: Final = named("insert_queue")
_BEGIN_UNGROUPED: Final = named("begin_ungrouped")
_FOLLOW_UP_ALL: Final = named("follow_up_all")
_MARK_ALL_AWAITED: Final = named("mark_all_awaited")
_ADVANCE_ARRIVALS: Final = named("advance_arrivals")


@define
class Contents:
    """The contents of a database at one moment."""

    _connection: "Connection[Row]"
    _rows: Rows
    #: How far the wall clock is ahead of elapsed time, in milliseconds.
    ahead: int
    _known: dict[int, Queue]
    #: Descriptions of the damaged rows, which are skipped: those of queues from the start, those of jobs and named
    #: things once they are read.
    damaged: list[str]

    @property
    def queues(self) -> list[Queue]:
        """The queues, in the order of their creation."""
        return [*self._known.values()]

    def only(self, name: str) -> None:
        """Leave out everything but this queue and its jobs."""
        self._known = {number: queue for number, queue in self._known.items() if queue.name == name}

    def histories(self) -> Iterator[tuple[str, list[Period]]]:
        """The history of each queue that has one, summed over all servers."""
        for number, queue in self._known.items():
            kept = kept_of(self._connection, number)
            periods = [Period(*place, tally.text()) for place, tally in merged(kept, -1, {}).items()]
            if periods:
                yield queue.name, sorted(periods, key=lambda one: (one.span, one.number))

    def items(self) -> Iterator[ItemSet]:
        """The named things of all queues."""
        for number, queue in self._known.items():
            for item in all_items(self._connection, self._rows, number, queue):
                if isinstance(item, ItemSet):
                    yield item
                else:
                    self.damaged.append(f"a named thing of queue {queue.name!r}")

    def size(self) -> int:
        """The number of jobs."""
        row = _COUNT_ALL_JOBS.execute(
            self._connection, queue_ids=[*self._known], places=list(map(int, Place))
        ).fetchone()
        return row[0] if row is not None else 0

    def jobs(self) -> Iterator[JobAdded]:
        """Yield each job with its queue's name; only a few jobs are in memory at a time."""
        if len(self._known) == 1:
            found = copied_jobs(self._connection, _LIST_QUEUE_JOBS, queue_id=next(iter(self._known)))
        else:
            found = copied_jobs(self._connection, _LIST_JOBS)
        for number, uid, sealed, standing, place in found:
            # A deleted queue may have rows left.
            queue = self._known.get(number)
            if queue is None:
                continue
            try:
                job = self._rows.job(queue, uid, sealed, standing)
                check_place(job, place)
            except Damaged:
                self.damaged.append(f"job {uid} of queue {queue.name!r}")
            else:
                yield JobAdded(queue.name, job)


@contextmanager
def contents(connection: "Connection[Row]", rows: Rows) -> Iterator[Contents]:
    """The database's contents at this moment; others may change the database meanwhile."""
    with connection.transaction():
        for statement in _SNAPSHOT:
            connection.execute(statement)
        ((ahead,),) = _READ_AHEAD.execute(connection).fetchall()
        found = _LIST_QUEUES.execute(connection).fetchall()
        queues, damaged = {}, []
        for number, *its in found:
            try:
                queues[number] = rows.queue(number, *its)
            except Damaged:
                damaged.append(f"queue number {number}, with its jobs")
        yield Contents(connection, rows, ahead, queues, damaged)


@define
class Filling:
    """Imports queues and jobs into an empty database."""

    _connection: "Connection[Row]"
    _rows: Rows
    #: How far this database's wall clock is ahead of its elapsed time, in milliseconds.
    _ahead: int
    #: The milliseconds to add to elapsed times in the facts, to convert them to elapsed time of this database.
    _later: int = field(init=False)
    _known: dict[str, Known] = field(factory=dict, init=False)
    _changes: list[Change] = field(factory=list, init=False)
    #: The changed groups of queues with flow, by queue number.
    _groups: dict[int, GroupChanges] = field(factory=dict, init=False)
    _bytes: int = field(default=0, init=False)
    _last_arrival: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self._later = -self._ahead

    def add(self, facts: Iterable[Fact]) -> None:
        """
        Import the queues and jobs of these facts. ClockSet, if there is one, must come first, and a queue before its
        jobs. Times are shifted, so that a lease with 40 seconds left still has 40 seconds.
        """
        for fact in facts:
            match fact:
                case ClockSet(ahead):
                    self._later = ahead - self._ahead
                case QueueCreated(queue):
                    self._add_queue(shown(queue, self._later))
                case JobAdded():
                    self._add_job(fact)
                case ItemSet():
                    self._add_item(fact)
                case PeriodsCounted():
                    self._add_periods(fact)

    def finish(self) -> None:
        """Write the remaining jobs, and make the next arrival numbers follow those of the imported jobs."""
        self._write()
        batch = self._last_arrival >> ARRIVALS
        if batch:
            _ADVANCE_ARRIVALS.execute(self._connection, batch=batch)
        together(self._connection, _MARK_ALL_AWAITED(), _FOLLOW_UP_ALL())
        # Without new statistics, PostgreSQL would plan queries for empty tables.
        self._connection.execute("ANALYZE queue, job, tag, tally, grp, dependency, batch_tally")

    def _add_queue(self, queue: Queue) -> None:
        digest, sealed = self._rows.name(queue.name), self._rows.sealed_queue(queue)
        moving = moving_of(queue)
        ((number,),) = _INSERT_QUEUE.execute(self._connection, digest=digest, sealed=sealed, moving=moving).fetchall()
        self._known[queue.name] = Known(id=number, rev=0, queue=queue, watched=False, due=False)
        if queue.flow is not None:
            self._groups[number] = GroupChanges(self._rows, number, queue)
            inv_prio, arrival = NO_CLAIM_START
            together(self._connection, _BEGIN_UNGROUPED(queue_id=number, inv_prio=inv_prio, arrival=arrival))

    def _add_item(self, fact: ItemSet) -> None:
        known = self._known[fact.queue]
        if fact.kind == GATE:
            fact = replace(fact, value=item_text(gate_of(fact.value).moved(self._later)))
        if fact.kind == BATCH and fact.value is not None:
            fact = replace(fact, value=_moved(fact.value, self._later))
        together(self._connection, *items_written(self._rows, [fact], {fact.queue: (known.id, known.queue)}))
        if known.id in self._groups:
            self._groups[known.id].set_item(fact)

    def _add_periods(self, fact: PeriodsCounted) -> None:
        """Import a history; the periods are shifted by a whole number of periods."""
        moved = [
            Period(one.span, one.number + round(self._later / SPANS[one.span].width), one.text) for one in fact.periods
        ]
        write_periods(self._connection, 0, [(self._known[fact.queue].id, moved)])

    def _add_job(self, fact: JobAdded) -> None:
        job = shown(fact.job, self._later)
        self._changes.append(Change(self._known[fact.queue], job.spec.uid, None, job))
        self._bytes += job.size
        self._last_arrival = max(self._last_arrival, job.spec.arrival)
        if len(self._changes) >= _JOBS or self._bytes >= _BYTES:
            self._write()

    def _write(self) -> None:
        for change in self._changes if self._groups else ():
            if change.queue.id in self._groups:
                self._groups[change.queue.id].change(None, change.new)
        links = new_links(self._rows, self._changes)
        writing, grouped = Writing(self._rows, self._changes, Linked()), Counter[tuple[int, int]]()
        of_groups: list[Statement] = []
        for groups in self._groups.values():
            of_groups += groups.statements()
            grouped.update(groups.grouped())
            groups.deltas, groups.settings = {}, {}
        sent_as_made(self._connection, chain(writing.statements(), links, of_groups))
        together(self._connection, *writing.tally(0, grouped))
        self._changes, self._bytes = [], 0


def _moved(text: str, later: int) -> str:
    """A batch with its times moved by `later` milliseconds."""
    batch = batch_of(text)
    ended = None if batch.ended is None else batch.ended + later
    return batch_text(replace(batch, created=batch.created + later, ended=ended))


@contextmanager
def filling(connection: "Connection[Row]", rows: Rows) -> Iterator[Filling]:
    """Around an import: all is imported, or nothing. Raises StorageError if the database has queues."""
    with connection.transaction():
        ((ahead, is_used),) = _LOCK_FOR_IMPORT.execute(connection).fetchall()
        if is_used:
            raise StorageError(
                "the database has queues already, and an import does not mix with them; make another database, run "
                "`jobengine db migrate` on it, and import into that"
            )
        made = Filling(connection, rows, ahead)
        yield made
        made.finish()
