"""
Follows up the ends of jobs and batches: jobs that depend on them are released or fail, and retentions begin.

A transaction that ends an awaited job leaves a row in `ended`, see dependency_rows.py. A follow-up is a transaction of
its own, which begins when the end is committed. It locks the ended jobs together with the jobs that depend on them, so
that an ended job can't change again before its dependants are written. Other jobs on which these depend are only read,
and may change meanwhile: if they are complete, that counts at once, since it is never undone; the rest is left to their
own follow-ups. So if several jobs end at once, the last follow-up sees all the ends. The changes of a follow-up may
leave rows again, so a cascade goes level by level, and continues after a crash.

The server that has left the rows follows them up before it answers, if they are few; the sweepers do the rest.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final, LiteralString

from attrs import define, evolve, field, frozen
from psycopg import Connection

from ....core.batches import BATCH, Batch, batch_of, end_of_batch, is_to_change
from ....core.dependants import awaited_by, ended_now
from ....core.dependencies import MET, NOT_YET, UNMET, Awaited, batch_in
from ....core.model import FINISHED, Job
from ....core.places import Place
from ....core.required_rows import Needs
from ....core.tables import BatchChanged, DependencyEnded, FollowUp, NoLongerAwaited
from ....storage.errors import Damaged
from ..database.arrays import bigints, byteas, texts
from ..database.connection import together
from ..database.dependency_rows import (
    MARKS,
    Child,
    Parent,
    awaited_set,
    batch_key_in,
    counts_by_state,
    kept_for,
    parent_of,
)
from ..database.group_rows import FlowLock
from ..database.item_rows import Key, item_of, items_named
from ..database.pipeline import Row, Statement
from ..database.rows import Known, Rows, is_set_apart
from ..sql import named
from .begin import BEGIN, Now, now_of, queues_read, with_flows_locked
from .load import Redo, load_named
from .load_links import batches_counted
from .loaded import LoadedTables
from .queries import keys_locked
from .tables import LoadedTable

_ENDS: Final[Mapping[int, str]] = {int(Place.COMPLETE): MET, int(Place.FAILED): UNMET}
#: The most rows that are taken at a time, and the most jobs that are changed.
_ROWS, _JOBS = 1_000, 200
#: The most finished jobs of a batch whose retention begins at a time.
_RETENTIONS: Final = 1_000

_TAKE_ENDED: Final = named("take_ended")
_TAKE_OWN_ENDED: Final = named("take_own_ended")
_DELETE_ENDED: Final = named("delete_ended")
_SPREAD_ENDED: Final = named("spread_ended")
_READ_PARENTS: Final = named("read_parents")
_FIND_FOLLOWERS: Final = named("find_followers")
_READ_QUEUES_BY_NUMBER: Final = named("read_queues_by_number")
_LOCK_KEPT_JOBS: Final = named("lock_kept_jobs")
_BEGIN_RETENTION: Final = named("begin_retention")
_IS_RETENTION_TO_BEGIN: Final = named("is_retention_to_begin")


def taken(connection: "Connection[Row]", first: Sequence[Statement], own: Sequence[Parent] | None) -> list[Row]:
    """
    Begin a transaction, execute `first`, and take rows of ends to follow up: those of `own` or, with None, some that no
    other transaction has taken.
    """
    if own is None:
        take = _TAKE_ENDED(most=_ROWS)
    else:
        queues, keys = byteas([one[0] for one in own]), texts([one[1] for one in own])
        take = _TAKE_OWN_ENDED(parent_queues=queues, parent_keys=keys)
    return together(connection, Statement(BEGIN), *first, take)[-1]


@frozen
class _Stand:
    """The state of a job or batch on which others depend."""

    parent: Parent
    #: The number of the job's or batch's queue; None if the queue is gone.
    queue_id: int | None
    #: Three columns of a job; None if the job is gone, or for a batch. `place` is below 0 if the job is damaged.
    place: int | None
    awaited: int | None
    kept: int | None
    #: The record of a batch; None for a job.
    sealed: bytes | None
    #: Whether unfinished jobs depend on the job or batch.
    keeps: bool
    #: Whether any jobs depend on the job or batch.
    is_linked: bool

    @property
    def batch(self) -> bytes | None:
        """The key of a batch."""
        return batch_key_in(self.parent[1])

    @property
    def is_finished(self) -> bool:
        return self.place in (Place.COMPLETE, Place.FAILED)

    @property
    def is_sound(self) -> bool:
        """Whether the job exists and is not damaged."""
        return self.place is not None and not is_set_apart(self.place)

    @property
    def is_to_free(self) -> bool:
        """Whether the retention of a job is to begin."""
        return self.is_finished and self.awaited is not None and self.kept is not None and not self.keeps

    @property
    def is_to_mark(self) -> bool:
        """Whether a job's row still has to record that others depend on the job, or that its retention is put off."""
        lacks_mark = self.awaited is None and self.is_linked
        return self.is_sound and (lacks_mark or (self.is_finished and self.kept is None and self.keeps))

    @property
    def end(self) -> str | None:
        """Whether a dependency on this job is met: one of the characters of Standing.ended; None if unknown."""
        if self.place is None:
            return UNMET
        if is_set_apart(self.place):
            return None
        return _ENDS.get(self.place, NOT_YET)


