"""
The rows of the table `grp`: the groups of queues with flow, their counts and places in turn.

Like the tally it is an index in the shape of a table: everything in it follows from the jobs and the named things,
except how long ago a group was served. It has these rules:

- A transaction that works on a queue with flow first locks the queue, in one of three ways; see `FlowLock`.
- Groups are changed after all jobs are locked, in the order of their keys. Once a transaction has locked a row, the
  row's counts include the changes of all transactions that have changed the row before.
- The place in turn is that of the group's first ready job. A transaction that takes ready jobs away without having
  loaded the group, or after others have changed it, may leave a place that is too early; a claim then finds the right
  place.
"""

from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum
from operator import add
from typing import Final

from attrs import define, field
from msgspec import Struct

from ....core.facts import ItemSet
from ....core.flow import GATE, GROUP, NO_FLOW, Flow, GroupOrder, GroupSettings, settings_of
from ....core.model import Job, Queue
from ....core.places import Place, place_of
from ....core.values import Value
from ....storage.errors import Damaged
from ..sql import named
from .arrays import bigints, byteas
from .pipeline import Parameter, Row, Statement
from .rows import NO_CLAIM_START, RowRank, Rows, rank_of

#: The upper bits of advisory locks on a queue with flow, and on its claims; the lower bits are its number.
_SPACE, _CLAIMS_SPACE = 0x4A45 << 46, 0x4A46 << 46
#: The tally also counts the jobs in all groups together: those in a place under the place's number plus GROUPED.
GROUPED: Final = 7
#: The kind of record that holds the name of a group.
_NAME: Final = "name"

READY, DELAYED, RUNNING, FAILED = range(4)
_FAILED: Final = Place.FAILED
_COMPLETE: Final = Place.COMPLETE.state
_COUNTED: Final = {
    Place.READY: READY,
    Place.DELAYED: DELAYED,
    Place.WAITING: DELAYED,
    Place.INPROGRESS: RUNNING,
    Place.FAILED: FAILED,
}

_LOCK_FLOW: Final = named("lock_flow")
_LOCK_UNGROUPED: Final = named("lock_ungrouped")
_MAKE_GROUPS: Final = named("make_groups")
_CHANGE_GROUPS: Final = named("change_groups")
_UPDATE_GROUPS: Final = named("update_groups")
_PLACE_MISPLACED_GROUPS: Final = named("place_misplaced_groups")
_SET_UP_GROUPS: Final = named("set_up_groups")
_PLACE_GROUPS: Final = named("place_groups")
_DELETE_EMPTIED_GROUPS: Final = named("delete_emptied_groups")
_RENEW_UNGROUPED: Final = named("renew_ungrouped")
_SET_UNGROUPED_START_BACK: Final = named("set_ungrouped_start_back")
_NOTE_TURN: Final = named("note_turn")


class FlowLock(IntEnum):
    """How a transaction locks a queue with flow; each kind of lock excludes more transactions than the one before."""

    #: For changes that are right whatever others change: jobs are added, ended or removed.
    SHARED = 0
    #: As SHARED, but only one transaction may claim or read gates: what limits allow stays true until the commit.
    CLAIMS = 1
    #: Nobody else works on the queue.
    ALONE = 2


def flow_locked(queue_ids: Iterable[int], how: FlowLock = FlowLock.ALONE) -> list[Statement]:
    """
    The statement that locks these queues with flow; an empty list without queues.

    Send it before the queues are read, and before any other lock but the lane's: so there is no deadlock.
    """
    numbers, alone = list[int](), list[int]()
    for queue_id in sorted(queue_ids):
        numbers.append(_SPACE | queue_id)
        alone.append(how is FlowLock.ALONE)
        if how is FlowLock.CLAIMS:
            numbers.append(_CLAIMS_SPACE | queue_id)
            alone.append(True)
    return [_LOCK_FLOW(numbers=bigints(numbers), alone=bigints(alone))] if numbers else []


def ungrouped_locked(queue_id: int) -> Statement:
    """The statement that locks the row for the jobs without a group."""
    return _LOCK_UNGROUPED(queue_id=queue_id)


