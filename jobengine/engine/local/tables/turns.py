"""The groups of a queue in memory: which may be claimed from now, in which order, and which are held."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from heapq import nsmallest
from typing import Any, Final, TypeVar

from attrs import define, field

from ....core.flow import (
    GATE,
    GROUP,
    NO_SETTINGS,
    OF_QUEUE,
    OPEN,
    UNLIMITED,
    Flow,
    Gate,
    GroupOrder,
    Limits,
    OnFailure,
    gate_of,
    settings_of,
)
from ....core.model import FINISHED, INPROGRESS, Job, Rank, State
from ....core.places import Place, place_of
from ....core.sorting import GroupSort
from ....core.stats import GroupState
from ....core.turn_order import InTurn, Key
from .group import Group, Tags
from .sorted_list import SortedList

T = TypeVar("T", bound=Any)

_READY: Final = Place.READY
_FAILED: Final = State.FAILED
#: The most holders of a group that are shown.
_HOLDERS: Final = 10
#: How many groups are compared to find the oldest job.
_OLDEST: Final = 100
#: Later than any time.
_NEVER: Final = 1 << 62


@define(eq=False)
class Turns:
    """All groups of a queue with flow."""

    flow: Flow
    #: All jobs of the queue, by uid.
    _jobs: dict[str, Job]
    groups: dict[str | None, Group] = field(factory=dict)
    #: The elapsed time up to which gates have been opened.
    now: int = 0
    #: The positions of the groups that may be claimed from: of all, and of those with ready jobs of these tags.
    open: dict[Tags | None, SortedList[Key]] = field(factory=lambda: {None: SortedList()})
    #: When the gate of a group changes next, and its name.
    gates: SortedList[tuple[int, str]] = field(factory=SortedList)
    #: The names of groups whose gate has no more effect.
    _over: dict[str, None] = field(factory=dict)
    #: The queue's own gate, which has no group.
    gate: Gate = OPEN
    running: int = 0
    #: Groups that are not idle, and how many of their jobs could be claimed now.
    _busy: dict[str | None, Group] = field(factory=dict)
    _claimable_of_busy: int = 0
    #: How many idle groups have each number of ready jobs.
    _idle: Counter[int] = field(factory=Counter)
    #: Groups to be placed again.
    _touched: dict[str | None, Group] = field(factory=dict)
    #: The number of the last claim.
    turn: int = 0

    #: How many jobs of a group without settings and without a gate may be in progress, and be claimed by its rate.
    _cap: int = field(init=False)
    _rate_cap: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._set_caps()

    def _set_caps(self) -> None:
        limits = self.flow.group_limits
        self._cap = UNLIMITED if limits.in_progress is None else limits.in_progress
        self._rate_cap = UNLIMITED if limits.rate is None else limits.rate.count

    # Reading

    def has_shape(self, flow: Flow) -> bool:
        """Whether these groups are indexed as `flow` orders them."""
        return (self.flow.group_order, self.flow.group_on_failure) == (flow.group_order, flow.group_on_failure)

    def order(self, tags: Tags, is_due: Callable[[Job], bool]) -> Iterator[Job]:
        """
        The jobs in the order in which claims get them, unless the queue's own limits prevent that; those that are due
        for removal are left out.
        """
        wanted = frozenset(tags)
        combinations: list[Tags | None] = [None]
        if wanted:
            combinations = [kind for kind in self.open if kind is not None and wanted.issubset(kind)]

        def job_of(rank: Rank) -> Job | None:
            job = self._jobs[rank[2]]
            return None if job.spec.timeout_time and is_due(job) else job

        def ranks_of(group: Group, index: int) -> Iterable[Rank]:
            return group.ranks(combinations[index])

        return iter(
            InTurn(
                lists=[self.open[kind] for kind in combinations],
                group_of=self._group_at,
                room_of=self._room,
                ranks_of=ranks_of,
                job_of=job_of,
                turn=self.turn,
            )
        )

    @property
    def queue_room(self) -> int:
        """How many jobs the queue's own limits allow to claim now."""
        limits = self.flow.limits
        room = self.gate.left(limits.rate, self.now)
        return room if limits.in_progress is None else max(0, min(room, limits.in_progress - self.running))

    def oldest(self) -> int | None:
        """
        When the oldest of the first jobs of open groups was added; None without any.

        Compares those of _OLDEST groups: of the first group of each priority or, in fair order, of the first groups.
        """
        firsts, oldest, is_fair = self.open[None], _NEVER, self.flow.group_order is GroupOrder.FAIR
        at = firsts.first()
        for _ in range(_OLDEST):
            if at is None:
                break
            oldest = min(oldest, self._jobs[at[-1]].spec.created)
            # In the other orders, the first group of a priority has its oldest job.
            at = next(firsts.behind(at if is_fair else (at[0] + 1, -1, "")), None)
        return None if oldest == _NEVER else oldest

    @property
    def claimable(self) -> int:
        """How many jobs could be claimed now."""
        cap = min(self._cap, self._rate_cap)
        idle = sum(min(length, cap) * groups for length, groups in self._idle.items())
        return min(self._claimable_of_busy + idle, self.queue_room)

    @property
    def next_change(self) -> int | None:
        """The next elapsed time at which a gate changes; None if none does."""
        if self._over:
            return self.now
        first = self.gates.first()
        own = self.gate.next_change(self.flow.limits.rate, self.now)
        times = [time for time in (None if first is None else first[0], own) if time is not None]
        return min(times, default=None)

    def gates_over(self) -> Iterable[str]:
        """The names of gates without any more effect: a group's name, or OF_QUEUE."""
        return list(self._over)

    def state(self, group: Group) -> GroupState:
        """The jobs of a group."""
        first = self._first_ready(group)
        return GroupState(
            queued=group.ready + group.delayed,
            available=self._available(group),
            delayed=group.delayed,
            in_progress=group.running,
            oldest_ready=None if first is None else first.spec.created,
            failed=group.failed,
        )

    def _first_ready(self, group: Group) -> Job | None:
        first = group.jobs.first()
        # A list asks this of each group: mostly the first job is ready.
        if first is None or (job := self._jobs[first[2]]).ready:
            return None if first is None else job
        return next((job for rank in group.jobs if (job := self._jobs[rank[2]]).ready), None)

    def page(
        self, sort: GroupSort, after: tuple[int, str] | None, limit: int
    ) -> tuple[list[tuple[str, GroupState]], tuple[int, str] | None]:
        """A page of groups in an order; see Table.groups for the position."""
        positions = ((-self._number(group, sort), name) for name, group in self.groups.items() if name is not None)
        rest = positions if after is None else (one for one in positions if one > (-after[0], after[1]))
        found = nsmallest(limit + 1, rest)
        names = [name for _, name in found[:limit]]
        following = None if len(found) <= limit else (-found[limit - 1][0], names[-1])
        return [(name, self.state(self.groups[name])) for name in names], following

    def _number(self, group: Group, sort: GroupSort) -> int:
        match sort:
            case GroupSort.QUEUED:
                return group.ready + group.delayed
            case GroupSort.IN_PROGRESS:
                return group.running
            case GroupSort.OLDEST:
                first = self._first_ready(group)
                return -_NEVER if first is None else -first.spec.created
        raise AssertionError(sort)

    def before(self, job: Job) -> int:
        """How many jobs of its group come before a job."""
        return self.groups[job.spec.rare.group].jobs.before(job.spec.rank)

    def holders(self, name: str) -> list[Job]:
        """At most 10 jobs that hold a group."""
        group = self.groups[name]
        uids = [*group.holders] if group.holders else [rank[2] for rank in group.jobs if group.is_strict]
        return [self._jobs[uid] for uid in uids[:_HOLDERS]]

    def _group_at(self, key: Key) -> Group:
        return self.groups[self._jobs[key[-1]].spec.rare.group]

    # Changes of jobs

    def change(self, old: Job | None, new: Job | None) -> None:
        """Note a change of a job; call `update` when all changes are noted."""
        if old is not None and new is not None:
            was, now = place_of(old.standing), place_of(new.standing)
            if was is now and old.spec is new.spec:
                return
        if old is not None and self._counts(old):
            self._touch(old.spec.rare.group).remove(old, place_of(old.standing))
            self.running -= old.state is INPROGRESS
        if new is not None and self._counts(new):
            group = self._touch(new.spec.rare.group)
            group.add(new, place_of(new.standing))
            self.running += new.state is INPROGRESS
            if old is not None and was is _READY and now is Place.INPROGRESS:
                self.turn = group.served = self.turn + 1

    def _counts(self, job: Job) -> bool:
        """Whether a group has this job: it is unfinished, or has failed and holds the group."""
        return job.state not in FINISHED or self._holds(job)

    def _touch(self, name: str | None) -> Group:
        """The group of that name, to be placed again; it is made if it does not exist."""
        group = self.groups.get(name)
        if group is None:
            # A new group counts as just served. Else a group that empties and comes back would always go first.
            group = self.groups[name] = Group(name, self.flow.group_order, served=self.turn)
        self._touched[name] = group
        return group

    def _holds(self, job: Job) -> bool:
        """Whether a finished job holds its group until somebody retries or deletes it."""
        flow = self.flow
        return (
            flow.group_order is GroupOrder.STRICT
            and flow.group_on_failure is OnFailure.HOLD
            and job.standing.state is _FAILED
            and job.spec.rare.group is not None
            and not job.standing.notes.cancelled
        )

    # Changes of settings

    def set_item(self, kind: str, name: str, value: str | None) -> None:
        """Note the new value of a named thing."""
        if kind == GATE and name == OF_QUEUE:
            self.gate = gate_of(value)
            self._note_over(name, self.gate, self.flow.limits)
        elif kind in (GATE, GROUP):
            group = self._touch(name)
            if kind == GATE:
                group.gate = gate_of(value)
            else:
                group.settings = settings_of(value)

    def limit(self, flow: Flow) -> None:
        """Set new limits; the order of groups stays the same."""
        self.flow = flow
        self._set_caps()
        self._note_over(OF_QUEUE, self.gate, flow.limits)
        self._touched.update(self._busy)
        self.update()

    def advance(self, now: int) -> bool:
        """Open the gates whose time has come; returns whether there were any."""
        first, own = self.gates.first(), self.gate.next_change(self.flow.limits.rate, self.now)
        is_due = (first is not None and first[0] <= now) or (own is not None and own <= now)
        self.now = now
        if not is_due:
            return False
        self._note_over(OF_QUEUE, self.gate, self.flow.limits)
        for time, name in self.gates:
            if time > now:
                break
            self._touch(name)
        self.update()
        return True

    # Indexes

    def update(self) -> None:
        """Bring the lists of groups up to date with the noted changes."""
        if not self._touched:
            return
        touched, self._touched = self._touched, {}
        moves = _Moves()
        for group in touched.values():
            room, available = self._room(group), self._available(group)
            self._count(group, room, available)
            if group.changes is not None or group.gate is not OPEN or group.name in self._over:
                self._move_gate(group, moves)
            first = group.jobs.first() if room and available else None
            position = None if first is None else group.key(first, 0, 0)
            if position != group.position:
                moves.note(None, group.position, position)
                group.position = position
            if group.tag_positions is not None or group.by_tags is not None or (first is not None and group.is_strict):
                self._move_tagged(group, first, moves)
            if group.is_gone:
                del self.groups[group.name]
        self._apply(moves)

    def _apply(self, moves: "_Moves") -> None:
        _put(self.gates, moves.gates)
        for tags, changes in moves.positions.items():
            _put(self.open.setdefault(tags, SortedList()), changes)
            if tags is not None and not self.open[tags]:
                del self.open[tags]

    def _count(self, group: Group, room: int, available: int) -> None:
        """Count how many of a group's jobs could be claimed."""
        was, is_plain = group.idle, group.has_only_queued and group.name is not None
        now = available if is_plain and (group.ready or group.delayed) else None
        if was != now:
            if was is not None:
                self._idle[was] -= 1
                if not self._idle[was]:
                    del self._idle[was]
            if now is not None:
                self._idle[now] += 1
            group.idle = now
        claimable = 0 if is_plain else min(room, available)
        self._claimable_of_busy += claimable - group.claimable
        group.claimable = claimable
        if is_plain or group.is_gone:
            self._busy.pop(group.name, None)
        else:
            self._busy[group.name] = group

    def _room(self, group: Group) -> int:
        """How many jobs of a group its limits and gate allow to claim now."""
        if group.name is None:
            return UNLIMITED
        if group.settings is NO_SETTINGS and group.gate is OPEN and group.order is not GroupOrder.STRICT:
            room = self._cap - group.running
            return min(room, self._rate_cap) if room > 0 else 0
        return self._special_room(group)

    def _special_room(self, group: Group) -> int:
        """The room of a group with settings or a gate of its own, or in strict order."""
        if group.settings.paused or group.failed:
            return 0
        if group.is_strict and (group.running or not self._available(group)):
            return 0
        limits = group.settings.limits(self.flow)
        room = UNLIMITED if limits.in_progress is None else limits.in_progress - group.running
        return max(0, min(room, group.gate.left(limits.rate, self.now), 1 if group.is_strict else room))

    def _available(self, group: Group) -> int:
        """How many jobs of a group could be claimed without limits."""
        if not group.is_strict:
            return group.ready
        first = group.jobs.first()
        return 1 if first is not None and self._jobs[first[2]].ready else 0

    def _move_gate(self, group: Group, moves: "_Moves") -> None:
        """Note when the gate of a group changes next, and whether it is over."""
        assert group.name is not None
        limits = group.settings.limits(self.flow)
        changes = group.gate.next_change(limits.rate, self.now)
        if changes != group.changes:
            if group.changes is not None:
                moves.gates[1].append((group.changes, group.name))
            if changes is not None:
                moves.gates[0].append((changes, group.name))
            group.changes = changes
        self._note_over(group.name, group.gate, limits)

    def _note_over(self, name: str, gate: Gate, limits: Limits) -> None:
        if gate is not OPEN and gate.is_over(limits.rate, self.now):
            self._over[name] = None
        else:
            self._over.pop(name, None)

    def _move_tagged(self, group: Group, first: Rank | None, moves: "_Moves") -> None:
        """Move a group to its new positions in the lists for tags; `first` is its first job if it is open."""
        old, new = group.tag_positions or {}, self._tag_positions(group, first)
        for tags in {*old, *new}:
            if old.get(tags) != new.get(tags):
                moves.note(tags, old.get(tags), new.get(tags))
        group.tag_positions = new or None

    def _tag_positions(self, group: Group, first: Rank | None) -> dict[Tags, Key]:
        if first is None:
            return {}
        if group.is_strict:
            tags = self._jobs[first[2]].spec.tags
            return {tags: group.key(first, 0, 0)} if tags else {}
        firsts = ((tags, ranks.first()) for tags, ranks in (group.by_tags or {}).items())
        return {tags: group.key(at, 0, 0) for tags, at in firsts if at is not None}


class _Moves:
    """Changes of the lists of groups: values to insert, and values to remove."""

    def __init__(self) -> None:
        self.gates: tuple[list[tuple[int, str]], list[tuple[int, str]]] = ([], [])
        self.positions: dict[Tags | None, tuple[list[Key], list[Key]]] = {None: ([], [])}

    def note(self, tags: Tags | None, old: Key | None, new: Key | None) -> None:
        """Note that a group moves in the list for these tags."""
        inserted, removed = self.positions.setdefault(tags, ([], []))
        if new is not None:
            inserted.append(new)
        if old is not None:
            removed.append(old)


def _put(values: SortedList[T], changes: tuple[list[T], list[T]]) -> None:
    """Insert and remove values; insertions come first, since a job may come and go in one batch."""
    if changes[0]:
        values.add_all(changes[0])
    if changes[1]:
        values.remove_all(changes[1])
