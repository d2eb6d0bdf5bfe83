"""Loads the dependencies and batches of jobs that the commands of a transaction need."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby
from typing import Final

from attrs import define, field
from psycopg import Connection

from ....core.batches import BATCH
from ....core.dependencies import Awaited
from ....core.model import Job
from ....core.required_rows import Needs
from ....core.schedules import SCHEDULE, scheduled_by
from ....core.values import Value
from ....storage.errors import Damaged
from ..database.arrays import bigints, byteas, texts
from ..database.connection import together
from ..database.dependency_rows import counts_by_state, parent_of
from ..database.item_rows import Key, item_of, items_named
from ..database.pipeline import Row, Statement
from ..database.rows import Rows
from ..sql import named
from .dead_letters import is_to_move
from .loaded import LoadedTables
from .plan import PlannedPart
from .tables import LoadedTable

_COUNT_BATCHES: Final = named("count_batches")
_COUNT_ALL_BATCHES: Final = named("count_all_batches")
_COUNT_ITEMS: Final = named("count_items")
_MAKE_KEYS: Final = named("make_keys")
_LOCK_FREE_KEYS: Final = named("lock_free_keys")
_DEPENDANTS_OF: Final = named("dependants_of")
_AWAITED_AMONG: Final = named("awaited_among")
#: The first columns of a count: queue number and key.
_Place = tuple[int, bytes]


class KeysWanted(Exception):
    """A batch needs named things whose keys it has not locked: repeat it, with these keys to lock before its jobs."""

    def __init__(self, keys: Sequence[Key]) -> None:
        super().__init__("keys of named things")
        self.keys = keys


class Query(Value, frozen=True, gc=True):
    """A statement, and the function that takes its rows."""

    statement: Statement
    take: Callable[[list[Row]], None]


@define
class LinkLoading:
    """Fills the tables of one batch with batches and dependencies."""

    connection: "Connection[Row]"
    rows: Rows
    tables: LoadedTables
    #: The tables by the numbers of their queues.
    by_id: Mapping[int, LoadedTable]
    #: The uids of the jobs that are searched for circles of dependencies, by queue.
    _named: dict[str, set[str]] = field(factory=dict, init=False)
    #: Those of the uids in `_named` for which other jobs wait, by queue.
    _awaited: dict[str, set[str]] = field(factory=dict, init=False)

    def prepare(self, parts: Iterable[PlannedPart]) -> None:
        """Let rules find the jobs that wait for others."""
        for part in parts:
            if part.needs.dependants:
                self.tables.queues[part.command.queue].find_dependants = self._dependants
                self._named.setdefault(part.command.queue, set()).update(filter(may_be_there, part.needs.uids))

    def queries(self, parts: Sequence[PlannedPart]) -> list[Query]:
        """The queries for the counts that commands need, once the keys of batches are locked."""
        parts = [part for part in parts if _counts(part.needs)]
        if not parts:
            return []
        names = [(part, name) for part in parts for name in part.needs.counted_batches]
        named_ = sorted((self._id(part), self.rows.item(BATCH, name)) for part, name in names)
        digests = {self.rows.item(BATCH, name): name for _, name in names}
        of_all = sorted({self._id(part) for part in parts if part.needs.counts_batches})
        kinds = {
            (self._id(part), self.rows.kind(kind)): (self.tables.queues[part.command.queue], kind)
            for part in parts
            for kind in part.needs.numbers
        }
        found = [Query(one, partial(self._take_counts, digests)) for one in batches_counted(named_)]
        if of_all:
            found.append(Query(_COUNT_ALL_BATCHES(queue_ids=bigints(of_all)), self._take_all_counts))
        if kinds:
            ids, keys = zip(*sorted(kinds), strict=True)
            statement = _COUNT_ITEMS(queue_ids=bigints(ids), kinds=byteas(keys))
            found.append(Query(statement, partial(self._take_numbers, kinds)))
        return found

    def load_batches(self, parts: Sequence[PlannedPart]) -> None:
        """
        Load the batches of those loaded jobs that a command may remove or that may expire, and the schedules of jobs
        that are moved.

        Raises KeysWanted if others have locked the key of one of these: waiting for the key now could cause a deadlock.
        """
        is_any_due = self.tables.now.is_any_due
        wanted = [self.tables.queues[part.command.queue] for part in parts if part.needs.batches]
        found = self._missing([*self.by_id.values()] if is_any_due else wanted, _batch_of)
        found |= self._schedules(parts)
        if not found:
            return
        missing = dict(sorted(found.items()))
        if self.tables.locked and len(self._locked(missing)) < len(missing):
            raise KeysWanted([*missing])
        self._load(missing)

    def load_for_due(self) -> None:
        """
        Load the batches of due jobs, and the schedules of due jobs that move into dead-letter queues. If another
        transaction has locked a batch or schedule, its jobs are left for later.
        """
        missing = self._missing(self.by_id.values(), _changed_with)
        if not missing:
            return
        locked = self._locked(missing)
        for (queue_id, key), thing in missing.items():
            table = self.by_id[queue_id]
            if (queue_id, key) not in locked:
                for uid in [uid for uid, job in table.jobs.items() if _changed_with(job) == thing]:
                    del table.jobs[uid]
        self._load({key: thing for key, thing in missing.items() if key in locked})

    def _missing(
        self, tables: Iterable[LoadedTable], find: Callable[[Job], tuple[str, str] | None]
    ) -> dict[Key, tuple[str, str]]:
        """The named things of loaded jobs that are not loaded, by key, in the order of locks."""
        found = {
            (self.tables.now.known[table.queue.name].id, self.rows.item(*thing)): thing
            for table in tables
            for thing in {find(job) for job in table.jobs.values()}
            if thing is not None and thing not in table.of_jobs
        }
        return dict(sorted(found.items()))

    def _schedules(self, parts: Sequence[PlannedPart]) -> dict[Key, tuple[str, str]]:
        """The schedules to load, by key, of a queue to which jobs are moved."""
        found = dict[Key, tuple[str, str]]()
        for part in parts:
            source = self.tables.queues.get(part.needs.schedules_of or "")
            if source is not None:
                jobs = source.jobs
                things = {_schedule_of(jobs[uid]) for uid in part.needs.uids & jobs.keys()}
                missing = things - {None} - self.tables.queues[part.command.queue].of_jobs
                found |= {(self._id(part), self.rows.item(*thing)): thing for thing in missing if thing is not None}
        return found

    def _locked(self, keys: Iterable[Key]) -> set[_Place]:
        """Lock the keys that no other transaction has locked; returns these."""
        ids, digests = zip(*keys, strict=True)
        columns = {"queue_ids": bigints(ids), "keys": byteas(digests)}
        _, answer = together(self.connection, _MAKE_KEYS(**columns), _LOCK_FREE_KEYS(**columns))
        return {(queue_id, key) for queue_id, key in answer}

    def _load(self, missing: Mapping[Key, tuple[str, str]]) -> None:
        for (queue_id, _), thing in missing.items():
            self.by_id[queue_id].of_jobs.add(thing)
        for answer in together(self.connection, *items_named([*missing])) if missing else ():
            for row in answer:
                self._take(row, missing[row[0], row[1]])

    def _take(self, row: Row, thing: tuple[str, str]) -> None:
        """Take the row of a named thing, as the database has it."""
        table = self.by_id[row[0]]
        try:
            table.named.setdefault(thing, item_of(self.rows, table.queue, row).value)
        except Damaged:
            table.named[thing] = None

    def _take_counts(self, names: Mapping[bytes, str], answer: list[Row]) -> None:
        for queue_id, key, places in _by_batch(answer):
            self.by_id[queue_id].batch_jobs[names[key]] = counts_by_state(places)

    def _take_all_counts(self, answer: list[Row]) -> None:
        counts = {(queue_id, key): places for queue_id, key, places in _by_batch(answer)}
        for queue_id, table in self.by_id.items():
            for kind, name in table.named:
                places = counts.get((queue_id, self.rows.item(BATCH, name))) if kind == BATCH else None
                if places is not None:
                    table.batch_jobs[name] = counts_by_state(places)

    def _take_numbers(self, kinds: Mapping[Key, tuple[LoadedTable, str]], answer: list[Row]) -> None:
        for queue_id, key, number in answer:
            table, kind = kinds[queue_id, key]
            table.numbers[kind] = number

    def _dependants(self, awaited: Awaited, most: int) -> Sequence[tuple[str, str, str | None]]:
        name, uid = awaited
        if uid in self._named.get(name, ()) and uid not in self._awaited_among(name):
            return ()
        parent_queue, parent_key = parent_of(self.rows, awaited)
        statement = _DEPENDANTS_OF(parent_queue=parent_queue, parent_key=parent_key, most=most)
        (answer,) = together(self.connection, statement)
        return [*self._found(answer)]

    def _awaited_among(self, name: str) -> set[str]:
        """The uids, among those in `_named`, of jobs for which others wait; one query for all, since few have any."""
        if name not in self._awaited:
            keys = texts(sorted(self._named[name]))
            (answer,) = together(self.connection, _AWAITED_AMONG(parent_queue=self.rows.name(name), parent_keys=keys))
            self._awaited[name] = {uid for (uid,) in answer}
        return self._awaited[name]

    def _found(self, answer: Iterable[Row]) -> Iterator[tuple[str, str, str | None]]:
        for number, rev, digest, sealed_queue, uid, sealed, standing, has_batch in answer:
            try:
                queue = self.rows.queue(number, rev, digest, sealed_queue)
                batch = self.rows.job(queue, uid, sealed, standing).spec.rare.batch if has_batch else None
            except Damaged:
                continue
            yield queue.name, uid, batch

    def _id(self, part: PlannedPart) -> int:
        return self.tables.now.known[part.command.queue].id


def _counts(needs: Needs) -> bool:
    return bool(needs.counted_batches or needs.counts_batches or needs.numbers)


def _batch_of(job: Job) -> tuple[str, str] | None:
    name = job.spec.rare.batch
    return None if name is None else (BATCH, name)


def _changed_with(job: Job) -> tuple[str, str] | None:
    """The named thing that may change if a due job is removed or moved."""
    schedule = _schedule_of(job) if is_to_move(job) else None
    return _batch_of(job) if schedule is None else schedule


def _schedule_of(job: Job) -> tuple[str, str] | None:
    by = scheduled_by(job.spec.rare.context.meta)
    return None if by is None else (SCHEDULE, by.name)


def may_be_there(uid: str) -> bool:
    """Whether a job can have this uid. All uids are UUIDs; other texts may cause errors in PostgreSQL."""
    return len(uid) == 36 and uid.isascii() and uid.isprintable()


def batches_counted(keys: Sequence[Key]) -> list[Statement]:
    """The statement that counts the jobs of batches by place."""
    if not keys:
        return []
    ids, digests = bigints([one[0] for one in keys]), byteas([one[1] for one in keys])
    return [_COUNT_BATCHES(queue_ids=ids, batches=digests)]


def _by_batch(answer: Iterable[Row]) -> Iterator[tuple[int, bytes, list[tuple[int, int]]]]:
    """The number of jobs by place, for each batch."""
    for (queue_id, key), rows in groupby(sorted(answer), lambda row: row[:2]):
        yield queue_id, key, [(place, jobs) for _, _, place, jobs in rows]
