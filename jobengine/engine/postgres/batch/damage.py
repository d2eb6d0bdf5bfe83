"""
Sets damaged jobs apart, so that a sweep or a claim meets each of them once.

A row of a job is damaged if its records can't be opened, belong to another row, or name another place than the column
`place`. It is set apart by a negative `place` and without deadlines, so no index leads to it but that of uids. Its
records stay as they are. A row whose records were restored goes back to its place.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, LiteralString

from attrs import field, frozen
from psycopg import Connection

from ....core.model import Job, Queue
from ....core.places import PLACES_OF, Place
from ....storage.errors import Damaged
from ..database.arrays import bigints, texts
from ..database.connection import together
from ..database.known_damage import SuspectJob
from ..database.pipeline import Row, Statement
from ..database.rows import Rows, check_place, is_set_apart
from .write import tally

#: The most jobs that are examined behind a damaged one, since damaged rows are often neighbours.
_FOLLOWING: Final = 100

_NAMED: Final[LiteralString] = (
    "SELECT j.queue_id, j.uid, j.sealed, j.said, j.place, j.due, j.due_wall FROM "
    "unnest((SELECT %s), %s::text[]) AS w (queue_id, uid) JOIN job j USING (queue_id, uid) "
    "ORDER BY j.queue_id, j.uid FOR UPDATE OF j"
)
_FOLLOW: Final[LiteralString] = (
    "SELECT j.queue_id, j.uid, j.sealed, j.said, j.place, j.due, j.due_wall FROM job j "
    "WHERE j.queue_id = %s AND j.place = %s AND (j.inv_prio, j.arrival) > "
    "((SELECT inv_prio FROM job WHERE queue_id = %s AND uid = %s), "
    "(SELECT arrival FROM job WHERE queue_id = %s AND uid = %s)) "
    "ORDER BY j.inv_prio, j.arrival LIMIT %s FOR UPDATE SKIP LOCKED"
)
_SET_APART: Final[LiteralString] = (
    "UPDATE job j SET place = CASE WHEN place < 0 THEN place ELSE -1 - place END, due = NULL, due_wall = NULL, "
    "unique_key = NULL FROM unnest(%s::bigint[], %s::text[]) AS n (queue_id, uid) "
    "WHERE j.queue_id = n.queue_id AND j.uid = n.uid"
)
_CORRECT: Final[LiteralString] = (
    "UPDATE job j SET due = n.due, due_wall = n.due_wall "
    "FROM unnest(%s::bigint[], %s::text[], %s::bigint[], %s::bigint[]) AS n (queue_id, uid, due, due_wall) "
    "WHERE j.queue_id = n.queue_id AND j.uid = n.uid"
)
#: One look over the tags of the queue.
_UNTAG: Final[LiteralString] = "DELETE FROM tag WHERE queue_id = %s AND uid = ANY(%s)"


@frozen
class _Examined:
    """A locked row of a job."""

    queue: Queue
    queue_id: int
    uid: str
    place: int
    #: Whether a deadline is set.
    is_due: bool
    #: The job if the row is sound, or else why it is not.
    job: Job | None
    why: str = field(default="")
    #: The deadlines of the job, if the columns say something else.
    deadlines: tuple[int | None, int | None] | None = None


def set_apart(
    connection: "Connection[Row]", rows: Rows, found: Sequence[SuspectJob], slot: int
) -> list[tuple[str, str, str]]:
    """
    Set the damaged ones of these jobs apart, and damaged ones that follow them; correct wrong deadlines.

    Returns the queue, the uid, and what is wrong, of each row that was changed.
    """
    with connection.transaction():
        examined = {(one.queue_id, one.uid): one for one in _examined(connection, rows, found)}
        apart = [one for one in examined.values() if one.job is None and (one.is_due or not is_set_apart(one.place))]
        wrong = [one for one in examined.values() if one.deadlines is not None]
        statements = [*_apart(apart, slot), *_corrected(wrong)]
        if statements:
            together(connection, *statements)
    changed = [(one.queue.name, one.uid, one.why) for one in apart]
    return changed + [(one.queue.name, one.uid, "it had a wrong deadline, which was corrected") for one in wrong]


def _examined(connection: "Connection[Row]", rows: Rows, found: Sequence[SuspectJob]) -> Iterator[_Examined]:
    """These jobs, locked in the order of locks, and those that follow claimed ones in their queues."""
    queues = {one.queue_id: one.queue for one in found}
    places = sorted((one.queue_id, one.uid) for one in found)
    followed = {one.queue_id: one.uid for one in found if one.is_claimed}
    named = Statement(_NAMED, [bigints([one[0] for one in places]), texts([one[1] for one in places])])
    (answer,) = together(connection, named)
    for queue_id, uid in followed.items():
        values: list[int | str] = [queue_id, int(Place.READY), queue_id, uid, queue_id, uid, _FOLLOWING]
        answer = answer + together(connection, Statement(_FOLLOW, values))[0]
    return (_examine(rows, queues[row[0]], row) for row in answer)


def _examine(rows: Rows, queue: Queue, row: Row) -> _Examined:
    queue_id, uid, sealed, standing, place, due, due_wall = row
    is_due = due is not None or due_wall is not None
    try:
        job = rows.job(queue, uid, sealed, standing)
        check_place(job, place)
    except Damaged as error:
        return _Examined(queue, queue_id, uid, place, is_due, None, str(error))
    deadlines = rows.deadlines(job)
    differ = deadlines != (due, due_wall)
    return _Examined(queue, queue_id, uid, place, is_due, job, deadlines=deadlines if differ else None)


def _apart(jobs: Sequence[_Examined], slot: int) -> Iterator[Statement]:
    """The statements that set jobs apart, in the order of locks."""
    if not jobs:
        return
    jobs = sorted(jobs, key=lambda one: (one.queue_id, one.uid))
    yield Statement(_SET_APART, [bigints([one.queue_id for one in jobs]), texts([one.uid for one in jobs])])
    # Only jobs that can be claimed have tags.
    ready = [one for one in jobs if one.place == Place.READY]
    for queue_id in dict.fromkeys(one.queue_id for one in ready):
        yield Statement(_UNTAG, [queue_id, texts([one.uid for one in ready if one.queue_id == queue_id])])
    counted = Counter((one.queue_id, one.place) for one in jobs if one.place in PLACES_OF[None])
    yield from tally({key: -count for key, count in counted.items()}, slot)


def _corrected(jobs: Iterable[_Examined]) -> Iterator[Statement]:
    dues = [(one.queue_id, one.uid, *one.deadlines) for one in jobs if one.deadlines is not None]
    if dues:
        ids, uids, elapsed, wall = zip(*sorted(dues, key=lambda one: one[:2]), strict=True)
        yield Statement(_CORRECT, [bigints(ids), texts(uids), bigints(elapsed), bigints(wall)])
