"""The changes of groups that a batch writes in queues with flow, after the jobs and the named things."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final

from ....core.effects import Effect, QueueEffect
from ....core.facts import ItemSet
from ....core.flow import NO_FLOW, Flow
from ....core.model import Queue
from ..database.connection import begin_not_next
from ..database.group_rows import GroupChanges, placed
from ..database.pipeline import Statement
from ..database.rows import Known
from ..sql import named
from .groups import LoadedGroups
from .load import Redo
from .tables import LoadedTable
from .write import Change

_MOVE_UNGROUPED_START: Final = named("move_ungrouped_start")
_FLOW_IS_KNOWN: Final = named("flow_is_known")
_LIST_GROUP_KEYS: Final = named("list_group_keys")


class FlowWanted(Exception):
    """A command needs flow in a queue without flow: retry it once the queue has flow, and all transactions know it."""

    def __init__(self, queue: Queue) -> None:
        super().__init__(queue.name)
        self.queue = queue


def check_flow(table: LoadedTable, new: Queue, given: Collection[str]) -> None:
    """
    Raise FlowWanted for a change that gives a queue flow, or that limits its jobs in progress while some running
    transactions may not know that the queue has flow. `given` are the names of queues for which the batch has waited
    long enough.
    """
    if table.queue.flow is None:
        raise FlowWanted(table.queue)
    groups, limits = table.groups_loaded, (new.flow or NO_FLOW).limits
    is_new = limits != table.queue.flow.limits and limits.in_progress is not None
    if is_new and new.name not in given and groups is not None and not groups.count(_FLOW_IS_KNOWN):
        raise FlowWanted(table.queue)


def check_groups(rare: Iterable[Change]) -> None:
    """
    Raise Redo for a change of a job with a group, if the batch does not know yet that the queue has flow. For `rare`
    see with_rare_fields.
    """
    for one in rare:
        job = one.new or one.old
        if one.queue.queue.flow is None and job is not None and job.spec.rare.group:
            raise Redo


def group_changes(
    items: Sequence[ItemSet], known: Mapping[str, Known], tables: Mapping[str, LoadedTable]
) -> list[tuple[GroupChanges, Iterable[Statement]]]:
    """
    The group changes of a batch, by queue in the order of locks, each with its statements. The statements are built
    while they are iterated, which is possible only once. Raises Redo, see begin_claim.
    """
    made = list[tuple[GroupChanges, Iterable[Statement]]]()
    for name in sorted(known, key=lambda name: known[name].id):
        groups = tables[name].groups_loaded if name in tables else None
        if groups is not None:
            its = groups.changes
            its.queue = groups.queue()
            for fact in items:
                if fact.queue == name:
                    its.set_item(fact)
            # Finding the start may read more jobs, which is not possible once statements are being sent.
            last = _start_moved(groups)
            made.append((its, _built(its, last) if its.begun is None else [*_without_begun(groups), *last]))
    return made


def _built(changes: GroupChanges, last: Sequence[Statement]) -> Iterator[Statement]:
    yield from changes.statements()
    yield from last


def _without_begun(groups: LoadedGroups) -> list[Statement]:
    """All statements except the one that begin_claim has sent. Raises Redo if that one is not what the batch needs."""
    begun, made = groups.changes.begun, groups.changes.statements()
    if begun is not None:
        if begun.statement not in made:
            begin_not_next(groups.connection)
            raise Redo
        made.remove(begun.statement)
    return made


def _start_moved(groups: LoadedGroups) -> list[Statement]:
    """The statement that moves the claim start of the jobs without a group, if such jobs were claimed."""
    start = groups.ungrouped_start() if groups.changes.of(None).served else None
    if start is None:
        return []
    return [_MOVE_UNGROUPED_START(queue_id=groups.queue_id, inv_prio=start[0], arrival=start[1])]


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
