"""The groups of a queue in memory: which may be claimed from now, in which order, and which are held."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from heapq import nsmallest
from itertools import chain
from typing import Final

from attrs import define, field

from ...core.flow import (
    GATE,
    GROUP,
    NO_LIMITS,
    OF_QUEUE,
    OPEN,
    UNLIMITED,
    Flow,
    Gate,
    GroupOrder,
    gate_of,
    settings_of,
)
from ...core.model import FINISHED, Job, Rank, Spec
from ...core.places import Place, place_of
from ...core.sorting import GroupSort
from ...core.stats import GroupState
from ...core.turn_order import InTurn, Key
from .gate_times import GateTimes
from .group import NO_EXTRAS, FairGroup, Group, GroupExtras, Tags, made_group
from .sorted_list import SortedList

_READY: Final = Place.READY
_INPROGRESS: Final = Place.INPROGRESS
#: The places of finished jobs.
_ENDED: Final = frozenset(place for place in Place if place.state in FINISHED)
#: The most jobs that are returned as holders of a group.
_HOLDERS: Final = 10
#: How many groups one step of a list reads; that takes a few milliseconds.
FOUND_AT_ONCE: Final = 2_000
#: How many groups are compared to find the oldest job.
_OLDEST: Final = 100
#: Later than any time.
_NEVER: Final = 1 << 62


@define(eq=False)
class Turns:
    """All groups of a queue with flow."""

    flow: Flow
    #: All jobs of the queue, by uid.
    jobs: Mapping[str, Job]
    #: The ranks of the queue's jobs in progress.
    in_progress: SortedList[Rank]
    groups: dict[str | None, Group] = field(factory=dict)
    #: The elapsed time up to which gates have been opened.
    now: int = 0
    #: The positions of open groups: under None of all, under tags of those that have ready jobs with just these tags.
    open: dict[Tags | None, SortedList[Key]] = field(factory=lambda: {None: SortedList()})
    #: Pending changes of the lists for tags: positions to insert, and positions to remove.
    _tag_moves: dict[Tags, tuple[list[Key], list[Key]]] = field(factory=dict, init=False)
    #: When the gates change.
    gates: GateTimes = field(factory=GateTimes, init=False)
    #: The queue's own gate, which has no group.
    gate: Gate = OPEN
    #: How many groups have each size: ready jobs plus jobs in progress. In each group, the jobs beyond the limit are
    #: held.
    _sizes: dict[int, int] = field(factory=dict)
    #: The number of held jobs in groups that are counted apart: with rare fields, in strict order, or over their limit.
    _held: int = 0
    #: The groups that are counted apart.
    _special: dict[Group, None] = field(factory=dict)
    #: Groups to be placed again.
    _touched: dict[Group, None] = field(factory=dict)
    #: The number of the last claim.
    turn: int = 0
    #: While the index is being built: the rank up to which it has the jobs; then None.
    covered: Rank | None = None
    #: The ranks of collected ready jobs, by group; see `gather`.
    _gathered: defaultdict[str | None, list[Rank]] = field(factory=lambda: defaultdict(list), init=False)
    #: For a group without settings and gate: the most jobs in progress, and the most claims by the groups' rate.
    _cap: int = field(init=False)
    _rate_cap: int = field(init=False)
    #: A group with more jobs in progress is not counted by its size; see _count.
    _most_running: int = field(init=False)
    #: Whether a failed job holds its group.
    _failed_hold: bool = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._set_caps()

    def _set_caps(self) -> None:
        limits = self.flow.group_limits
        self._cap = UNLIMITED if limits.in_progress is None else limits.in_progress
        self._rate_cap = UNLIMITED if limits.rate is None else limits.rate.count
        self._most_running = self._cap if limits.rate is None else 0
        self._failed_hold = self.flow.holds_failed

    # Reading

    def has_shape(self, flow: Flow) -> bool:
        """Whether these groups are indexed as `flow` orders them."""
        return (self.flow.group_order, self.flow.group_on_failure) == (flow.group_order, flow.group_on_failure)

    def order(self, tags: Tags, is_due: Callable[[Job], bool]) -> Iterator[Job]:
        """
        The jobs in the order in which claims get them, without regard to the queue's own limits; jobs that are due for
        removal are left out.
        """
        wanted = frozenset(tags)
        kinds: list[Tags | None] = [None]
        if wanted:
            kinds = [kind for kind in self.open if kind is not None and wanted.issubset(kind)]
        groups, jobs, room = self.groups, self.jobs, self._room

        def opened(key: Key, index: int) -> tuple[Group, int, Iterable[Rank]]:
            group, kind = groups[jobs[key[-1]].spec.rare.group], kinds[index]
            return group, room(group), group.jobs if kind is None else group.tagged(kind)

        def job_of(rank: Rank) -> Job | None:
            job = jobs[rank[2]]
            return None if job.spec.timeout_time and is_due(job) else job

        return iter(InTurn(lists=[self.open[kind] for kind in kinds], opened=opened, job_of=job_of, turn=self.turn))

    @property
    def queue_room(self) -> int:
        """How many jobs the queue's own limits allow to claim now."""
        limits = self.flow.limits
        if limits is NO_LIMITS and self.gate is OPEN:
            return UNLIMITED
        room = self.gate.left(limits.rate, self.now)
        return room if limits.in_progress is None else max(0, min(room, limits.in_progress - len(self.in_progress)))

    def oldest(self) -> int | None:
        """
        When the oldest of the open groups' first jobs was added; None if no group is open.

        Compares at most _OLDEST groups: in fair order the first ones, otherwise the first of each priority.
        """
        firsts, oldest, is_fair = self.open[None], _NEVER, self.flow.group_order is GroupOrder.FAIR
        at = firsts.first()
        for _ in range(_OLDEST):
            if at is None:
                break
            oldest = min(oldest, self.jobs[at[-1]].spec.created)
            # In arrival and strict order, the first group of a priority has the oldest job of that priority.
            at = next(firsts.behind(at if is_fair else (at[0] + 1, -1, "")), None)
        return None if oldest == _NEVER else oldest

    def held(self, ready: int) -> int:
        """How many of all ready jobs of the queue can't be claimed now."""
        cap = min(self._cap, self._rate_cap)
        of_groups = self._held + sum((size - cap) * groups for size, groups in self._sizes.items() if size > cap)
        return max(of_groups, ready - self.queue_room)

    def state(self, group: Group) -> GroupState:
        """The jobs of a group."""
        first = self._first_ready(group)
        return GroupState(
            queued=group.ready + group.delayed,
            available=0 if group.is_strict and group.running else group.available(self.jobs),
            delayed=group.delayed,
            in_progress=group.running,
            oldest_ready=None if first is None else first.spec.created,
            failed=(group.extras or NO_EXTRAS).failed,
        )

    def _first_ready(self, group: Group) -> Job | None:
        first = group.first()
        # Lists of groups call this for each group, so try the first job: usually it is ready.
        if first is None or (job := self.jobs[first[2]]).ready:
            return None if first is None else job
        return next((job for rank in group.jobs if (job := self.jobs[rank[2]]).ready), None)

    def page(
        self, sort: GroupSort, after: tuple[int, str] | None, limit: int, found: Sequence[tuple[int, str]] | None
    ) -> tuple[list[tuple[str, GroupState]], tuple[int, str] | None]:
        """A page of groups in an order; see Table.groups for the positions."""
        if found is None:
            *_, found = self.find(sort, after, limit + 1)
        groups = [(name, self.groups.get(name)) for _, name in found[:limit]]
        following = found[limit - 1] if len(found) > limit else None
        return [(name, self.state(group)) for name, group in groups if group is not None], following

    def find(self, sort: GroupSort, after: tuple[int, str] | None, most: int) -> Iterator[list[tuple[int, str]]]:
        """
        The positions of the `most` groups that follow `after`. Each step examines some groups and yields the positions
        found so far; the last list is complete.

        The groups may change between the steps.
        """
        names = [name for name in self.groups if name is not None]
        found: list[tuple[int, str]] = []
        start = None if after is None else (-after[0], after[1])
        for at in range(0, len(names) or 1, FOUND_AT_ONCE):
            groups = [(name, self.groups.get(name)) for name in names[at : at + FOUND_AT_ONCE]]
            positions = ((-self._number(group, sort), name) for name, group in groups if group is not None)
            found = nsmallest(most, chain(found, (one for one in positions if start is None or one > start)))
            yield [(-number, name) for number, name in found]

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

    def ready_behind(self, name: str, rank: Rank | None) -> Iterator[Rank]:
        """The ranks of a group's ready jobs in order: after a rank, or all."""
        group = self.groups.get(name)
        ranks = () if group is None else group.behind(rank)
        return (one for one in ranks if self.jobs[one[2]].ready)

    def before(self, job: Job) -> int:
        """How many jobs of its group come before a job."""
        return self.groups[job.spec.rare.group].before(job.spec.rank)

    def holders(self, name: str) -> list[Job]:
        """At most 10 jobs that hold a group; see Table.holders_of_group."""
        return [self.jobs[uid] for uid in self.groups[name].holder_uids[:_HOLDERS]]

    # Changes of jobs

    def fill(self, jobs: Iterable[Job]) -> None:
        """Add jobs to an index that is being built."""
        self.gather(jobs)
        self.place(len(self._gathered))

    def gather(self, jobs: Iterable[Job]) -> None:
        """Collect jobs by group; `place` them once all are collected."""
        gathered, is_strict, ready = self._gathered, self.flow.group_order is GroupOrder.STRICT, None
        for job in jobs:
            spec, standing = job.spec, job.standing
            if standing is not ready and place_of(standing) is _READY:
                ready = standing
            if is_strict or spec.tags or standing is not ready:
                self.enter(job, place_of(standing))
            else:
                gathered[spec.rare.group].append(spec.rank)  # in a tenth of the time that `enter` takes
        self.update()

    def place(self, most: int) -> bool:
        """Give at most `most` groups their collected jobs and their positions; returns whether more groups are left."""
        gathered, groups, order, turn = self._gathered, self.groups, self.flow.group_order, self.turn
        opened, sizes = list[Key](), list[int]()
        for _ in range(min(most, len(gathered))):
            name, ranks = gathered.popitem()
            group = groups.get(name)
            if group is None and name is not None:
                # A new group is open, as limits are at least 1. So it is placed here, in a quarter of the time that
                # `update` takes.
                group = groups[name] = made_group(name, order, turn)
                group.add_all(ranks)
                group.size = size = len(ranks)
                group.position = key = group.key(ranks[0], 0, 0)
                sizes.append(size)
                opened.append(key)
            else:
                self._add_to(self._group(name), ranks)
        for size, number in Counter(sizes).items():
            self._sizes[size] = self._sizes.get(size, 0) + number
        self.open[None].add_all(opened)
        self.update()
        return bool(gathered)

    def _add_to(self, group: Group, ranks: list[Rank]) -> None:
        """Add ready jobs to a group that exists, or to the jobs without a group."""
        group.add_all(ranks)
        if group.size is not None and group.name is not None:
            self._resize(group, group.ready + group.running)
        self._touched[group] = None

    def enter(self, job: Job, place: Place) -> None:
        """Record that a job is added; call `update` when all changes are recorded."""
        if place not in _ENDED or self._failed_hold:
            self.move(job.spec, None, job, None, place)

    def leave(self, job: Job, place: Place) -> None:
        """Record that a job is removed; call `update` when all changes are recorded."""
        if place not in _ENDED or self._failed_hold:
            self.move(job.spec, job, None, place, None)

    def move(self, spec: Spec, old: Job | None, new: Job | None, was: Place | None, now: Place | None) -> None:
        """Record that a job goes from one place to another; None stands for outside the queue."""
        if self.covered is not None and self.covered < spec.rank:
            return
        name = spec.rare.group
        group = self.groups.get(name) or self._made(name)
        if self._failed_hold:
            group.hold(old, -1)
        if group.move(spec, was, now):
            self._touched[group] = None
        if self._failed_hold:
            group.hold(new, 1)
        if was is _READY and now is _INPROGRESS:
            # A claim makes its group the one served last, and leaves its size as it is.
            self.turn += 1
            if isinstance(group, FairGroup):
                group.served = self.turn
        elif group.size is not None and name is not None:
            self._resize(group, group.ready + group.running)

    def _group(self, name: str | None) -> Group:
        return self.groups.get(name) or self._made(name)

    def _made(self, name: str | None) -> Group:
        # A new group counts as just served. Else a group that empties and comes back would always go first.
        group = self.groups[name] = made_group(name, self.flow.group_order, self.turn)
        return group

    # Changes of settings

    def set_item(self, kind: str, name: str, value: str | None) -> None:
        """Record the new value of a named thing."""
        if kind == GATE and name == OF_QUEUE:
            self.gate = gate_of(value)
            self._set_own_gate()
        elif kind in (GATE, GROUP):
            group = self._group(name)
            self._touched[group] = None
            extras = group.own_extras
            if kind == GATE:
                extras.gate = gate_of(value)
            else:
                extras.settings = settings_of(value)
            self._set_limits(name, extras)

    def limit(self, flow: Flow) -> None:
        """Set new limits; the order of groups stays the same."""
        self.flow = flow
        self._set_caps()
        self._set_own_gate()
        for group in self._special:
            self._touched[group] = None
            if group.name is not None and group.extras is not None:
                self._set_limits(group.name, group.extras)
        for rank in self.in_progress:
            self._touched[self._group(self.jobs[rank[2]].spec.rare.group)] = None
        self.update()

    def advance(self, now: int) -> bool:
        """Open the gates whose time has come; returns whether there were any."""
        is_due = self.gates.is_due(now)
        self.now = now
        if not is_due:
            return False
        self._set_own_gate()
        for name in self.gates.due(now):
            group = self.groups[name]
            self._touched[group] = None
            self._set_limits(name, group.own_extras)
        self.update()
        return True

    # Indexes

    def update(self) -> bool:
        """Bring the lists of groups up to date with the recorded changes; returns whether gates have changed."""
        if self._touched:
            self._place_touched()
        if not self.gates.has_changed:
            return False
        self.gates.update(self.now)
        return True

    def _place_touched(self) -> None:
        """Give the touched groups their places in the lists of open groups."""
        touched, self._touched = self._touched, {}
        cap, most_running = self._cap, self._most_running
        # Not `list[Key]()`, which takes half a microsecond longer.
        inserted: list[Key] = []
        removed: list[Key] = []
        for group in touched:
            if group.extras is None and group.size is not None and group.running <= most_running:
                position = group.position_below(cap)
            else:
                position = self._update_special(group)
            was = group.position
            if position is not was and position != was:
                group.position = position
                if was is not None:
                    removed.append(was)
                if position is not None:
                    inserted.append(position)
            if position is None and group.is_gone:
                del self.groups[group.name]
                self._special.pop(group, None)
        self.open[None].move(inserted, removed)
        if self._tag_moves:
            self._move_tagged()

    def _move_tagged(self) -> None:
        """Bring the lists for tags up to date."""
        for tags, changes in self._tag_moves.items():
            positions = self.open.setdefault(tags, SortedList())
            positions.move(*changes)
            if not positions:
                del self.open[tags]
        self._tag_moves.clear()

    def _update_special(self, group: Group) -> Key | None:
        """Update tags and counts of a group that is counted apart; returns its position, or None if it is closed."""
        room = self._room(group)
        first = group.first() if room > 0 else None
        extras = group.extras or NO_EXTRAS
        if extras.tag_positions or extras.by_tags or group.is_strict:
            self._place_by_tags(group, extras.tag_positions or {}, first)
        position = None if first is None else group.key(first, 0, 0)
        if group.extras is not None:
            group.extras.room = room
            if group.extras.is_empty:
                group.extras = None
        self._count(group, room)
        return position

    def _place_by_tags(self, group: Group, old: dict[Tags, Key], first: Rank | None) -> None:
        """Place a group, with its first job if it is open, in the lists for tags; `old` are its places there."""
        new = {} if first is None else group.positions_by_tags(first, self.jobs)
        for tags in {*old, *new}:
            was, now = old.get(tags), new.get(tags)
            if was != now:
                inserted, removed = self._tag_moves.setdefault(tags, ([], []))
                inserted += () if now is None else (now,)
                removed += () if was is None else (was,)
        if old or new:
            group.own_extras.tag_positions = new

    def _count(self, group: Group, room: int) -> None:
        """
        Count the held jobs of a group: by its size if only the queue's limits for all groups can hold them, else in
        `_held`.
        """
        size: int | None = 0 if group.name is None else group.ready + group.running
        held = 0
        if group.extras is not None or group.is_strict or (size and group.running > self._most_running):
            size, held = None, group.ready - (min(room, group.available(self.jobs)) if room > 0 else 0)
            self._special[group] = None
        else:
            self._special.pop(group, None)
        self._held += held - group.held
        group.held = held
        self._resize(group, size)

    def _resize(self, group: Group, size: int | None) -> None:
        """Move a group to another size in `_sizes`."""
        was, sizes = group.size, self._sizes
        if size == was:
            return
        group.size = size
        if size:
            sizes[size] = sizes.get(size, 0) + 1
        if was:
            if left := sizes[was] - 1:
                sizes[was] = left
            else:
                del sizes[was]

    def _room(self, group: Group) -> int:
        """How many jobs of a group its limits and gate allow to claim now; not above 0 if none."""
        if group.name is None:
            return UNLIMITED
        if group.extras is not None or group.is_strict:
            return self._special_room(group)
        room = self._cap - group.running
        return room if room < self._rate_cap else self._rate_cap

    def _special_room(self, group: Group) -> int:
        """The room of a group with extras or in strict order."""
        extras = group.extras or NO_EXTRAS
        if extras.failed or (group.is_strict and (group.running or not group.available(self.jobs))):
            return 0
        cap = self._cap if extras.cap is None else extras.cap
        left = self._rate_cap if extras.left is None else extras.left
        room = min(cap - group.running, left)
        return 1 if group.is_strict and room > 0 else room

    def _set_limits(self, name: str, extras: GroupExtras) -> None:
        """Record what the limits and the gate of a group allow now, and when that changes next."""
        limits = extras.settings.limits(self.flow)
        extras.left = extras.gate.left(limits.rate, self.now)
        cap = UNLIMITED if limits.in_progress is None else limits.in_progress
        extras.cap = 0 if extras.settings.paused else cap
        changes = extras.gate.next_change(limits.rate, self.now)
        self.gates.set(name, extras.gate, extras.changes, changes)
        extras.changes = changes

    def _set_own_gate(self) -> None:
        self.gates.set_own(self.gate, self.gate.next_change(self.flow.limits.rate, self.now))
