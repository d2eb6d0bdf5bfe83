"""
The groups of a queue with flow in a batch: those that its commands need are loaded when a rule asks for them.

The batch has locked the queue for itself, so what is loaded stays true. What its own commands have changed is kept
here, on top of what the database has.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from attrs import define, field
from psycopg import Connection

from ....core.errors import ItemDamaged
from ....core.flow import (
    GATE,
    GROUP,
    NO_FLOW,
    NO_SETTINGS,
    OF_QUEUE,
    OPEN,
    UNLIMITED,
    Flow,
    Gate,
    GroupOrder,
    GroupSettings,
    OnFailure,
    gate_of,
    settings_of,
)
from ....core.model import SECOND, Job, Queue, Rank
from ....core.turn_order import Key
from ....storage.errors import Damaged
from ..database.arrays import byteas
from ..database.connection import together
from ..database.group_rows import GroupRow, counted_in, group_of
from ..database.item_rows import item_of, items_named
from ..database.known_damage import DamageFound, SuspectJob
from ..database.pipeline import Row, Statement
from ..database.rows import NO_CLAIM_START, RowRank, Rows, check_place
from ..sql import NamedStatement, named
from .begin import Now
from .ordered import Loading

Tags = tuple[str, ...]
#: How many groups, and how many jobs, are loaded at a time: at least, and at most.
LEAST, MOST = 2, 64
#: A position after every job.
_BACK: Final[RowRank] = (1 << 62, 1 << 62)
READY, DELAYED, RUNNING, FAILED = range(4)

_READ_FLOW: Final = named("read_flow")
_READ_GROUPS: Final = named("read_groups")
_READY_JOBS_OF_GROUP: Final = named("ready_jobs_of_group")
_READY_JOBS_WITHOUT_GROUP: Final = named("ready_jobs_without_group")
_DELAYED_JOBS_OF_GROUP: Final = named("delayed_jobs_of_group")


@define(eq=False)
class LoadedGroup:
    """A group, or all jobs without a group, as it is after the batch's commands so far."""

    #: None for the jobs without a group.
    name: str | None
    order: GroupOrder
    #: The numbers of ready, delayed, running and failed jobs in the database, and by how much the batch changed them.
    base: Sequence[int]
    changed: list[int]
    served: int
    #: The ranks of its ready jobs.
    ready: Loading[Rank]
    settings: GroupSettings = NO_SETTINGS
    gate: Gate = OPEN
    #: Whether the database has a place in turn for it: in strict order, whether its first job was ready.
    is_placed: bool = True
    damaged: bool = False

    def number(self, which: int) -> int:
        """How many jobs are ready, delayed, in progress, or failed."""
        return self.base[which] + self.changed[which]

    def key(self, rank: Rank, taken: int, turn: int) -> Key:
        """See OpenGroup."""
        if self.order is not GroupOrder.FAIR:
            return rank
        load = (self.number(RUNNING) + taken) / self.settings.weight
        return (rank[0], load, turn or self.served, rank[1], rank[2])


@define(eq=False)
class _Totals:
    """The numbers of a queue in the database, and of its jobs without a group."""

    jobs: Sequence[int]
    ungrouped: Sequence[int]
    served: int
    #: The start of the ready jobs without a group; None if it is not known.
    start: RowRank | None


