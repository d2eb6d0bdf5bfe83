"""
Examines damaged rows again: restored rows are used again, and rows that are still damaged are counted.

A row may also have been set apart by mistake, for instance because of a server's faulty memory.
"""

from collections import Counter
from typing import Final

from attrs import define, field
from psycopg import Connection

from ....core.model import Job
from ....core.places import mark_of, place_of
from ....storage.errors import Damaged
from ..batch.claim_start import set_back
from ..batch.regroup import flows_locked, regroup_all
from ..batch.write import Change, failures_set, tally
from ..sql import named
from .arrays import bigints, byteas, texts
from .connection import together
from .pipeline import Row, Statement
from .rows import MARKS_RECOUNTED, Known, Rows, rank_of

#: Jobs that are examined at a time.
_SLICE: Final = 100
_READ_QUEUE_ROWS: Final = named("read_queue_rows")
_COUNT_DAMAGED_JOBS: Final = named("count_damaged_jobs")
_FIND_DAMAGED_JOBS: Final = named("find_damaged_jobs")
_LOCK_DAMAGED_JOBS: Final = named("lock_damaged_jobs")
_PUT_JOBS_BACK: Final = named("put_jobs_back")
_TAG_JOB: Final = named("tag_job")

_FIRST: Final = (-1, "")


@define
class Recheck:
    """Examines the damaged jobs slice by slice, and starts again after the last."""

    #: The last job that was examined.
    _last: tuple[int, str] = field(default=_FIRST, init=False)

    def recheck(self, connection: "Connection[Row]", rows: Rows, slot: int) -> int:
        """Examine damaged queues and some damaged jobs; returns how many jobs are damaged now."""
        _recheck_queues(connection, rows)
        ((count,),) = _COUNT_DAMAGED_JOBS.execute(connection).fetchall()
        if not count:
            return 0
        found = _FIND_DAMAGED_JOBS.execute(
            connection, queue_id=self._last[0], uid=self._last[1], most=_SLICE
        ).fetchall()
        self._last = (found[-1][0], found[-1][1]) if len(found) == _SLICE else _FIRST
        return int(count) - (_recheck_jobs(connection, rows, found, slot) if found else 0)


def _recheck_queues(connection: "Connection[Row]", rows: Rows) -> None:
    numbers = rows.damaged.numbers()
    if not numbers:
        return
    there = {row[0]: row for row in _READ_QUEUE_ROWS.execute(connection, queue_ids=numbers)}
    for number in numbers:
        try:
            if number in there:
                rows.queue(*there[number])
        except Damaged:
            continue
        rows.damaged.forget(number)


def _recheck_jobs(connection: "Connection[Row]", rows: Rows, places: list[Row], slot: int) -> int:
    """Give restored jobs their old `place` again; returns their number."""
    with connection.transaction():
        known = _known(connection, rows, sorted({queue_id for queue_id, _ in places}))
        queues = {number: one.queue for number, one in known.items()}
        together(connection, *flows_locked(queues))
        queue_ids, uids = bigints([place[0] for place in places]), texts([place[1] for place in places])
        (found,) = together(connection, _LOCK_DAMAGED_JOBS(queue_ids=queue_ids, uids=uids))
        changes, counted = [], Counter[tuple[int, int]]()
        for row in found:
            change = _change(rows, known[row[0]], row) if row[0] in known else None
            if change is not None:
                changes.append(change)
                counted.update((row[0], count) for count in _counts_lacking(change, row[4]))
        if changes:
            together(connection, *_written(rows, changes, tally(counted, slot)))
            regroup_all(connection, rows, queues, slot)
    return len(changes)


def _known(connection: "Connection[Row]", rows: Rows, numbers: list[int]) -> dict[int, Known]:
    """The queues with these numbers whose rows can be read, by number."""
    known = {}
    for number, rev, digest, sealed in _READ_QUEUE_ROWS.execute(connection, queue_ids=numbers):
        try:
            queue = rows.queue(number, rev, digest, sealed)
        except Damaged:
            continue
        known[number] = Known(id=number, rev=rev, queue=queue, watched=False, due=False)
    return known


def _change(rows: Rows, known: Known, row: Row) -> Change | None:
    """The change that gives a restored row its old `place` again; None if the row is still damaged."""
    _, uid, sealed, standing, place = row
    try:
        job = rows.job(known.queue, uid, sealed, standing)
    except Damaged:
        return None
    had = -1 - place_of(job.standing)
    return Change(known, uid, None, job) if place in (had, had + MARKS_RECOUNTED) else None


def _counts_lacking(change: Change, set_apart: int) -> list[int]:
    """The counts to which a restored job is added: that of its place and, after a recount, that of its mark."""
    job = change.new
    if job is None:
        return []
    mark = mark_of(job) if set_apart <= MARKS_RECOUNTED else None
    place = place_of(job.standing)
    return [place] if mark is None else [place, mark]


def _written(rows: Rows, changes: list[Change], counts: list[Statement]) -> list[Statement]:
    """The statements that put jobs back and correct counts, in the order of locks."""
    jobs = [one.new for one in changes if one.new is not None]
    uids, *numbers, keys, sizes = rows.standings(jobs)
    columns = [byteas(column) if column is keys else bigints(column) for column in (*numbers, keys, sizes)]
    ranks = [*map(bigints, zip(*map(rank_of, jobs), strict=True))]
    ids = [one.queue.id for one in changes]
    return [
        Statement(_PUT_JOBS_BACK.text, [bigints(ids), texts(uids), *columns, *ranks]),
        *(_tagged(rows, queue_id, job) for queue_id, job in zip(ids, jobs, strict=True) if job.ready and job.spec.tags),
        *failures_set(rows, changes),
        *counts,
        *(statement for _, statement in sorted(set_back(changes, is_known=False).items())),
    ]


def _tagged(rows: Rows, queue_id: int, job: Job) -> Statement:
    tags, (inv_prio, arrival) = byteas(rows.tags(job.spec.tags)), rank_of(job)
    return _TAG_JOB(queue_id=queue_id, tags=tags, inv_prio=inv_prio, arrival=arrival, uid=job.spec.uid)
