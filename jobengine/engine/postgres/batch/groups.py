"""
The groups of a queue with flow in a batch: those that its commands need are loaded when a rule reads them.

A batch that claims locks the queue's claims, so no other batch can use up a limit or a rate before its commit.
Changes by its own commands are kept here, on top of the loaded rows.
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
    OF_QUEUE,
    OPEN,
    UNLIMITED,
    Flow,
    GroupOrder,
    OnFailure,
    gate_of,
    settings_of,
)
from ....core.model import SECOND, Job, Queue, Rank
from ....storage.errors import Damaged
from ..database.arrays import byteas, texts
from ..database.connection import together
from ..database.group_rows import DELAYED, FAILED, READY, RUNNING, GroupChanges, GroupRow, counted_in, group_of
from ..database.item_rows import item_of, items_named
from ..database.known_damage import DamageFound, SuspectJob
from ..database.pipeline import Row, Statement
from ..database.rows import NO_CLAIM_START, RowRank, Rows, check_place
from ..sql import NamedStatement, named
from .begin import Now
from .loaded_group import LoadedGroup, QueueTotals, totals_of
from .ordered import Loading

#: The least and the most jobs that are loaded at a time.
LEAST, MOST = 2, 256
#: A position after every job.
_BACK: Final[RowRank] = (1 << 62, 1 << 62)

_READ_FLOW: Final = named("read_flow")
_READ_GROUPS: Final = named("read_groups")
_READY_JOBS_OF_GROUP: Final = named("ready_jobs_of_group")
_READY_JOBS_WITHOUT_GROUP: Final = named("ready_jobs_without_group")
_DELAYED_JOBS_OF_GROUP: Final = named("delayed_jobs_of_group")
_LOCK_READY_JOBS: Final = named("lock_ready_jobs")


@define(kw_only=True, eq=False)
class LoadedGroups:
    """The groups of one queue."""

    connection: "Connection[Row]"
    rows: Rows
    queue_id: int
    #: The queue as it is now.
    queue: Callable[[], Queue]
    #: LoadedTable.jobs and LoadedTable.named: the loaded jobs and named things.
    jobs: dict[str, Job]
    named: dict[tuple[str, str], str | None]
    #: Whether the batch has locked the queue: then the loaded jobs are locked too.
    locked: bool
    #: The time of the batch.
    time: Callable[[], Now]
    loaded: dict[str | None, LoadedGroup] = field(factory=dict, init=False)
    changes: GroupChanges = field(init=False)
    #: Kind and name of each named thing that was read or set, and the names of groups with neither settings nor a gate.
    _items: set[tuple[str, str] | str] = field(factory=set, init=False)
    _totals: QueueTotals | None = field(default=None, init=False)
    #: The rows of locked jobs; each is decrypted when it is needed.
    _sealed: dict[str, Row] = field(factory=dict, init=False)
    #: The group key of each ready job that is not locked yet, by the job's uid.
    unlocked: dict[str, bytes] = field(factory=dict, init=False)
    #: The uids, by group, of jobs that were changed, or loaded for other commands; None until a claim needs them.
    _members: dict[str | None, set[str]] | None = field(default=None, init=False)
    #: The number of the last turn; 0 until a claim needs it.
    turn: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self.changes = GroupChanges(self.rows, self.queue_id, self.queue())

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

    def forget(self) -> None:
        """Forget all groups: they refer to this object, and would be left to the garbage collector."""
        self.loaded.clear()

    # Changes by the batch's commands

    def change(self, old: Job | None, new: Job | None) -> None:
        """Record a change of a job that was applied."""
        was, now = self.changes.change(old, new)
        if self.turn and was == READY and now == RUNNING and new is not None:
            self.turn += 1
            self.changes.of(new.spec.rare.group).served = self.turn
        if old is not None and was == READY and (group := self.loaded.get(old.spec.rare.group)) is not None:
            group.ready.discard(old.spec.rank)
        if new is not None and (self.loaded or self._members is not None):
            self._enter(new, now)

    def _enter(self, job: Job, counted: int | None) -> None:
        name = job.spec.rare.group
        if self._members is not None:
            self._members.setdefault(name, set()).add(job.spec.uid)
        if (group := self.loaded.get(name)) is not None:
            group.served = group.delta.served or group.served
            if counted == READY:
                group.ready.add(job.spec.rank)

    def set_item(self, kind: str, name: str, value: str | None) -> None:
        """Record the new value of a named thing."""
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
        group = self.loaded.get(name) if name else None
        if self._items.isdisjoint((key, name)) and (group is None or group.damaged):
            self._items.add(key)
            answers = self.send(*items_named([(self.queue_id, self.rows.item(kind, name))]))
            for row in answers[0]:
                self._take_item(key, row)
        if key not in self.named:
            return None
        value = self.named[key]
        if value is None:
            raise ItemDamaged(kind, name)
        return value

    def _take_item(self, key: tuple[str, str], row: Row) -> None:
        try:
            self.named[key] = item_of(self.rows, self.queue(), row).value
        except Damaged:
            self.named[key] = None

    # Groups

    def group(self, name: str) -> LoadedGroup:
        """A group by its name; an empty group if the database has none."""
        if name not in self.loaded:
            self.load_named([name])
        return self.loaded[name]

    def load_named(self, names: Sequence[str]) -> None:
        """Load groups by their names."""
        missing = {self.rows.group(name): name for name in names if name not in self.loaded}
        if not missing:
            return
        (answer,) = self.send(_READ_GROUPS(queue_id=self.queue_id, keys=byteas(sorted(missing))))
        for row in answer:
            name = missing.pop(row[0])
            self.take(group_of(self.rows, self.queue(), row, name))
        for name in missing.values():
            self.take(GroupRow(b"", name, 0, 0, 0, 0, 0, -1, None, None, None, damaged=False))

    def ungrouped(self) -> LoadedGroup:
        """All jobs without a group."""
        if None not in self.loaded:
            totals, delta = self.totals(), self.changes.of(None)
            self.loaded[None] = LoadedGroup(
                name=None,
                order=self.flow.group_order,
                base=[*totals.ungrouped, 0],
                delta=delta,
                served=delta.served or totals.served,
                ready=self._ready_of(None),
            )
        return self.loaded[None]

    def changed_names(self) -> list[str]:
        """The names of groups that the batch has changed."""
        return [name for name, delta in self.changes.deltas.items() if name is not None and delta.is_touched]

    def load_changed(self) -> None:
        """Load the groups that the batch has changed: their places in the database may be wrong now."""
        self.load_named(self.changed_names())

    def take_new(self, row: GroupRow) -> LoadedGroup:
        """The group in a row; a group that was loaded before stays as it is."""
        return self.loaded.get(row.name) or self.take(row)

    def take(self, row: GroupRow) -> LoadedGroup:
        """Keep a group as the database has it; the batch's own changes come on top."""
        place = None if row.place is None else (row.place[0], row.place[3])
        group = self.make(row.name, [row.ready, row.delayed, row.running, row.failed], row.served, row.rev, place)
        group.damaged = row.damaged
        if not row.damaged and (self.named or row.settings is not None or row.gate is not None):
            self._take_items(group, row)
        return group

    def make(self, name: str, base: Sequence[int], served: int, rev: int, place: RowRank | None) -> LoadedGroup:
        """Keep a group without settings and gate; see `take`."""
        delta = self.changes.of(name)
        delta.read(rev, place)
        group = self.loaded[name] = LoadedGroup(
            name=name,
            order=self.flow.group_order,
            base=base,
            delta=delta,
            served=delta.served or served,
            ready=self._ready_of(name),
            is_placed=place is not None,
        )
        return group

    def take_without_items(self, names: Sequence[str]) -> None:
        """Record that groups have neither settings nor a gate."""
        self._items.update(names)

    def _take_items(self, group: LoadedGroup, row: GroupRow) -> None:
        settings, gate = (GROUP, row.name), (GATE, row.name)
        if row.settings is not None and settings not in self._items:
            self.named[settings] = row.settings
        if row.gate is not None and gate not in self._items:
            self.named[gate] = row.gate
        if settings in self.named:
            group.settings = settings_of(self.named[settings])
        if gate in self.named:
            group.gate = gate_of(self.named[gate])

    def _load_ready(self, name: str | None, last: Rank | None) -> tuple[Sequence[Rank], Rank | None]:
        if name is None:
            return self._load_ungrouped(last)
        group, (inv_prio, arrival) = self.loaded[name], _row_rank(last)
        most = at_least(4 * len(group.ready.values))
        key = self.rows.group(name)
        found = self._locked_ranks(_READY_JOBS_OF_GROUP, key=key, inv_prio=inv_prio, arrival=arrival, most=most)
        self.lock_strict([(group, found)])
        return self.rank_list(found, most)

    def _ready_of(self, name: str | None) -> Loading[Rank]:
        """The ready jobs of a group: those that are loaded, and the others when they are needed."""
        ready = Loading(self._load_ready, name)
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
            # The job at the start may be ready itself.
            inv_prio, arrival = start[0], start[1] - 1
        most = at_least(4 * len(self.ungrouped().ready.values))
        found = self._locked_ranks(_READY_JOBS_WITHOUT_GROUP, inv_prio=inv_prio, arrival=arrival, most=most)
        return self.rank_list(found, most)

    def rank_list(self, found: Sequence[Rank], most: int) -> tuple[Sequence[Rank], Rank | None]:
        """The arguments of Loading.take: the ranks that may be claimed, and the last one, or None if no more follow."""
        ranks = [rank for rank in found if self.may_claim(rank)]
        return ranks, found[-1] if len(found) >= most else None

    def lock_strict(self, found: Sequence[tuple[LoadedGroup, Sequence[Rank]]]) -> None:
        """Lock loaded jobs of groups in strict order, and mark the groups of which others have locked a job."""
        if self.flow.group_order is not GroupOrder.STRICT or not self.locked:
            return
        groups = {rank[2]: group for group, ranks in found for rank in ranks if rank[2] not in self.jobs}
        sound = self.lock_ready([*groups])
        for uid, group in groups.items():
            group.is_locked |= uid not in sound

    def lock_ready(self, uids: Sequence[str]) -> frozenset[str]:
        """Lock the jobs that no other transaction has locked; returns those of them that are still ready."""
        if not uids:
            return frozenset()
        (answer,) = self.send(_LOCK_READY_JOBS(queue_id=self.queue_id, uids=texts(sorted(uids))))
        return frozenset(uid for (uid,) in answer)

    def may_claim(self, rank: Rank) -> bool:
        """Whether a job that the database has as ready may still be claimable; true for a job that is not loaded."""
        job = self.jobs.get(rank[2])
        return job is None or (job.ready and job.spec.rank == rank)

    def claimable(self, rank: Rank) -> Job | None:
        """The job with this rank, if it is ready and its timeout_time has not passed."""
        job = self.jobs.get(rank[2])
        if job is None:
            job = self._read(rank)
        if job is None or not job.ready or job.spec.rank != rank:
            return None
        return None if 0 < job.spec.timeout_time * SECOND <= self.wall else job

    def _read(self, rank: Rank) -> Job | None:
        """The job with this rank, locked first if it is not yet; None if others have locked it."""
        inv_prio, arrival, uid = rank
        key = self.unlocked.pop(uid, None)
        if key is not None:
            before = {"inv_prio": inv_prio - 1, "arrival": arrival - 1}
            self._locked_ranks(_READY_JOBS_OF_GROUP, key=key, **before, most=LEAST)
        row = self._sealed.pop(uid, None)
        return None if row is None else self.job(row)

    def members(self) -> Mapping[str | None, set[str]]:
        """By group, the uids of the jobs that other commands have loaded or changed."""
        if self._members is None:
            self._members = {}
            for uid, job in self.jobs.items():
                self._members.setdefault(job.spec.rare.group, set()).add(uid)
        return self._members

    # Numbers

    def totals(self) -> QueueTotals:
        """The queue's totals."""
        if self._totals is None:
            self.take_totals(*self.send(self.totals_read()))
        assert self._totals is not None
        return self._totals

    def totals_read(self) -> Statement:
        """The statement that reads the queue's totals."""
        return _READ_FLOW(queue_id=self.queue_id, gate=self.rows.item(GATE, OF_QUEUE))

    def take_totals(self, answer: Sequence[Row]) -> None:
        """Keep the queue's totals, and its gate."""
        self._totals = totals_of(*answer)
        if (GATE, OF_QUEUE) not in self._items:
            self._items.add((GATE, OF_QUEUE))
            if self._totals.gate is not None:
                self._take_item((GATE, OF_QUEUE), (self.queue_id, self.rows.item(GATE, OF_QUEUE), self._totals.gate))

    def running(self) -> int:
        """The number of the queue's jobs in progress."""
        return self.totals().jobs[RUNNING] + sum(delta.counts[RUNNING] for delta in self.changes.deltas.values())

    def queue_room(self) -> int:
        """How many jobs the queue's own limits allow to claim."""
        limits = self.flow.limits
        room = gate_of(self.item(GATE, OF_QUEUE)).left(limits.rate, self.now)
        return room if limits.in_progress is None else max(0, min(room, limits.in_progress - self.running()))

    def room(self, group: LoadedGroup) -> int:
        """How many jobs of a group its limits, its gate and its order allow to claim now."""
        if group.name is None:
            return UNLIMITED
        if group.damaged or group.is_locked or group.settings.paused:
            return 0
        limits = group.settings.limits(self.flow)
        room = UNLIMITED if limits.in_progress is None else limits.in_progress - group.number(RUNNING)
        if group.gate is not OPEN:
            room = min(room, group.gate.left(limits.rate, self.now))
        elif limits.rate is not None:
            room = min(room, limits.rate.count)
        if room <= 0:
            return 0
        return room if group.order is not GroupOrder.STRICT else self._room_in_order(group)

    def _room_in_order(self, group: LoadedGroup) -> int:
        if self.holds_on_failure and group.number(FAILED):
            return 0
        return int(self.head_is_ready(group))

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
        if not group.delta.is_touched:
            return group.is_placed
        first = next(iter(group.ready), None)
        return first is not None and not any(rank < first for rank in self._delayed(group))

    def _delayed(self, group: LoadedGroup) -> Iterator[Rank]:
        """The ranks of the first delayed jobs of a group."""
        members = self.members().get(group.name, set())
        key = self.rows.group(group.name or "")
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
        return [self.job(row) for row in statement.execute(self.connection, queue_id=self.queue_id, **values)]

    def count(self, statement: NamedStatement, **values: "int | bytes | list[int]") -> int:
        """The number that a statement returns."""
        ((number,),) = statement.execute(self.connection, queue_id=self.queue_id, **values).fetchall()
        return int(number)

    def _locked_ranks(self, statement: NamedStatement, **values: "int | bytes") -> list[Rank]:
        """The ranks of the jobs that a statement finds and locks."""
        made = statement(queue_id=self.queue_id, **values)
        (answer,) = self.send(made if self.locked and statement is _READY_JOBS_WITHOUT_GROUP else self.locking(made))
        return [self.keep(row) for row in answer]

    def locking(self, made: Statement) -> Statement:
        """
        The statement, without its locks if the batch only reads. In strict order it has no locks either, since it would
        skip jobs that others have locked: `lock_strict` locks the jobs later.
        """
        return made if self.locked and self.flow.group_order is not GroupOrder.STRICT else unlocked(made)

    def keep(self, row: Row) -> Rank:
        """Keep the row of a ready job until the job is needed, see `job`; returns its rank."""
        uid, _, _, _, inv_prio, arrival = row[-6:]
        if uid not in self.jobs:
            self._sealed[uid] = row
        return inv_prio + 1, arrival, uid

    def job(self, row: Row) -> Job:
        """The job in the last six columns of a row, or the loaded job if the batch has it; raises DamageFound."""
        uid, sealed, standing, place, _, _ = row[-6:]
        job = self.jobs.get(uid)
        if job is None:
            try:
                job = self.rows.job(self.queue(), uid, sealed, standing)
                check_place(job, place)
            except Damaged:
                raise DamageFound([SuspectJob(self.queue_id, self.queue(), uid, True)]) from None
            self.jobs[uid] = job
        return job

    def send(self, *made: Statement) -> list[list[Row]]:
        return together(self.connection, *made)


def unlocked(made: Statement) -> Statement:
    """The statement without locks, for a batch that only reads."""
    return Statement(made.text.replace(" FOR UPDATE SKIP LOCKED", ""), made.values)


def _row_rank(rank: Rank | None) -> RowRank:
    return NO_CLAIM_START if rank is None else (rank[0] - 1, rank[1])


def at_least(number: int) -> int:
    """How many jobs to load at a time, if this many are likely to be needed."""
    return max(LEAST, min(number, MOST))
