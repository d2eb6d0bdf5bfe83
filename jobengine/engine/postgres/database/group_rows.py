"""
The rows of the table `grp`: the groups of queues with flow, their counts and places in turn.

Like the tally it is an index in the shape of a table: everything in it follows from the jobs and the named things, but
how long ago a group was served. A transaction that works on a queue with flow first locks the queue for itself (see
`flow_locked`), so what it reads stays true until its commit.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from attrs import define, field, frozen

from ....core.facts import ItemSet
from ....core.flow import GATE, GROUP, Flow, GroupOrder, GroupSettings, settings_of
from ....core.model import Job, Queue, State
from ....core.places import Place, place_of
from ....storage.errors import Damaged
from ..sql import named
from .arrays import bigints, byteas
from .pipeline import Row, Statement
from .rows import Rows

#: The space of the advisory locks on queues with flow: above all numbers of queues.
_SPACE: Final = 0x4A45 << 46
#: The key of the row that counts the jobs of all groups, and has the last turn.
ALL_GROUPS: Final = b""
#: The kind of record that holds the name of a group.
_NAME: Final = "name"

_LOCK_FLOW: Final = named("lock_flow")
_MAKE_GROUPS: Final = named("make_groups")
_CHANGE_GROUPS: Final = named("change_groups")
_SET_UP_GROUPS: Final = named("set_up_groups")
_PLACE_GROUPS: Final = named("place_groups")
_DELETE_EMPTY_GROUPS: Final = named("delete_empty_groups")
_RENEW_UNGROUPED: Final = named("renew_ungrouped")
_NOTE_TURN: Final = named("note_turn")


def flow_locked(queue_ids: Iterable[int]) -> list[Statement]:
    """
    The statement that waits until no other transaction works on these queues with flow; none without queues.

    It comes before the queues are read, and before any other lock but that of the lane: so there is no deadlock.
    """
    numbers = sorted(queue_ids)
    return [_LOCK_FLOW(space=_SPACE, queue_ids=bigints(numbers))] if numbers else []


@frozen
class GroupRow:
    """A group as the database has it."""

    key: bytes
    name: str
    ready: int
    delayed: int
    running: int
    failed: int
    served: int
    #: The texts of its settings and of its gate.
    settings: str | None
    gate: str | None
    #: The columns by which groups are ordered, or None if it has no place in turn.
    place: tuple[int, float, int, int] | None
    #: Whether its settings or its gate can't be read: then none of its jobs is claimed.
    damaged: bool


def group_of(rows: Rows, queue: Queue, row: Row, name: str | None = None) -> GroupRow:
    """The group in the first 14 columns of a row; raises Damaged if its name is not given and can't be read."""
    key, sealed, ready, delayed, running, failed, served, _created, *place, settings, gate = row[:14]
    if name is None:
        name = _opened(rows, queue, _NAME, sealed)
        if name is None or rows.item(GROUP, name) != key:
            raise Damaged("a row of the table grp holds the name of another group")
    damaged, texts = False, list[str | None]([None, None])
    try:
        texts = [_value(rows, queue, GROUP, name, settings), _value(rows, queue, GATE, name, gate)]
    except Damaged:
        damaged = True
    at = None if place[0] is None else (place[0], place[1], place[2], place[3])
    return GroupRow(key, name, ready, delayed, running, failed, served, texts[0], texts[1], at, damaged)


def _value(rows: Rows, queue: Queue, kind: str, name: str, sealed: bytes | None) -> str | None:
    if sealed is None:
        return None
    fact = rows.opened(sealed)
    if not isinstance(fact, ItemSet) or (fact.queue, fact.kind, fact.name) != (queue.salt, kind, name):
        raise Damaged("a row of the table item holds the record of another named thing")
    return fact.value


def _opened(rows: Rows, queue: Queue, kind: str, sealed: bytes) -> str | None:
    fact = rows.opened(sealed)
    return fact.name if isinstance(fact, ItemSet) and (fact.queue, fact.kind) == (queue.salt, kind) else None


def counted_in(job: Job) -> int | None:
    """As which of ready, delayed, in progress or failed (0 to 3) a job counts in its group; None if it does not."""
    place = place_of(job.standing)
    if place <= Place.INPROGRESS:
        return int(place)
    return 3 if job.state is State.FAILED and not job.cancelled else None


def key_of(rows: Rows, job: Job) -> bytes | None:
    """The column `grp` of a job."""
    name = job.spec.rare.group
    return None if name is None or counted_in(job) is None else rows.item(GROUP, name)


