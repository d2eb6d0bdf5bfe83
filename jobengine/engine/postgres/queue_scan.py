"""Reads a whole queue in parts: the jobs that exist at the beginning, each in its state when its part is read."""

from collections.abc import Iterator, Sequence
from typing import Final, LiteralString

from attrs import frozen
from psycopg import Connection

from ...core.commands import ListJobs
from ...core.errors import QueueNotFound
from ...core.expiring import expire
from ...core.model import Grant, Job, Role
from ...core.required_rows import Needs
from ...core.tables import PAGE_BYTES
from .batch.begin import begin
from .batch.load import load
from .batch.plan import PlannedCommand, PlannedPart
from .database.pipeline import Row
from .database.rows import Rows
from .sql import named

#: The grant for reading the parts: the caller's key was checked before the scan.
_READS: Final = Grant(Role.VIEWER)
_SCAN_QUEUE: Final = named("scan_queue")


@frozen
class QueueScan:
    """The uids of the jobs that a queue had at the beginning of the scan."""

    #: The queue's number: a queue that is deleted and created again gets another number.
    queue_id: int
    #: The uids of the queue's jobs in execution order, in parts.
    parts: Sequence[Sequence[str]]


def scan_queue(connection: "Connection[Row]", rows: Rows, command: ListJobs) -> QueueScan:
    """
    Find the jobs that a queue has now. The command's limit is the most jobs of a part; a part of long jobs has
    fewer. Raises QueueNotFound.
    """
    found = _SCAN_QUEUE.execute(connection, digest=rows.name(command.queue)).fetchall()
    if not found:
        raise QueueNotFound(command.queue)
    return QueueScan(found[0][0], list(_parts([row[1:] for row in found if row[1] is not None], command.limit)))


def _parts(jobs: Sequence[Row], limit: int) -> Iterator[list[str]]:
    """Split jobs into parts of uids; only the last job of a part may exceed PAGE_BYTES."""
    part, size = list[str](), 0
    for uid, length in jobs:
        part.append(uid)
        size += length
        if len(part) == limit or size > PAGE_BYTES:
            yield part
            part, size = [], 0
    if part:
        yield part


def read_part(
    connection: "Connection[Row]",
    rows: Rows,
    time: LiteralString,
    queue_id: int,
    uids: Sequence[str],
    command: ListJobs,
) -> list[Job]:
    """
    The jobs of a part in their present state.

    Removed jobs are left out; raises QueueNotFound if the queue was deleted.
    """
    name = command.queue
    now = begin(connection, rows, time, [name])
    if name not in now.known or now.known[name].id != queue_id:
        raise QueueNotFound(name)
    part = PlannedPart(command, _READS, Needs(uids=frozenset(uids)))
    tables = load(connection, rows, now, [PlannedCommand(command, [part])])
    connection.execute("ROLLBACK")
    while due := expire(tables, now.elapsed, len(uids)):
        tables.apply(due)
    jobs = tables.queues[name].jobs
    return [jobs[uid] for uid in uids if uid in jobs]
