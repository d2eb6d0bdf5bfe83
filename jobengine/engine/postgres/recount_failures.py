"""
Derives the table `failure` from the jobs: for a recount (see recount.py), and when a database of an older version is
migrated.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Final

from attrs import define, field
from psycopg import Connection

from ...core.model import Job, Queue
from ...storage.errors import Damaged
from .batch.failures import failure_row, may_be_failure
from .batch.write import failures_written
from .database.arrays import bigints, texts
from .database.connection import copied_jobs, sent_as_made, together
from .database.dependency_rows import Child
from .database.pipeline import Row
from .database.rows import Rows
from .sql import named

#: Jobs whose rows are corrected in one transaction.
_SLICE: Final = 200
_LIST_QUEUES: Final = named("list_queues")
_LIST_FAILURE_ROWS: Final = named("list_failure_rows")
_LIST_POSSIBLE_FAILURES: Final = named("list_possible_failures")
_DELETE_FAILURES: Final = named("delete_failures")
_LOCK_JOBS: Final = named("lock_jobs")


@define
class FailureCounting:
    """The rows of the table `failure` that follow from some jobs."""

    rows: Rows
    _found: dict[Child, tuple[bytes, int]] = field(factory=dict, init=False)

    def count(self, number: int, job: Job) -> None:
        """Count a job of the queue with this number."""
        if may_be_failure(job) and (row := failure_row(self.rows, job)) is not None:
            self._found[number, job.spec.uid] = row

    def count_rows(self, queues: Mapping[int, Queue], found: Iterable[Row]) -> None:
        """Count the jobs of these rows, without those that are damaged or in a damaged queue."""
        for number, uid, sealed, standing, *_ in found:
            with suppress(Damaged):
                if number in queues:
                    self.count(number, self.rows.job(queues[number], uid, sealed, standing))

    def wrong(self, connection: "Connection[Row]", numbers: Sequence[int]) -> list[Child]:
        """The jobs whose row in the table `failure` is wrong or missing, or that should have none."""
        rest, wrong = dict(self._found), list[Child]()
        for number, uid, key, at in _LIST_FAILURE_ROWS.execute(connection, queue_ids=[*numbers]):
            if rest.pop((number, uid), None) != (key, at):
                wrong.append((number, uid))
        return sorted([*wrong, *rest])

    def write(self, connection: "Connection[Row]") -> None:
        """Write the rows."""
        sent_as_made(connection, failures_written([(*child, *row) for child, row in self._found.items()]))


def correct_failures(
    connection: "Connection[Row]", rows: Rows, queues: Mapping[int, Queue], wrong: Sequence[Child]
) -> None:
    """Write the rows of these jobs in the table `failure` as the jobs are now."""
    for start in range(0, len(wrong), _SLICE):
        ids, uids = zip(*wrong[start : start + _SLICE], strict=True)
        columns = {"queue_ids": bigints(ids), "uids": texts(uids)}
        with connection.transaction():
            found, _ = together(connection, _LOCK_JOBS(**columns), _DELETE_FAILURES(**columns))
            counting = FailureCounting(rows)
            counting.count_rows(queues, found)
            counting.write(connection)


def enter_old_failures(connection: "Connection[Row]", rows: Rows) -> None:
    """Fill the table `failure` from the jobs of a version without it, in the transaction that makes the table."""
    queues = {}
    for number, *its in _LIST_QUEUES.execute(connection).fetchall():
        with suppress(Damaged):
            queues[number] = rows.queue(number, *its)
    # The whole table is read; see transfer.py.
    connection.execute("SET LOCAL enable_seqscan = on")
    counting = FailureCounting(rows)
    counting.count_rows(queues, copied_jobs(connection, _LIST_POSSIBLE_FAILURES))
    counting.write(connection)