@define
class FollowUps:
    """Loads what a follow-up needs, and decides which rules apply."""

    connection: "Connection[Row]"
    rows: Rows
    clock: LiteralString
    #: The rows that were taken.
    taken: Sequence[Row]
    #: The jobs and batches to follow up again: more jobs depend on each than one transaction changes, or it has changed
    #: meanwhile.
    left: dict[Parent, None] = field(factory=dict, init=False)
    #: The jobs and batches of deleted queues for which `_spread` has left new rows.
    spread: list[Parent] = field(factory=list, init=False)
    tables: LoadedTables = field(init=False)
    #: The batches that may have to end or to be resumed: queue number and key, with the name.
    _batches: dict[Key, str] = field(factory=dict, init=False)
    #: The jobs that may change because a job or batch that they wait for has ended.
    _children: list[Child] = field(factory=list, init=False)
    #: All locked jobs.
    _locked: set[Child] = field(factory=set, init=False)
    #: The queues and their tables, by number.
    _by_id: dict[int, tuple[Known, LoadedTable]] = field(factory=dict, init=False)

    def load(self) -> LoadedTables:
        """Load and lock the jobs and batches to change; raises Redo."""
        parents = self._spread()
        stands = self._read(parents)
        now = self._queues([one.queue_id for one in stands if one.queue_id is not None])
        found = self._find(stands, now)
        # A job is locked even if nothing seems to be left to do: its retention may be about to begin, or it may change.
        ours = [(one.queue_id, one.parent[1]) for one in stands if one.queue_id is not None and one.is_sound]
        named_ = {*found, *ours}
        now = self._with_queues(now, {child[0] for child in named_})
        now = with_flows_locked(self.connection, self.rows, self.clock, now, [*now.known], FlowLock.SHARED)
        now = evolve(now, known={name: evolve(one, due=False) for name, one in now.known.items()})
        self.tables = LoadedTables(now=now, planned=(), locked=True)
        self.tables.find_groups(self.connection, self.rows)
        self._by_id = {one.id: (one, self.tables.queues[name]) for name, one in now.known.items()}
        self._locked = {one for one in named_ if one[0] in self._by_id}
        self._lock(stands, sorted(self._locked))
        self._children = [child for child in found if child[0] in self._by_id]
        before, stands = stands, self._read(parents)
        # If the row of a job did not record yet that others depend on the job, and the job ended before the lock, it
        # has left no row in `ended`.
        self.left.update((one.parent, None) for was, one in zip(before, stands, strict=True) if was.end != one.end)
        self._mark(stands)
        self._load_others()
        self._load_batches(stands)
        followed = self._freed(stands)
        followed.setdefault(now.elapsed, []).extend([*self._changed_batches(), *self._changed_children()])
        self.tables.followed = followed
        return self.tables

    def statements(self) -> list[Statement]:
        """The statement that removes what was followed up."""
        done = [number for number, queue, key, _ in self.taken if (queue, key) not in self.left]
        return [_DELETE_ENDED(ids=bigints(done))] if done else []

    # The ends to follow up

    def _spread(self) -> list[Parent]:
        """The jobs and batches to follow up; rows of deleted queues are replaced by rows of their jobs and batches."""
        parents = dict.fromkeys((queue, key) for _, queue, key, _ in self.taken)
        gone = [queue for queue, key in parents if not key]
        if gone:
            (found,) = together(self.connection, _SPREAD_ENDED(parent_queues=byteas(gone)))
            self.spread = [(queue, key) for queue, key in found]
        return [one for one in parents if one[1]]

    def _read(self, parents: Sequence[Parent]) -> list[_Stand]:
        (found,) = together(
            self.connection,
            _READ_PARENTS(
                ns=bigints(range(len(parents))),
                parent_queues=byteas([one[0] for one in parents]),
                parent_keys=texts([one[1] for one in parents]),
                batches=byteas([batch_key_in(one[1]) for one in parents]),
            ),
        )
        return [_Stand(parents[row[0]], *row[1:]) for row in sorted(found, key=lambda row: row[0])]

    def _queues(self, numbers: Iterable[int], digests: Iterable[bytes] = ()) -> Now:
        read = _READ_QUEUES_BY_NUMBER.at(self.clock)(
            queue_ids=bigints(sorted({*numbers})), digests=byteas(sorted({*digests}))
        )
        return now_of(self.rows, together(self.connection, read)[0])

    def _with_queues(self, now: Now, numbers: set[int]) -> Now:
        missing = numbers - {one.id for one in now.known.values()}
        return evolve(now, known={**now.known, **self._queues(missing).known}) if missing else now

    def _find(self, stands: Sequence[_Stand], now: Now) -> list[Child]:
        """The jobs that the ends change."""
        ends = [(one.parent, self._end(one, now)) for one in stands]
        followed = [(parent, MARKS[end]) for parent, end in ends if end is not None]
        if not followed:
            return []
        (found,) = together(
            self.connection,
            _FIND_FOLLOWERS(
                parent_queues=byteas([parent[0] for parent, _ in followed]),
                parent_keys=texts([parent[1] for parent, _ in followed]),
                marks=texts([marks for _, marks in followed]),
                most=_JOBS,
            ),
        )
        if len(found) >= _JOBS:
            self.left.update((parent, None) for parent, _ in followed)
        return list(dict.fromkeys((queue_id, uid) for queue_id, uid in found))

    def _end(self, one: _Stand, now: Now) -> str | None:
        if one.batch is None:
            return one.end
        if one.queue_id is None or one.sealed is None:
            return UNMET
        try:
            return end_of_batch(self._batch(one, now)[1])
        except Damaged:
            return None

    def _batch(self, one: _Stand, now: Now) -> tuple[str, Batch]:
        """The name and value of a batch; raises Damaged."""
        queue = next((its.queue for its in now.known.values() if its.id == one.queue_id), None)
        if queue is None:
            raise Damaged("the queue of a batch is damaged")
        item = item_of(self.rows, queue, (one.queue_id, one.batch, one.sealed))
        if item.value is None:
            raise Damaged("a batch has no value")
        return item.name, batch_of(item.value)

    # Locking and loading

    def _lock(self, stands: Sequence[_Stand], jobs: Sequence[Child]) -> None:
        """Lock batches, then jobs, both sorted as all transactions sort them."""
        keys = sorted(
            (one.queue_id, one.batch)
            for one in stands
            if one.queue_id in self._by_id and one.queue_id is not None and one.batch is not None
        )
        if keys and len(together(self.connection, *keys_locked(keys))[1]) < len(keys):
            raise Redo
        load_named(self.connection, self.rows, self.tables, jobs, locks=True)

    def _mark(self, stands: Sequence[_Stand]) -> None:
        """Record, in the rows of awaited jobs, that other jobs depend on them."""
        found = dict[Child, int | None]()
        for one in stands:
            table = self._table(one)
            job = None if table is None else table.jobs.get(one.parent[1])
            if one.is_to_mark and table is not None and job is not None and one.queue_id is not None:
                table.awaited.add(one.parent[1])
                found[one.queue_id, one.parent[1]] = kept_for(job) if one.keeps else None
        if found:
            together(self.connection, *awaited_set(found))

    def _table(self, one: _Stand) -> LoadedTable | None:
        its = None if one.queue_id is None else self._by_id.get(one.queue_id)
        return None if its is None else its[1]

    def _load_others(self) -> None:
        """Load the jobs and batches on which the locked jobs depend, as they stand now."""
        awaited = {one for job in self._locked_children() for one in awaited_by(job)}
        names = {name for name, _ in awaited} - self.tables.queues.keys()
        if names:
            read = now_of(self.rows, together(self.connection, queues_read(self.rows, self.clock, sorted(names)))[0])
            for name, one in read.known.items():
                self.tables.now.known[name] = evolve(one, due=False)
                table = self.tables.queues[name] = LoadedTable(one.queue, self.tables.now.ahead)
                self._by_id[one.id] = (one, table)
        known = self.tables.now.known
        jobs = sorted((known[name].id, uid) for name, uid in awaited if name in known and batch_in(uid) is None)
        load_named(self.connection, self.rows, self.tables, jobs, locks=False)
        batches = {
            (known[name].id, self.rows.item(BATCH, batch)): (name, batch)
            for name, key in awaited
            if name in known and (batch := batch_in(key)) is not None
        }
        for answer in together(self.connection, *items_named(sorted(batches))) if batches else ():
            for row in answer:
                self._take_batch(self.tables.queues[batches[row[0], row[1]][0]], row)
        for name, table in self.tables.queues.items():
            table.of_jobs |= {(BATCH, batch) for its, batch in batches.values() if its == name}
            table.needs = Needs(uids=frozenset(table.jobs) | {uid for its, uid in awaited if its == name})

    def _take_batch(self, table: LoadedTable, row: Row) -> str | None:
        """Take a batch; returns its name, or None if it is damaged."""
        try:
            item = item_of(self.rows, table.queue, row)
        except Damaged:
            return None
        table.named[BATCH, item.name] = item.value
        table.of_jobs.add((BATCH, item.name))
        return item.name

    def _load_batches(self, stands: Sequence[_Stand]) -> None:
        """Load the batches that were locked, count their jobs, and let the retention of their jobs begin."""
        for one in stands:
            table, key = self._table(one), one.batch
            if table is None or key is None or one.queue_id is None:
                continue
            if one.sealed is None:
                # The batch was removed: the retention of its jobs begins when each has finished.
                self._begin_retention(one, key, 0)
                continue
            name = self._take_batch(table, (one.queue_id, key, one.sealed))
            text = None if name is None else table.named[BATCH, name]
            if name is None or text is None:
                continue
            self._batches[one.queue_id, key] = name
            ended = batch_of(text).ended
            if ended is not None:
                self._begin_retention(one, key, ended)
        for statement in batches_counted(sorted(self._batches)):
            self._take_counts(together(self.connection, statement)[0])

    def _begin_retention(self, one: _Stand, key: bytes, ended: int) -> None:
        """Set deadlines of finished jobs of a batch that has ended."""
        which: dict[str, int | bytes] = {"queue_id": one.queue_id or 0, "batch": key, "parent_queue": one.parent[0]}
        (locked,) = together(self.connection, _LOCK_KEPT_JOBS(**which, most=_RETENTIONS))
        begun = _BEGIN_RETENTION(**which, uids=texts([uid for (uid,) in locked]), ended=ended)
        if together(self.connection, begun, _IS_RETENTION_TO_BEGIN(**which))[1]:
            self.left[one.parent] = None

    def _take_counts(self, answer: Sequence[Row]) -> None:
        places: dict[Key, list[tuple[int, int]]] = {}
        for queue_id, key, place, jobs in answer:
            places.setdefault((queue_id, key), []).append((place, jobs))
        for key, name in self._batches.items():
            _, table = self._by_id[key[0]]
            table.batch_jobs[name] = counts_by_state(places.get(key, ()))

    # What follows

    def _locked_children(self) -> list[Job]:
        found = [self._by_id[queue_id][1].jobs.get(uid) for queue_id, uid in self._children]
        return [job for job in found if job is not None]

    def _changed_batches(self) -> list[tuple[str, FollowUp]]:
        found: list[tuple[str, FollowUp]] = []
        for (queue_id, _), name in self._batches.items():
            _, table = self._by_id[queue_id]
            table.needs = Needs(uids=table.needs.uids, counted_batches=table.needs.counted_batches | {name})
            text = table.named[BATCH, name]
            if text is not None and is_to_change(batch_of(text), table.batch_counts(name)):
                found.append((table.queue.name, BatchChanged(name)))
        return found

    def _freed(self, stands: Sequence[_Stand]) -> dict[int, list[tuple[str, FollowUp]]]:
        """The finished jobs on which no unfinished job depends any more, by the time at which the last one ended."""
        now = self.tables.now.elapsed
        since = {(queue, key): now if at is None else min(at, now) for _, queue, key, at in self.taken}
        found: dict[int, list[tuple[str, FollowUp]]] = {}
        for one in stands:
            table, uid = self._table(one), one.parent[1]
            if table is None or not one.is_to_free or (one.queue_id, uid) not in self._locked:
                continue
            job = table.jobs.get(uid)
            if job is not None and job.state in FINISHED:
                # The job stays awaited as long as its retry may still change other jobs.
                if not one.is_linked:
                    table.awaited.discard(uid)
                table.freed.add(uid)
                found.setdefault(since[one.parent], []).append((table.queue.name, NoLongerAwaited(uid)))
        return found

    def _changed_children(self) -> list[tuple[str, FollowUp]]:
        found: list[tuple[str, FollowUp]] = []
        parents = {(queue, key) for _, queue, key, _ in self.taken}
        for queue_id, uid in self._children:
            _, table = self._by_id[queue_id]
            job = table.jobs.get(uid)
            if job is None or not awaited_by(job) or any(map(self._is_damaged, awaited_by(job))):
                continue
            ended = self._ended(job, parents)
            if ended != job.standing.ended:
                found.append((table.queue.name, DependencyEnded(uid, ended)))
        return found

    def _ended(self, job: Job, parents: Collection[Parent]) -> str:
        """The new value of a job's Standing.ended. Dependencies that are not among `parents` may only become MET."""
        old, new, dependencies = job.standing.ended, ended_now(job, self.tables), job.spec.rare.dependencies
        if new == old or dependencies is None:
            return new
        return "".join(
            now if now in (was, MET) or parent_of(self.rows, awaited) in parents else was
            for awaited, was, now in zip(dependencies.on, old, new, strict=True)
        )

    def _is_damaged(self, awaited: Awaited) -> bool:
        """Whether a job's state is unknown; the jobs that depend on it wait until it is restored or deleted."""
        table = self.tables.queues.get(awaited[0])
        return table is not None and awaited[1] in table.damaged