@define
class GroupRow:
    """A group as the database has it."""

    key: bytes
    name: str
    ready: int
    delayed: int
    running: int
    failed: int
    served: int
    #: How often the group's ready jobs or its place were changed; -1 for a row that is not there.
    rev: int
    #: The texts of the group's settings and gate.
    settings: str | None
    gate: str | None
    #: The columns by which groups are ordered, or None if it has no place in turn.
    place: tuple[int, float, int, int] | None
    #: Whether the group's settings or gate can't be read: then none of its jobs is claimed.
    damaged: bool


def group_of(rows: Rows, queue: Queue, row: Row, name: str | None = None) -> GroupRow:
    """The group in the first 14 columns of a row; raises Damaged if its name is not given and can't be read."""
    key, sealed, ready, delayed, running, failed, served, rev, *place, settings, gate = row[:14]
    if name is None:
        name = _opened(rows, queue, _NAME, sealed)
        if name is None or rows.group(name) != key:
            raise Damaged("a row of the table grp holds the name of another group")
    damaged, texts = False, list[str | None]([None, None])
    try:
        texts = [_value(rows, queue, GROUP, name, settings), _value(rows, queue, GATE, name, gate)]
    except Damaged:
        damaged = True
    at = None if place[0] is None else (place[0], place[1], place[2], place[3])
    return GroupRow(key, name, ready, delayed, running, failed, served, rev, texts[0], texts[1], at, damaged)


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
    """
    The index of the count in which a group counts a job: 0 ready, 1 delayed, 2 in progress, 3 failed; or None. A job
    that waits for others counts as delayed.
    """
    place = place_of(job.standing)
    return _COUNTED.get(place) if place is not _FAILED or not job.cancelled else None


def key_of(rows: Rows, job: Job) -> bytes | None:
    """The column `grp` of a job."""
    name, state = job.spec.rare.group, job.standing.state
    if name is None or state is _COMPLETE or (state is _FAILED.state and job.cancelled):
        # Then counted_in is None; this is faster.
        return None
    return rows.group(name)


def _is_like(old: Job, new: Job) -> bool:
    """Whether a job has the same group and the same rank as before."""
    return old.spec.rare.group == new.spec.rare.group and rank_of(old) == rank_of(new)


#: A rank, and when a job there was created.
_Place = tuple[int | None, int | None, int | None]
_NOWHERE: Final[_Place] = (None, None, None)
#: Stands for a job's rank and creation time that were not read.
NOT_READ: Final[tuple[RowRank, int]] = (NO_CLAIM_START, 0)


#: The changes of the four counts of a group: ready, delayed, running and failed jobs.
_Counts = tuple[int, ...]
_UNCHANGED: Final[_Counts] = (0, 0, 0, 0)
#: By the index of the count that a job leaves, and of the one that it enters (None: none): how the counts change. Most
#: groups of a batch have just one such change, so they share these tuples.
_MOVED: Final[Mapping[tuple[int | None, int | None], _Counts]] = {
    (was, now): tuple((at == now) - (at == was) for at in range(4))
    for was in (None, *range(4))
    for now in (None, *range(4))
}
#: How the counts change if a job is claimed.
_CLAIMED: Final = _MOVED[READY, RUNNING]


