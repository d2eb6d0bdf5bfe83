"""Counts and places the groups of a queue with flow anew, from its jobs."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from psycopg import Connection

from ....core.flow import GROUP, NO_FLOW
from ....core.model import Queue
from ....storage.errors import Damaged
from ..database.connection import together
from ..database.group_rows import GroupChanges, flow_locked, placed
from ..database.pipeline import Row, Statement
from ..database.rows import NO_CLAIM_START, Rows
from ..sql import named

_JOBS_OF_LOST_GROUPS: Final = named("jobs_of_lost_groups")
_RECOUNT_GROUPS: Final = named("recount_groups")
_FORGET_UNGROUPED_START: Final = named("forget_ungrouped_start")
_LIST_GROUP_KEYS: Final = named("list_group_keys")


def regroup(connection: "Connection[Row]", rows: Rows, queue_id: int, queue: Queue) -> int:
    """
    Correct the groups of a queue that the transaction has locked; returns how many had wrong counts.

    It reads the keys of all unfinished jobs.
    """
    flow = queue.flow or NO_FLOW
    _make_lost(connection, rows, queue_id, queue)
    ((wrong,),) = _RECOUNT_GROUPS.execute(connection, queue_id=queue_id).fetchall()
    keys = [key for (key,) in _LIST_GROUP_KEYS.execute(connection, queue_id=queue_id).fetchall()]
    inv_prio, arrival = NO_CLAIM_START
    start = _FORGET_UNGROUPED_START(queue_id=queue_id, inv_prio=inv_prio, arrival=arrival)
    together(connection, start, *placed(queue_id, keys, flow))
    return int(wrong)


def _make_lost(connection: "Connection[Row]", rows: Rows, queue_id: int, queue: Queue) -> None:
    """Make the missing rows of groups that have jobs."""
    found = _JOBS_OF_LOST_GROUPS.execute(connection, queue_id=queue_id).fetchall()
    changes, names = GroupChanges(rows), list[str]()
    for uid, sealed, standing in found:
        with suppress(Damaged):
            names.append(rows.job(queue, uid, sealed, standing).spec.rare.group or "")
    for name in names:
        changes.note(queue_id, queue, name)
    if names:
        together(connection, changes.made(queue_id, [rows.item(GROUP, name) for name in names], names))


def regroup_all(connection: "Connection[Row]", rows: Rows, queues: Mapping[int, Queue]) -> None:
    """Correct the groups of those of these queues that have flow; the transaction has locked them."""
    for queue_id, queue in sorted(queues.items()):
        if queue.flow is not None:
            regroup(connection, rows, queue_id, queue)


def flows_locked(queues: Mapping[int, Queue]) -> list[Statement]:
    """The statement that locks those of these queues that have flow, by number."""
    return flow_locked(queue_id for queue_id, queue in queues.items() if queue.flow is not None)
