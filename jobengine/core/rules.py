"""
What each command does: `decide` reads the state and returns facts; it changes nothing.

The clock and new ids are arguments, so the same call gives the same facts on any day.
"""

from collections.abc import Mapping, Sequence
from typing import Final, TypeVar

from . import changing, claiming, counting, looking, reconfiguring
from . import commands as c
from .access import authorise, with_own_digest
from .adding import add_jobs
from .decision import NOTHING, Decision, Lately, NewId, Rules, table_of
from .expiring import expire, latest_change
from .facts import Fact, QueueChanged
from .model import Grant, Recent
from .tables import JobTableSet, Table, TableSet

__all__ = [
    "Decision",
    "Lately",
    "NewId",
    "decide",
    "decide_granted",
    "expire",
    "is_about_its_queue",
    "latest_change",
    "renew_key",
]

A = TypeVar("A")


class _Uncounted:
    """For an engine that does not count."""

    def recent(self, _name: str) -> Recent:
        """Nothing."""
        return Recent(last_minute={}, last_hour={})

    def since_start(self, _name: str) -> Mapping[str, int]:
        """Nothing."""
        return {}


_UNCOUNTED: Final = _Uncounted()


def decide(
    tables: TableSet, command: c.Command[A], now: int, new_id: NewId, lately: Lately = _UNCOUNTED
) -> Decision[A]:
    """
    Return the facts of `command` at `now` (elapsed time, in milliseconds), and its answer.

    Nothing may be due at `now`: apply the facts of `expire` first. Raises a DomainError if the command can't be carried
    out. The queue is checked first, then the key, then the job.
    """
    other = _OTHERS.get(type(command))
    if other is not None:
        return other(tables, command, now, new_id, lately)
    assert isinstance(command, c.QueueCommand)
    table = table_of(tables, command.queue)
    return decide_granted(table, authorise(table.queue, command, now), command, now, new_id)


def decide_granted(table: Table, grant: Grant, command: c.QueueCommand[A], now: int, new_id: NewId) -> Decision[A]:
    """As `decide`, for a command whose key has this grant; only if `is_about_its_queue`."""
    return _OF_A_QUEUE[type(command)](table, grant, command, now, new_id)


def is_about_its_queue(command: c.Command[object]) -> bool:
    """Whether the rule of a command needs no more than the table of its queue."""
    return type(command) in _OF_A_QUEUE


def renew_key(tables: JobTableSet, command: c.Command[A]) -> Sequence[Fact]:
    """
    The fact by which the key of a command gets a digest of its own, if it opens a queue of the Go version.

    Apply it before the command is decided. Leaving it out does no harm: the key still opens the queue.
    """
    if not isinstance(command, c.QueueCommand) or command.admin:
        return NOTHING
    table = tables.queues.get(command.queue)
    queue = None if table is None else with_own_digest(table.queue, command.access_key)
    return NOTHING if queue is None else [QueueChanged(queue)]


#: The rule of each command about one queue; the key is checked before it is called.
_OF_A_QUEUE: Final[Rules] = {
    c.AddJobs: add_jobs,
    **reconfiguring.OF_A_QUEUE,
    **looking.OF_A_QUEUE,
    **claiming.OF_A_QUEUE,
    **changing.OF_A_QUEUE,
}
#: The rules of the other commands.
_OTHERS: Final[Rules] = {**reconfiguring.OTHERS, **counting.OTHERS}
