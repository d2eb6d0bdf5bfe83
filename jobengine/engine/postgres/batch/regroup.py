"""Corrects the counts and places of the groups of a queue with flow, from its jobs."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Final

from psycopg import Connection

from ....core.flow import GROUP, NO_FLOW, GroupSettings, settings_of
from ....core.model import Queue
from ....storage.errors import Damaged
from ..database.arrays import byteas
from ..database.connection import together
from ..database.group_rows import GroupChanges, flow_locked, placed
from ..database.item_rows import item_of, items_of_kinds
from ..database.pipeline import Row, Statement
from ..database.rows import NO_CLAIM_START, Rows
from ..sql import named

_JOBS_OF_LOST_GROUPS: Final = named("jobs_of_lost_groups")
_RECOUNT_GROUPS: Final = named("recount_groups")
_RECOUNT_GROUPED: Final = named("recount_grouped")
_FORGET_UNGROUPED_START: Final = named("forget_ungrouped_start")
_CORRECT_SETTINGS_OF_GROUPS: Final = named("correct_settings_of_groups")
_DELETE_EMPTY_GROUPS: Final = named("delete_empty_groups")
_LIST_GROUP_KEYS: Final = named("list_group_keys")


def regroup(connection: "Connection[Row]", rows: Rows, queue_id: int, queue: Queue, slot: int) -> int:
    """
    Correct the groups of a queue that the transaction has locked; returns how many had wrong counts. The counts of the
    jobs in all groups together are corrected in this slot of the tally.

    Reads the group keys of all unfinished jobs.
    """
    flow = queue.flow or NO_FLOW
    settings = _settings(connection, rows, queue_id, queue)
    _make_lost(connection, rows, GroupChanges(rows, queue_id, queue), settings)
    ((wrong,),) = _RECOUNT_GROUPS.execute(connection, queue_id=queue_id).fetchall()
    wrong += _set_up(connection, rows, queue_id, settings)
    keys = [key for (key,) in _LIST_GROUP_KEYS.execute(connection, queue_id=queue_id).fetchall()]
    inv_prio, arrival = NO_CLAIM_START
    start = _FORGET_UNGROUPED_START(queue_id=queue_id, inv_prio=inv_prio, arrival=arrival)
    grouped = _RECOUNT_GROUPED(queue_id=queue_id, slot=slot)
    empty = _DELETE_EMPTY_GROUPS(queue_id=queue_id, keys=byteas(keys))
    together(connection, grouped, start, *placed(queue_id, keys, flow), empty)
    return int(wrong)


def _settings(connection: "Connection[Row]", rows: Rows, queue_id: int, queue: Queue) -> dict[str, GroupSettings]:
    """The settings of each group that has its own, except damaged ones."""
    (answer,) = together(connection, *items_of_kinds([(queue_id, rows.kind(GROUP))]))
    found = {}
    for row in answer:
        with suppress(Damaged):
            item = item_of(rows, queue, row)
            found[item.name] = settings_of(item.value)
    return found


def _set_up(connection: "Connection[Row]", rows: Rows, queue_id: int, settings: Mapping[str, GroupSettings]) -> int:
    """Correct the settings that the rows of groups repeat; returns how many were wrong."""
    named = sorted((rows.group(name), its.in_progress, its.weight) for name, its in settings.items())
    keys, most, weights = zip(*named, strict=True) if named else ((), (), ())
    corrected = _CORRECT_SETTINGS_OF_GROUPS.execute(
        connection, queue_id=queue_id, keys=list(keys), most=list(most), weights=list(weights)
    )
    ((wrong,),) = corrected.fetchall()
    return int(wrong)


def _make_lost(connection: "Connection[Row]", rows: Rows, changes: GroupChanges, settings: Iterable[str]) -> None:
    """Make the missing rows of groups that have jobs or settings, and the row of the jobs without a group."""
    found = _JOBS_OF_LOST_GROUPS.execute(connection, queue_id=changes.queue_id).fetchall()
    names = [*settings]
    for uid, sealed, standing in found:
        with suppress(Damaged):
            names.append(rows.job(changes.queue, uid, sealed, standing).spec.rare.group or "")
    names = sorted(set(names))
    together(connection, changes.ungrouped_made(), *([changes.made(names)] if names else []))


def regroup_all(connection: "Connection[Row]", rows: Rows, queues: Mapping[int, Queue], slot: int) -> None:
    """Correct the groups of the given queues that have flow; the transaction has locked these queues."""
    for queue_id, queue in sorted(queues.items()):
        if queue.flow is not None:
            regroup(connection, rows, queue_id, queue, slot)


def flows_locked(queues: Mapping[int, Queue]) -> list[Statement]:
    """The statement that locks the given queues that have flow."""
    return flow_locked(queue_id for queue_id, queue in queues.items() if queue.flow is not None)