@define
class GroupChanges:
    """The changes of groups in one transaction, as statements."""

    rows: Rows
    #: How many jobs were added to each group of a queue, by queue number, name, and as what they count.
    _counted: Counter[tuple[int, str, int]] = field(factory=Counter)
    #: The queues by number.
    _queues: dict[int, Queue] = field(factory=dict)
    #: The names of changed groups, by queue number.
    _names: dict[int, dict[str, None]] = field(factory=dict)
    #: By how many the unfinished jobs without a group became more, by queue number.
    _ungrouped: Counter[int] = field(factory=Counter)
    _settings: dict[tuple[int, str], GroupSettings] = field(factory=dict)
    #: The turns in which groups were served, by queue number and name; None is for the jobs without a group.
    served: dict[tuple[int, str | None], int] = field(factory=dict)

    def change(self, queue_id: int, queue: Queue, old: Job | None, new: Job | None) -> None:
        """Note a change of a job."""
        for job, by in ((old, -1), (new, 1)):
            if job is None:
                continue
            place, name = counted_in(job), job.spec.rare.group
            if name is not None:
                self.note(queue_id, queue, name)
                if place is not None:
                    self._counted[queue_id, name, place] += by
            elif place is not None and place <= Place.INPROGRESS:
                self._ungrouped[queue_id] += by

    def set_item(self, queue_id: int, queue: Queue, fact: ItemSet) -> None:
        """Note the settings or the gate of a group."""
        if fact.kind in (GROUP, GATE) and fact.name:
            self.note(queue_id, queue, fact.name)
            if fact.kind == GROUP:
                self._settings[queue_id, fact.name] = settings_of(fact.value)

    def note(self, queue_id: int, queue: Queue, name: str) -> None:
        """Note that something of a group has changed."""
        self._queues[queue_id] = queue
        self._names.setdefault(queue_id, {})[name] = None

    def statements(self, flows: Mapping[int, Flow]) -> list[Statement]:
        """The statements, after those that write jobs and named things; `flows` has the flow of each queue."""
        made: list[Statement] = []
        for queue_id, names in sorted(self._names.items()):
            made += self._of_queue(queue_id, list(names), flows[queue_id])
        made += [
            _RENEW_UNGROUPED(queue_id=queue_id, added=added)
            for queue_id, added in sorted(self._ungrouped.items())
            if added > 0
        ]
        for queue_id in sorted({queue_id for queue_id, _ in self.served}):
            last = max(turn for (its, _), turn in self.served.items() if its == queue_id)
            made.append(_NOTE_TURN(queue_id=queue_id, turn=last, served=self.served.get((queue_id, None), 0)))
        return made

    def _of_queue(self, queue_id: int, names: Sequence[str], flow: Flow) -> list[Statement]:
        named_keys = {self.rows.item(GROUP, name): name for name in names}
        keys = sorted(named_keys)
        sorted_names = [named_keys[key] for key in keys]
        return [
            self.made(queue_id, keys, sorted_names),
            self._changed(queue_id, keys, sorted_names),
            *self._set_up(queue_id, keys, sorted_names),
            *placed(queue_id, keys, flow),
            _DELETE_EMPTY_GROUPS(queue_id=queue_id, keys=byteas(keys)),
        ]

    def made(self, queue_id: int, keys: Sequence[bytes], names: Sequence[str]) -> Statement:
        """The statement that makes the missing rows of groups with these keys and names."""
        salt = self._queues[queue_id].salt
        return _MAKE_GROUPS(
            queue_ids=bigints([queue_id] * (len(keys) + 1)),
            keys=byteas([ALL_GROUPS, *keys]),
            gates=byteas([b"", *(self.rows.item(GATE, name) for name in names)]),
            sealed=byteas([b"", *self.rows.sealed([ItemSet(salt, _NAME, name, None) for name in names])]),
        )

    def _changed(self, queue_id: int, keys: Sequence[bytes], names: Sequence[str]) -> Statement:
        counts = [[self._counted[queue_id, name, place] for name in names] for place in range(4)]
        ready, delayed, running, failed = (bigints([sum(column), *column]) for column in counts)
        return _CHANGE_GROUPS(
            queue_ids=bigints([queue_id] * (len(keys) + 1)),
            keys=byteas([ALL_GROUPS, *keys]),
            ready=ready,
            delayed=delayed,
            running=running,
            failed=failed,
            served=bigints([0, *(self.served.get((queue_id, name), 0) for name in names)]),
        )

    def _set_up(self, queue_id: int, keys: Sequence[bytes], names: Sequence[str]) -> list[Statement]:
        settings = [(key, its) for key, name in zip(keys, names, strict=True) if (its := self._its(queue_id, name))]
        if not settings:
            return []
        return [
            _SET_UP_GROUPS(
                queue_id=queue_id,
                keys=byteas([key for key, _ in settings]),
                most=bigints([its.in_progress for _, its in settings]),
                weights=bigints([its.weight for _, its in settings]),
            )
        ]

    def _its(self, queue_id: int, name: str) -> GroupSettings | None:
        return self._settings.get((queue_id, name))


def placed(queue_id: int, keys: Sequence[bytes], flow: Flow) -> list[Statement]:
    """The statement that places groups in turn."""
    if not keys:
        return []
    fair, strict = flow.group_order is GroupOrder.FAIR, flow.group_order is GroupOrder.STRICT
    return [_PLACE_GROUPS(queue_id=queue_id, keys=byteas(keys), fair=int(fair), strict=int(strict))]
