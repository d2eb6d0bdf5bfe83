"""Reads a whole queue in parts: the jobs that it has at the beginning, each as it is when its part is read."""

from collections.abc import Sequence
from typing import Final, LiteralString

from attrs import frozen
from psycopg import Connection

from ...core.commands import ListJobs
from ...core.errors import QueueNotFound
from ...core.model import Grant, Job, Role
from ...core.needs import Needs
from ...core.rules import expire
from .asked import Asked, Part
from .beginning import begin
from .connection import Row
from .loading import load
from .rows import Rows

__all__ = ["View", "jobs_of", "view_of"]

#: The key was checked before the view was made.
_READS: Final = Grant(Role.VIEWER)
_UIDS: Final[LiteralString] = (
    "SELECT q.id, j.uid FROM queue q LEFT JOIN job j ON j.queue_id = q.id WHERE q.name_digest = %s "
    "ORDER BY j.inv_prio, j.arrival"
)


@frozen
class View:
    """The jobs that a queue had at some moment."""

    #: The queue's number: a queue that is deleted and made again gets another one.
    queue_id: int
    #: In execution order.
    uids: Sequence[str]


def view_of(connection: "Connection[Row]", rows: Rows, name: str) -> View:
    """The jobs that a queue has now; raises QueueNotFound."""
    found = connection.execute(_UIDS, [rows.name(name)], binary=True).fetchall()
    if not found:
        raise QueueNotFound(name)
    return View(found[0][0], [uid for _, uid in found if uid is not None])


def jobs_of(
    connection: "Connection[Row]", rows: Rows, time: LiteralString, view: View, command: ListJobs, start: int
) -> list[Job]:
    """
    The jobs of a view from `start` on, as many as the command asks for, as they are now.

    Jobs that are gone are left out; raises QueueNotFound if the queue is gone.
    """
    name, uids = command.queue, view.uids[start : start + command.limit]
    now = begin(connection, rows, time, [name])
    if name not in now.known or now.known[name].id != view.queue_id:
        raise QueueNotFound(name)
    loaded = load(connection, rows, now, [Asked(command, [Part(command, _READS, Needs(uids=frozenset(uids)))])])
    connection.execute("ROLLBACK")
    while due := expire(loaded.tables, now.elapsed, len(uids)):
        loaded.tables.apply(due)
    table = loaded.tables.queues[name]
    return [job for uid in uids if (job := table.job(uid)) is not None]