class GroupDelta(Struct, eq=False, gc=False):
    """The changes of a group by one transaction."""

    counts: _Counts = _UNCHANGED
    is_touched: bool = False
    #: Whether the group got a job that it did not count before: then the group may have no row.
    is_entered: bool = False
    #: Whether the group's gate is set or removed: before the first gate, the row has no digest of a gate.
    is_gated: bool = False
    #: Whether any job that was ready here is not ready any more, or has another rank or group.
    lost: bool = False
    #: The first of the jobs that became ready, and when it was created.
    first: RowRank | None = None
    created: int | None = None
    #: The turn in which the group was served; 0 if it was not.
    served: int = 0
    #: The row's `rev` and place when it was read; -1 if it was not.
    rev: int = -1
    place: RowRank | None = None
    #: The rank of the second ready job and when it was created, or None if there is none; NOT_READ if it was not read.
    second: tuple[RowRank, int] | None = NOT_READ
    #: Whether just one job has ceased to be ready, and was the group's first ready job.
    lost_first: bool = False

    def read(self, rev: int, place: RowRank | None, second: tuple[RowRank, int] | None = NOT_READ) -> None:
        """Record what was read of the row and, perhaps, of the second ready job."""
        self.rev, self.place, self.second = rev, place, second

    def move(self, job: Job, was: int | None, now: int | None) -> None:
        """Count a job under the index `now` instead of `was`; None if it is not counted there. See counted_in."""
        self.is_touched = True
        by = _MOVED[was, now]
        self.counts = by if self.counts is _UNCHANGED else tuple(map(add, self.counts, by))
        if was == READY:
            self.lost_first = not self.lost and rank_of(job) == self.place
            self.lost = True
        elif now == READY and (self.first is None or rank_of(job) < self.first):
            self.first, self.created = rank_of(job), job.spec.created

    @property
    def is_placed_anew(self) -> bool:
        """Whether the group gets another place: that of its first remaining ready job."""
        return self.lost and self.rev >= 0

    @property
    def place_written(self) -> _Place:
        """
        The rank and creation time of the first job that became ready; for a group that gets another place, of
        its first ready job. If that job is not known: a rank before which no job is ready, and None.
        """
        if not self.is_placed_anew:
            return _NOWHERE if self.first is None else (*self.first, self.created)
        if not self.lost_first or self.second is NOT_READ:
            known = [rank for rank in (self.first, self.place) if rank is not None]
            return *min(known, default=NO_CLAIM_START), None
        ready = [] if self.first is None or self.created is None else [(self.first, self.created)]
        if self.second is not None:
            ready.append(self.second)
        if not ready:
            return _NOWHERE
        rank, created = min(ready)
        return *rank, created

    @property
    def is_first_claimed(self) -> bool:
        """Whether the first ready job was claimed and nothing else has changed; the second one was read."""
        is_simple = not (self.is_entered or self.is_gated) and self.first is None and self.second is not NOT_READ
        return is_simple and self.lost_first and self.counts == _CLAIMED

    @property
    def may_be_missing(self) -> bool:
        """Whether the group may have no row yet: settings or a gate may be set before a group has jobs."""
        return self.is_entered or (self.rev < 0 and not any(self.counts))


class FirstClaimed(Value, frozen=True):
    """A claim of the first job of each of some groups: its statement, and the groups' keys in order of turns."""

    statement: Statement
    keys: Sequence[bytes]
    #: The turn before that of the first group.
    turn: int


