"""
Sets damaged jobs apart, so that a sweep or a claim meets each of them once.

A job's row is damaged if its records can't be opened, belong to another row, or contradict the column `place`. Setting
a row apart gives it a negative `place` and no deadlines, so that only the index of uids leads to the row. Its records
stay unchanged. After its records are restored, the row gets its old `place` again.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from attrs import field, frozen
from psycopg import Connection

from ....core.model import FINISHED, Job, Queue
from ....core.places import PLACES_OF, Place
from ....storage.errors import Damaged
from ..database.arrays import bigints, texts
from ..database.connection import together
from ..database.known_damage import WHERE_TO_READ, SuspectJob
from ..database.pipeline import Row, Statement
from ..database.rows import Rows, check_place, is_set_apart
from ..sql import named
from .regroup import flows_locked, regroup_all
from .write import tally

#: How many of the jobs behind a damaged one are examined too: damaged rows are often neighbours.
_FOLLOWING: Final = 100
#: What is logged about a job that is set apart.
DAMAGED: Final = f"job {{uid}} of queue {{queue}} is damaged and was passed over: {{why}}. {WHERE_TO_READ}"
_LOCK_SUSPECTS: Final = named("lock_suspects")
_LOCK_FOLLOWERS: Final = named("lock_followers")
_SET_JOBS_APART: Final = named("set_jobs_apart")
_CORRECT_DEADLINES: Final = named("correct_deadlines")
_DELETE_FAILURES: Final = named("delete_failures")
_DELETE_TAGS_OF_JOBS: Final = named("delete_tags_of_jobs")


@frozen
class _Examined:
    """A locked row of a job."""

    queue: Queue
    queue_id: int
    uid: str
    place: int
    #: Whether the row has a deadline.
    is_due: bool
    #: The job, or None if the row is damaged; then `why` is the reason.
    job: Job | None
    why: str = field(default="")
    #: The right deadlines, from the job's records, if the columns have wrong ones; otherwise None.
    deadlines: tuple[int | None, int | None] | None = None


def set_apart(
    connection: "Connection[Row]", rows: Rows, found: Sequence[SuspectJob], slot: int
) -> list[tuple[str, str, str]]:
    """
    Examine the jobs `found`, and jobs after them (see _examined): set damaged jobs apart, correct wrong deadlines.
    Returns queue, uid and reason for each changed row.
    """
    queues = {one.queue_id: one.queue for one in found}
    with connection.transaction():
        together(connection, *flows_locked(queues))
        examined = {(one.queue_id, one.uid): one for one in _examined(connection, rows, found)}
        apart = [one for one in examined.values() if one.job is None and (one.is_due or not is_set_apart(one.place))]
        wrong = [one for one in examined.values() if one.deadlines is not None]
        statements = [*_apart(apart, slot), *_corrected(wrong)]
        if statements:
            together(connection, *statements)
            regroup_all(connection, rows, queues, slot)
    changed = [(one.queue.name, one.uid, one.why) for one in apart]
    return changed + [(one.queue.name, one.uid, "it had a wrong deadline, which was corrected") for one in wrong]


def _examined(connection: "Connection[Row]", rows: Rows, found: Sequence[SuspectJob]) -> Iterator[_Examined]:
    """Lock and examine the jobs `found`, in lock order, and ready jobs that come after a job that a claim found."""
    queues = {one.queue_id: one.queue for one in found}
    places = sorted((one.queue_id, one.uid) for one in found)
    followed = {one.queue_id: one.uid for one in found if one.found_by_claim}
    suspects = _LOCK_SUSPECTS(queue_ids=bigints([one[0] for one in places]), uids=texts([one[1] for one in places]))
    (answer,) = together(connection, suspects)
    for queue_id, uid in followed.items():
        followers = _LOCK_FOLLOWERS(queue_id=queue_id, place=int(Place.READY), uid=uid, most=_FOLLOWING)
        answer = answer + together(connection, followers)[0]
    return (_examine(rows, queues[row[0]], row) for row in answer)


def _examine(rows: Rows, queue: Queue, row: Row) -> _Examined:
    queue_id, uid, sealed, standing, place, due, due_wall, is_linked = row
    is_due = due is not None or due_wall is not None
    try:
        job = rows.job(queue, uid, sealed, standing)
        check_place(job, place)
    except Damaged as error:
        return _Examined(queue, queue_id, uid, place, is_due, None, str(error))
    deadlines = rows.deadlines(job)
    # Other jobs, or a batch, may put off the retention of a finished job.
    is_put_off = is_linked and job.state in FINISHED
    differ = deadlines != (due, due_wall) and not is_put_off
    return _Examined(queue, queue_id, uid, place, is_due, job, deadlines=deadlines if differ else None)


def _apart(jobs: Sequence[_Examined], slot: int) -> Iterator[Statement]:
    """The statements that set jobs apart, in the order of locks."""
    if not jobs:
        return
    jobs = sorted(jobs, key=lambda one: (one.queue_id, one.uid))
    named_jobs = {"queue_ids": bigints([one.queue_id for one in jobs]), "uids": texts([one.uid for one in jobs])}
    yield _SET_JOBS_APART(**named_jobs)
    yield _DELETE_FAILURES(**named_jobs)
    # Only ready jobs have rows in the table `tag`.
    ready = [one for one in jobs if one.place == Place.READY]
    for queue_id in dict.fromkeys(one.queue_id for one in ready):
        uids = texts([one.uid for one in ready if one.queue_id == queue_id])
        yield _DELETE_TAGS_OF_JOBS(queue_id=queue_id, uids=uids)
    counted = Counter((one.queue_id, one.place) for one in jobs if one.place in PLACES_OF[None])
    yield from tally({key: -count for key, count in counted.items()}, slot)


def _corrected(jobs: Iterable[_Examined]) -> Iterator[Statement]:
    dues = [(one.queue_id, one.uid, *one.deadlines) for one in jobs if one.deadlines is not None]
    if dues:
        ids, uids, elapsed, wall = zip(*sorted(dues, key=lambda one: one[:2]), strict=True)
        yield _CORRECT_DEADLINES(
            queue_ids=bigints(ids), uids=texts(uids), dues=bigints(elapsed), due_walls=bigints(wall)
        )