@define(kw_only=True, eq=False)
class LoadedGroups:
    """The groups of one queue."""

    connection: "Connection[Row]"
    rows: Rows
    queue_id: int
    #: The queue as it is now.
    queue: Callable[[], Queue]
    #: The loaded jobs by uid, and named things by kind and name, of the LoadedTable.
    jobs: dict[str, Job]
    named: dict[tuple[str, str], str | None]
    #: Whether the batch has locked the queue: then the loaded jobs are locked too.
    locked: bool
    #: The time of the batch.
    time: Callable[[], Now]
    loaded: dict[str | None, LoadedGroup] = field(factory=dict, init=False)
    #: The names of groups of which the batch has changed jobs.
    _touched: set[str | None] = field(factory=set, init=False)
    #: By how much commands have changed the numbers of each group.
    changed: dict[str | None, list[int]] = field(factory=dict, init=False)
    _items: set[tuple[str, str]] = field(factory=set, init=False)
    _totals: _Totals | None = field(default=None, init=False)
    #: The uids of loaded jobs by group; None until a claim needs them.
    _members: dict[str | None, set[str]] | None = field(default=None, init=False)
    #: The number of the last turn; 0 until a claim needs it.
    turn: int = field(default=0, init=False)
    #: The turns in which groups were served in this batch.
    served: dict[str | None, int] = field(factory=dict, init=False)

    @property
    def now(self) -> int:
        return self.time().elapsed

    @property
    def wall(self) -> int:
        return self.time().wall

    @property
    def flow(self) -> Flow:
        """The queue's flow."""
        return self.queue().flow or NO_FLOW

    # Changes by the batch's commands

    def change(self, old: Job | None, new: Job | None) -> None:
        """Note a change of a job that was applied."""
        if old is not None and new is not None:
            self._note_turn(old, new)
        for job, by in ((old, -1), (new, 1)):
            if job is not None:
                self._move(job, by)

    def _note_turn(self, old: Job, new: Job) -> None:
        if self.turn and counted_in(old) == READY and counted_in(new) == RUNNING:
            self.turn += 1
            name = new.spec.rare.group
            self.served[name] = self.turn
            if name in self.loaded:
                self.loaded[name].served = self.turn

    def _move(self, job: Job, by: int) -> None:
        name, which = job.spec.rare.group, counted_in(job)
        changed = self.changed.setdefault(name, [0, 0, 0, 0])
        self._touched.add(name)
        if which is not None:
            changed[which] += by
        if self._members is not None and by > 0:
            self._members.setdefault(name, set()).add(job.spec.uid)
        group = self.loaded.get(name)
        if group is not None and which == READY:
            (group.ready.add if by > 0 else group.ready.discard)(job.spec.rank)

    def set_item(self, kind: str, name: str, value: str | None) -> None:
        """Note the new value of a named thing."""
        self._items.add((kind, name))
        group = self.loaded.get(name) if name else None
        if group is not None and kind == GROUP:
            group.settings = settings_of(value)
        elif group is not None and kind == GATE:
            group.gate = gate_of(value)

    # Named things

    def item(self, kind: str, name: str) -> str | None:
        """The settings or the gate of a group, or the queue's gate; raises ItemDamaged."""
        key = (kind, name)
        if key not in self._items:
            self._items.add(key)
            answers = self.send(*items_named([(self.queue_id, self.rows.item(kind, name))]))
            for row in answers[0]:
                try:
                    self.named[key] = item_of(self.rows, self.queue(), row).value
                except Damaged:
                    self.named[key] = None
        if key not in self.named:
            return None
        value = self.named[key]
        if value is None:
            raise ItemDamaged(kind, name)
        return value

    # Groups

    def group(self, name: str) -> LoadedGroup:
        """A group by its name; one without jobs if it is not there."""
        if name not in self.loaded:
            self.load_named([name])
        return self.loaded[name]

    def load_named(self, names: Sequence[str]) -> None:
        """Load groups by their names."""
        missing = {self.rows.item(GROUP, name): name for name in names if name not in self.loaded}
        if not missing:
            return
        (answer,) = self.send(_READ_GROUPS(queue_id=self.queue_id, keys=byteas(sorted(missing))))
        for row in answer:
            name = missing.pop(row[0])
            self.take(group_of(self.rows, self.queue(), row, name))
        for name in missing.values():
            self.take(GroupRow(b"", name, 0, 0, 0, 0, 0, None, None, None, damaged=False))

    def ungrouped(self) -> LoadedGroup:
        """All jobs without a group."""
        if None not in self.loaded:
            totals = self.totals()
            self.loaded[None] = LoadedGroup(
                name=None,
                order=self.flow.group_order,
                base=[*totals.ungrouped, 0],
                changed=self.changed.setdefault(None, [0, 0, 0, 0]),
                served=self.served.get(None, totals.served),
                ready=self._ready_of(None, self._load_ungrouped),
            )
        return self.loaded[None]

    def take_new(self, row: GroupRow) -> LoadedGroup:
        """A group, from a row unless it was loaded before."""
        return self.loaded.get(row.name) or self.take(row)

    def take(self, row: GroupRow) -> LoadedGroup:
        """Keep a group as the database has it; what the batch has changed comes on top."""
        name, key = row.name, self.rows.item(GROUP, row.name)
        for kind, value in ((GROUP, row.settings), (GATE, row.gate)):
            if (kind, name) not in self._items and not row.damaged:
                self._items.add((kind, name))
                if value is not None:
                    self.named[kind, name] = value

        def load(last: Rank | None) -> tuple[Sequence[Rank], Rank | None]:
            inv_prio, arrival = _row_rank(last)
            most = at_least(len(group.ready.values))
            place = {"inv_prio": inv_prio, "arrival": arrival, "wall": self.wall, "most": most}
            return self.rank_list(self.locked_jobs(_READY_JOBS_OF_GROUP, key=key, **place), most)

        group = self.loaded[name] = LoadedGroup(
            name=name,
            order=self.flow.group_order,
            base=[row.ready, row.delayed, row.running, row.failed],
            changed=self.changed.setdefault(name, [0, 0, 0, 0]),
            served=self.served.get(name, row.served),
            ready=self._ready_of(name, load),
            is_placed=row.place is not None,
            damaged=row.damaged,
        )
        if not row.damaged:
            group.settings = settings_of(self.named.get((GROUP, name)))
            group.gate = gate_of(self.named.get((GATE, name)))
        return group

    def _ready_of(
        self, name: str | None, load: Callable[[Rank | None], tuple[Sequence[Rank], Rank | None]]
    ) -> Loading[Rank]:
        """The ready jobs of a group: those that are loaded, and the others when they are needed."""
        ready = Loading(load)
        for uid in self.members().get(name, ()):
            job = self.jobs.get(uid)
            if job is not None and job.ready and job.spec.rare.group == name:
                ready.add(job.spec.rank)
        return ready

    def _load_ungrouped(self, last: Rank | None) -> tuple[Sequence[Rank], Rank | None]:
        start = self.totals().start
        if last is not None or start is None:
            inv_prio, arrival = _row_rank(last)
        else:
            # The start itself may be ready.
            inv_prio, arrival = start[0], start[1] - 1
        most = at_least(len(self.ungrouped().ready.values))
        place = {"inv_prio": inv_prio, "arrival": arrival, "wall": self.wall, "most": most}
        return self.rank_list(self.locked_jobs(_READY_JOBS_WITHOUT_GROUP, **place), most)

    def rank_list(self, found: Sequence[tuple[Rank, Job]], most: int) -> tuple[Sequence[Rank], Rank | None]:
        """What Loading takes for ready jobs, at most `most`: those that the batch has changed are left out."""
        ranks = [rank for rank, _ in found if self.claimable(rank) is not None]
        return ranks, found[-1][0] if len(found) == most else None

    def claimable(self, rank: Rank) -> Job | None:
        """The job with this rank, if it can be claimed by itself."""
        job = self.jobs.get(rank[2])
        if job is None or not job.ready or job.spec.rank != rank:
            return None
        return None if 0 < job.spec.timeout_time * SECOND <= self.wall else job

    def members(self) -> Mapping[str | None, set[str]]:
        """The uids of loaded jobs by group."""
        if self._members is None:
            self._members = {}
            for uid, job in self.jobs.items():
                self._members.setdefault(job.spec.rare.group, set()).add(uid)
        return self._members

    # Numbers

    def totals(self) -> _Totals:
        """The numbers of the queue."""
        if self._totals is None:
            ((row,),) = self.send(_READ_FLOW(queue_id=self.queue_id))
            grouped, served, start = row[3:6], row[6], row[7:9]
            self._totals = _Totals(
                row[:3],
                [total - its for total, its in zip(row[:3], grouped, strict=True)],
                served,
                None if start[0] is None else (start[0], start[1]),
            )
        return self._totals

    def running(self) -> int:
        """The number of the queue's jobs in progress."""
        return self.totals().jobs[RUNNING] + sum(changed[RUNNING] for changed in self.changed.values())

    def queue_room(self) -> int:
        """How many jobs the queue's own limits allow to claim."""
        limits = self.flow.limits
        room = gate_of(self.item(GATE, OF_QUEUE)).left(limits.rate, self.now)
        return room if limits.in_progress is None else max(0, min(room, limits.in_progress - self.running()))

    def room(self, group: LoadedGroup) -> int:
        """How many jobs of a group its limits, its gate and its order allow to claim now."""
        if group.name is None:
            return UNLIMITED
        if group.damaged or group.settings.paused or (self.holds_on_failure and group.number(FAILED)):
            return 0
        limits = group.settings.limits(self.flow)
        running = group.number(RUNNING)
        room = UNLIMITED if limits.in_progress is None else limits.in_progress - running
        room = max(0, min(room, group.gate.left(limits.rate, self.now)))
        if group.order is not GroupOrder.STRICT or not room:
            return room
        return 1 if self.head_is_ready(group) else 0

    @property
    def holds_on_failure(self) -> bool:
        """Whether failed jobs hold their groups."""
        flow = self.flow
        return flow.group_order is GroupOrder.STRICT and flow.group_on_failure is OnFailure.HOLD

    def available(self, group: LoadedGroup) -> int:
        """How many jobs of a group could be claimed without limits."""
        if group.order is GroupOrder.STRICT and group.name is not None:
            return int(self.head_is_ready(group))
        return group.number(READY)

    def head_is_ready(self, group: LoadedGroup) -> bool:
        """Whether the first unfinished job of a group is ready."""
        if group.number(RUNNING) or not group.number(READY):
            return False
        if group.name not in self._touched:
            return group.is_placed
        first = next(iter(group.ready), None)
        return first is not None and not any(rank < first for rank in self._delayed(group))

    def _delayed(self, group: LoadedGroup) -> Iterator[Rank]:
        """The ranks of the first delayed jobs of a group."""
        members = self.members().get(group.name, set())
        key = self.rows.item(GROUP, group.name or "")
        most = len(members) + 1
        (answer,) = self.send(_DELAYED_JOBS_OF_GROUP(queue_id=self.queue_id, key=key, most=most))
        yield from ((inv_prio + 1, arrival, uid) for uid, inv_prio, arrival in answer if uid not in self.jobs)
        for uid in members:
            job = self.jobs.get(uid)
            if job is not None and job.spec.rare.group == group.name and counted_in(job) == DELAYED:
                yield job.spec.rank

    # Gates, and the start of the jobs without a group

    def gates_over(self, now: int) -> list[str]:
        """The names of loaded gates that have no more effect."""
        over = [
            group.name
            for group in self.loaded.values()
            if group.name is not None
            and group.gate is not OPEN
            and group.gate.is_over(group.settings.limits(self.flow).rate, now)
        ]
        if (GATE, OF_QUEUE) in self._items and self.named.get((GATE, OF_QUEUE)) is not None:
            gate = gate_of(self.named[GATE, OF_QUEUE])
            over += [OF_QUEUE] if gate.is_over(self.flow.limits.rate, now) else []
        return over

    def ungrouped_start(self) -> RowRank | None:
        """Where the ready jobs without a group begin, if they were loaded and the start is known."""
        group = self.loaded.get(None)
        if group is None or self._totals is None or self._totals.start is None or not group.ready.has_begun:
            return None
        first = next(iter(group.ready), None)
        return _BACK if first is None else (first[0] - 1, first[1])

    # Queries

    def jobs_of(self, statement: NamedStatement, **values: "int | bytes | list[int]") -> list[Job]:
        """The jobs that a statement finds, as they are in the batch, without locking them."""
        answer = statement.execute(self.connection, queue_id=self.queue_id, **values).fetchall()
        return [self.job(row) for row in answer]

    def count(self, statement: NamedStatement, **values: "int | bytes | list[int]") -> int:
        """The number that a statement returns."""
        ((number,),) = statement.execute(self.connection, queue_id=self.queue_id, **values).fetchall()
        return int(number)

    def locked_jobs(self, statement: NamedStatement, **values: "int | bytes") -> list[tuple[Rank, Job]]:
        """The jobs that a statement finds and locks; in a batch that only reads it locks none."""
        made = statement(queue_id=self.queue_id, **values)
        (answer,) = self.send(made if self.locked else unlocked(made))
        return [(rank_in(row), self.job(row)) for row in answer]

    def job(self, row: Row) -> Job:
        """The job in a row, or as the batch has it; raises DamageFound."""
        uid, sealed, standing, place, *_ = row
        job = self.jobs.get(uid)
        if job is None:
            try:
                job = self.rows.job(self.queue(), uid, sealed, standing)
                check_place(job, place)
            except Damaged:
                raise DamageFound([SuspectJob(self.queue_id, self.queue(), uid, True)]) from None
            self.jobs[uid] = job
            if self._members is not None:
                self._members.setdefault(job.spec.rare.group, set()).add(uid)
        return job

    def send(self, *made: Statement) -> list[list[Row]]:
        return together(self.connection, *made)


def unlocked(made: Statement) -> Statement:
    """The statement without locks, for a batch that only reads."""
    return Statement(made.text.replace(" FOR UPDATE", ""), made.values)


def rank_in(row: Row) -> Rank:
    """The rank in the columns of a job."""
    return row[4] + 1, row[5], row[0]


def _row_rank(rank: Rank | None) -> RowRank:
    return NO_CLAIM_START if rank is None else (rank[0] - 1, rank[1])


def at_least(number: int) -> int:
    """How many to load at a time, if this many will be needed."""
    return max(LEAST, min(number, MOST))
