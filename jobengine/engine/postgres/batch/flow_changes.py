"""What a batch writes of the groups of queues with flow, after the jobs and the named things."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from ....core.effects import Effect, QueueEffect
from ....core.facts import ItemSet
from ....core.flow import NO_FLOW, Flow
from ....core.model import NO_RARE, Job, Queue
from ..database.group_rows import GroupChanges, placed
from ..database.pipeline import Statement
from ..database.rows import Known, RowRank, Rows, rank_of
from ..sql import named
from .groups import LoadedGroups
from .load import Redo
from .tables import LoadedTable
from .write import Change

_SET_UNGROUPED_START_BACK: Final = named("set_ungrouped_start_back")
_MOVE_UNGROUPED_START: Final = named("move_ungrouped_start")
_LIST_GROUP_KEYS: Final = named("list_group_keys")


class FlowWanted(Exception):
    """A command gives a queue flow: it is carried out again once the queue has it, and all transactions know."""

    def __init__(self, queue: Queue) -> None:
        super().__init__(queue.name)
        self.queue = queue


def check_groups(changes: Iterable[Change]) -> None:
    """Raise Redo for a change of a job with a group, if the batch does not know yet that the queue has flow."""
    for one in changes:
        job = one.new or one.old
        if one.queue.queue.flow is None and job is not None and job.spec.rare is not NO_RARE and job.spec.rare.group:
            raise Redo


def group_statements(
    rows: Rows,
    changes: Sequence[Change],
    items: Iterable[ItemSet],
    known: Mapping[str, Known],
    tables: Mapping[str, LoadedTable],
) -> list[Statement]:
    """The statements that bring the groups up to date with changes of jobs and named things."""
    flows = {one.id: one for one in known.values() if one.queue.flow is not None}
    made, back = GroupChanges(rows), dict[int, RowRank]()
    for one in changes:
        if one.queue.id in flows:
            made.change(one.queue.id, one.queue.queue, one.old, one.new)
            if (rank := _made_ready(one.old, one.new)) is not None:
                back[one.queue.id] = min(rank, back.get(one.queue.id, rank))
    for fact in items:
        if known[fact.queue].id in flows:
            made.set_item(known[fact.queue].id, known[fact.queue].queue, fact)
    starts: list[Statement] = []
    for its in flows.values():
        starts += _served(made, its, tables[its.queue.name].groups_loaded)
    starts += [
        _SET_UNGROUPED_START_BACK(queue_id=queue_id, inv_prio=rank[0], arrival=rank[1])
        for queue_id, rank in back.items()
    ]
    return [*made.statements({number: one.queue.flow or NO_FLOW for number, one in flows.items()}), *starts]


def _served(made: GroupChanges, known: Known, groups: LoadedGroups | None) -> list[Statement]:
    """Note the turns of a queue; the statement that moves the start of its ready jobs without a group."""
    if groups is None:
        return []
    made.served |= {(known.id, name): turn for name, turn in groups.served.items()}
    start = groups.ungrouped_start() if None in groups.served else None
    return [] if start is None else [_MOVE_UNGROUPED_START(queue_id=known.id, inv_prio=start[0], arrival=start[1])]


def _made_ready(old: Job | None, new: Job | None) -> RowRank | None:
    """The rank of a job without a group that became ready, or may have moved."""
    if new is None or not new.ready or new.spec.rare.group is not None:
        return None
    return None if old is not None and old.ready and old.spec is new.spec else rank_of(new)


def reordered(effects: Iterable[Effect], tables: Mapping[str, LoadedTable]) -> dict[str, Flow]:
    """The flow of each queue whose groups get another order."""
    found = {}
    for effect in effects:
        table = tables.get(effect.queue) if isinstance(effect, QueueEffect) else None
        if table is not None and isinstance(effect, QueueEffect) and isinstance(effect.old, Queue):
            flow, old = table.queue.flow, effect.old.flow
            if flow is not None and old is not None and flow.group_order is not old.group_order:
                found[effect.queue] = flow
    return found


def all_placed(table: LoadedTable, queue_id: int, flow: Flow) -> list[Statement]:
    """The statement that places all groups of a queue in another order."""
    assert table.groups_loaded is not None
    rows = _LIST_GROUP_KEYS.execute(table.groups_loaded.connection, queue_id=queue_id).fetchall()
    return placed(queue_id, [key for (key,) in rows], flow)