@define
class GroupChanges:
    """The changes of groups in one queue and transaction, as statements."""

    rows: Rows
    queue_id: int
    #: The queue as it is after the changes.
    queue: Queue
    #: The changed groups; None is for the jobs without a group.
    deltas: dict[str | None, GroupDelta] = field(factory=dict)
    settings: dict[str, GroupSettings] = field(factory=dict)
    #: The claim whose statement was sent before the batch was decided; see begin_claim.
    begun: FirstClaimed | None = None

    def change(self, old: Job | None, new: Job | None) -> tuple[int | None, int | None]:
        """Record a change of a job; returns its counted_in before and after."""
        was, now = None if old is None else counted_in(old), None if new is None else counted_in(new)
        if old is not None and new is not None and (old.spec is new.spec or _is_like(old, new)):
            if was != now:
                name = new.spec.rare.group
                delta = self.deltas.get(name) or self.of(name)
                delta.is_entered |= was is None
                delta.move(new, was, now)
            return was, now
        if old is not None:
            self.of(old.spec.rare.group).move(old, was, None)
        if new is not None:
            delta = self.of(new.spec.rare.group)
            delta.is_entered = True
            delta.move(new, None, now)
        return was, now

    def of(self, name: str | None) -> GroupDelta:
        """The changes of a group."""
        delta = self.deltas.get(name)
        if delta is None:
            delta = self.deltas[name] = GroupDelta()
        return delta

    def set_item(self, fact: ItemSet) -> None:
        """Record the settings or the gate of a group."""
        if fact.kind in (GROUP, GATE) and fact.name:
            delta = self.of(fact.name)
            delta.is_touched = True
            if fact.kind == GROUP:
                self.settings[fact.name] = settings_of(fact.value)
            else:
                delta.is_gated = True

    def grouped(self) -> dict[tuple[int, int], int]:
        """By queue number and place in the tally: how the number of jobs in all groups together changes."""
        counts = [delta.counts for name, delta in self.deltas.items() if name is not None and delta.is_touched]
        grown = [sum(column) for column in zip(*counts, strict=True)][:FAILED]
        return {(self.queue_id, GROUPED + place): by for place, by in enumerate(grown)}

    def statements(self) -> list[Statement]:
        """The statements; execute them after the statements that write jobs and named things."""
        touched = {name: delta for name, delta in self.deltas.items() if delta.is_touched}
        ungrouped = touched.pop(None, None)
        groups = {self.rows.group(name): (name, its) for name, its in touched.items() if name is not None}
        turn = max([delta.served for delta in self.deltas.values()], default=0)
        made = self._of_ungrouped(ungrouped or GroupDelta()) + self._of_groups(groups)
        if turn:
            served = 0 if ungrouped is None else ungrouped.served
            made.append(_NOTE_TURN(queue_id=self.queue_id, turn=turn, served=served))
        return made

    def _of_ungrouped(self, delta: GroupDelta) -> list[Statement]:
        made: list[Statement] = []
        if delta.first is not None:
            inv_prio, arrival = delta.first
            made = [
                ungrouped_locked(self.queue_id),
                _SET_UNGROUPED_START_BACK(queue_id=self.queue_id, inv_prio=inv_prio, arrival=arrival),
            ]
        if sum(delta.counts[:FAILED]) > 0:
            made.append(_RENEW_UNGROUPED(queue_id=self.queue_id))
        return made

    def _of_groups(self, groups: Mapping[bytes, tuple[str, GroupDelta]]) -> list[Statement]:
        if not groups:
            return []
        if self.begun is not None and self._are_made_by(self.begun, groups):
            return [self.begun.statement, _PLACE_MISPLACED_GROUPS(queue_id=self.queue_id)]
        keys = sorted(groups)
        made = [*self._changed(keys, [groups[key] for key in keys]), *self._set_up()]
        if self._strict or self.settings:
            made += placed(self.queue_id, keys, self._flow)
        else:
            misplaced = [key for key, (_, its) in groups.items() if its.lost and its.rev < 0]
            made += placed(self.queue_id, sorted(misplaced), self._flow)
        # Groups may have no jobs any more, or never had any.
        if any(sum(counts) < 0 or not any(counts) for counts in {its.counts for _, its in groups.values()}):
            made.append(_DELETE_EMPTIED_GROUPS(queue_id=self.queue_id))
        return made

    def _are_made_by(self, begun: FirstClaimed, groups: Mapping[bytes, tuple[str, GroupDelta]]) -> bool:
        """Whether `begun` makes just these changes. To build the statement again and compare it would take longer."""
        is_same = [*groups] == begun.keys and not self.settings
        return is_same and all(
            delta.served == turn and delta.is_first_claimed
            for turn, (_, delta) in enumerate(groups.values(), begun.turn + 1)
        )

    def _sealed(self, names: Sequence[str]) -> list[bytes]:
        return self.rows.sealed_names(self.queue, _NAME, names)

    def ungrouped_made(self) -> Statement:
        """The statement that inserts the row for jobs without a group, unless it exists."""
        return _MAKE_GROUPS(queue_id=self.queue_id, keys=byteas([b""]), gates=byteas([b""]), sealed=byteas([b""]))

    def made(self, names: Sequence[str]) -> Statement:
        """The statement that inserts the groups of these names that have no row."""
        return _MAKE_GROUPS(
            queue_id=self.queue_id,
            keys=byteas([self.rows.group(name) for name in names]),
            gates=byteas([self.rows.item(GATE, name) for name in names]),
            sealed=byteas(self._sealed(names)),
        )

    def _changed(self, keys: Sequence[bytes], groups: Sequence[tuple[str, GroupDelta]]) -> list[Statement]:
        deltas = [delta for _, delta in groups]
        # In strict order, whether a group has a place at all depends on all its jobs; see `placed`.
        anew = [delta.rev if delta.is_placed_anew else None for delta in deltas]
        places = [delta.place_written for delta in deltas]
        if self._strict:
            anew, places = [None] * len(deltas), [_NOWHERE] * len(deltas)
        served = [delta.served or None for delta in deltas]
        columns = self._columns([delta.counts for delta in deltas], served, anew, places)
        if not _are_simple(deltas, places):
            return [_CHANGE_GROUPS(queue_id=self.queue_id, keys=byteas(keys), **columns, **self._names(groups))]
        made = [_UPDATE_GROUPS(queue_id=self.queue_id, keys=byteas(keys), **columns)]
        is_placed = anew.count(None) < len(anew)
        return made + ([_PLACE_MISPLACED_GROUPS(queue_id=self.queue_id)] if is_placed else [])

    def _columns(
        self,
        counts: Iterable[Sequence[int]],
        served: Sequence[int | None],
        revs: Sequence[int | None],
        places: Iterable[_Place],
    ) -> dict[str, Parameter]:
        inv_prios, arrivals, created = zip(*places, strict=True)
        ready, delayed, running, failed = map(bigints, zip(*counts, strict=True))
        return {
            "ready": ready,
            "delayed": delayed,
            "running": running,
            "failed": failed,
            "served": bigints(served),
            "revs": bigints(revs),
            "inv_prios": bigints(inv_prios),
            "arrivals": bigints(arrivals),
            "created": bigints(created),
            "fair": int(self._flow.group_order is GroupOrder.FAIR),
        }

    def first_claimed(self, rows: Sequence[Row], turn: int) -> FirstClaimed:
        """
        A claim that takes the first job of each group in `rows`, in this order. `rows` are those of the statement
        groups_in_turn; the first group is served in the turn after `turn`.
        """
        ordered = sorted(enumerate(rows, turn + 1), key=lambda one: one[1][0])
        found = [row for _, row in ordered]
        places: list[_Place] = [(row[14], row[15], row[16]) if row[17] is not None else _NOWHERE for row in found]
        revs = [row[7] for row in found]
        columns = self._columns([_CLAIMED] * len(rows), [served for served, _ in ordered], revs, places)
        statement = _UPDATE_GROUPS(queue_id=self.queue_id, keys=byteas([row[0] for row in found]), **columns)
        return FirstClaimed(statement, [row[0] for row in rows], turn)

    def _names(self, groups: Sequence[tuple[str, GroupDelta]]) -> dict[str, Parameter]:
        """The columns with the names of groups that may have no row yet, and the digests of gates."""
        # A name is written only with a new row. Only a group that gets jobs, settings or a gate may have no row yet.
        new = [name for name, delta in groups if delta.may_be_missing]
        sealed = dict(zip(new, self._sealed(new), strict=True))
        gates = {name: self.rows.item(GATE, name) for name, delta in groups if delta.is_gated}
        return {
            "gates": byteas([gates.get(name) for name, _ in groups] if gates else [None] * len(groups)),
            "sealed": byteas([sealed.get(name) for name, _ in groups] if new else [None] * len(groups)),
        }

    @property
    def _flow(self) -> Flow:
        return self.queue.flow or NO_FLOW

    @property
    def _strict(self) -> bool:
        return self._flow.group_order is GroupOrder.STRICT

    def _set_up(self) -> list[Statement]:
        if not self.settings:
            return []
        settings = sorted((self.rows.group(name), its) for name, its in self.settings.items())
        return [
            _SET_UP_GROUPS(
                queue_id=self.queue_id,
                keys=byteas([key for key, _ in settings]),
                most=bigints([its.in_progress for _, its in settings]),
                weights=bigints([its.weight for _, its in settings]),
            )
        ]


def _are_simple(deltas: Sequence[GroupDelta], places: Sequence[_Place]) -> bool:
    """
    Whether the statement update_groups can write these changes, with these `place_written`. It can't if no count of a
    group changes: the group may have been recreated since it was read, and place_groups would then lock it out of
    order.
    """
    if any(delta.is_gated or delta.is_entered for delta in deltas):
        return False
    if any(not any(counts) or sum(counts[:FAILED]) > 0 for counts in {delta.counts for delta in deltas}):
        return False
    return all(place[0] is None or place[2] is not None for place in places)


def placed(queue_id: int, keys: Sequence[bytes], flow: Flow) -> list[Statement]:
    """The statement that computes the places of these groups in the order of turns; an empty list without keys."""
    if not keys:
        return []
    fair, strict = flow.group_order is GroupOrder.FAIR, flow.group_order is GroupOrder.STRICT
    return [_PLACE_GROUPS(queue_id=queue_id, keys=byteas(keys), fair=int(fair), strict=int(strict))]
