"""Loads what a batch needs from the database, as tables on which the rules can decide."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, LiteralString

from attrs import define, field, frozen
from psycopg import Connection

from ...core import commands as c
from ...core.facts import ClockSet, Fact, JobAdded, QueueCreated
from ...core.model import Job, Position, QueueCounts, Rank, State
from ...core.needs import Needs, NotLoaded, PartialTable, PartialTables
from ...core.queue_table import Place
from ...core.sorting import Sort
from ...core.state import Tables
from .arrays import Array, bigints, byteas, texts
from .asked import Asked, Part, Task, asked, changes_jobs
from .beginning import Now, now_of, queues_read
from .connection import Row, Statement, together
from .pages import PageRows, find_page
from .profile import Profile
from .rows import PLACES, Known, Rows

__all__ = ["Loaded", "Redo", "begin_and_load", "load", "load_due"]

#: Bytes of contents that are loaded for all claims with the same queue and tags; the rules hand out no more.
_CLAIMED_BYTES: Final = 16 << 20
#: How many priorities are looked at for the oldest job; see QueueTable.oldest_ready.
_PRIORITIES: Final = 100

_DUE: Final[LiteralString] = (
    "SELECT queue_id, uid, sealed, said FROM job WHERE queue_id = %s AND {due} <= %s ORDER BY {due} LIMIT %s "
    "FOR UPDATE SKIP LOCKED"
)
_NAMED: Final[LiteralString] = (
    "SELECT j.queue_id, j.uid, j.sealed, j.said FROM ({which}) w JOIN job j USING (queue_id, uid) "
    "ORDER BY j.queue_id, j.uid"
)
_BY_UID: Final[LiteralString] = "SELECT * FROM unnest(%s::bigint[], %s::text[]) AS u (queue_id, uid)"
_BY_KEY: Final[LiteralString] = (
    "SELECT j.queue_id, j.uid FROM unnest(%s::bigint[], %s::bytea[]) AS k (queue_id, unique_key) "
    "JOIN job j USING (queue_id, unique_key)"
)
_UNION: Final[LiteralString] = " UNION "
#: Whoever adds jobs to a queue with a limit locks this as a unique key; the keys of jobs are never empty. The queue's
#: row will not do: with events it is locked last, after the jobs.
_LIMIT: Final = b""
#: Makes the rows that are locked next.
_KEYS: Final[LiteralString] = (
    "INSERT INTO unique_key SELECT * FROM unnest(%s::bigint[], %s::bytea[]) ORDER BY 1, 2 ON CONFLICT DO NOTHING"
)
_LOCK_KEYS: Final[LiteralString] = (
    "SELECT 1 FROM unnest(%s::bigint[], %s::bytea[]) AS w (queue_id, key) JOIN unique_key k USING (queue_id, key) "
    "ORDER BY k.queue_id, k.key FOR UPDATE OF k"
)
#: A job whose time has come is not ready any more, even if that is not written yet. A row of NULLs: jobs are ready, but
#: others have locked them all.
_CLAIM: Final[LiteralString] = (
    "WITH first AS MATERIALIZED (SELECT j.queue_id, j.uid, j.inv_prio, j.arrival, j.bytes, j.sealed, j.said "
    "FROM {source} AND j.place = 0 AND coalesce(j.due_wall > %s, true) ORDER BY {order} LIMIT {most} {lock}) "
    "SELECT queue_id, uid, sealed, said FROM (SELECT *, sum(bytes) OVER (ORDER BY inv_prio, arrival) - bytes AS before "
    "FROM first) f WHERE before <= %s UNION ALL SELECT NULL, NULL, NULL, NULL WHERE NOT EXISTS (SELECT FROM first) "
    "AND EXISTS (SELECT FROM {source} AND j.place = 0 AND coalesce(j.due_wall > %s, true))"
)
#: As many as claims take, and as many as other commands, whose jobs are locked already, may take from them.
_MOST: Final[LiteralString] = (
    "%s + (SELECT count(*) FROM unnest(%s::text[]) AS u (uid) JOIN job n USING (uid) "
    "WHERE n.queue_id = %s AND n.place = 0)"
)
_UNTAGGED: Final[LiteralString] = "job j WHERE j.queue_id = %s"
_TAGGED: Final[LiteralString] = (
    "tag t JOIN job j USING (queue_id, uid) WHERE t.queue_id = %s AND t.tag = %s AND (SELECT count(*) FROM tag o "
    "WHERE o.queue_id = t.queue_id AND o.tag = ANY(%s) AND o.inv_prio = t.inv_prio AND o.arrival = t.arrival "
    "AND o.uid = t.uid) = %s"
)
_SIZES: Final[LiteralString] = "SELECT queue_id, sum(jobs)::bigint FROM tally WHERE queue_id = ANY(%s) GROUP BY 1"
_COUNTS: Final[LiteralString] = (
    "SELECT queue_id, place, sum(jobs)::bigint FROM tally WHERE queue_id = ANY(%s) GROUP BY 1, 2"
)
#: The first of each priority is its oldest.
_OLDEST: Final[LiteralString] = (
    "WITH RECURSIVE first AS ("
    "(SELECT inv_prio, created, 1 AS n FROM job WHERE queue_id = %s AND place = 0 ORDER BY inv_prio, arrival LIMIT 1) "
    "UNION ALL SELECT o.inv_prio, o.created, f.n + 1 FROM first f, LATERAL (SELECT inv_prio, created FROM job "
    "WHERE queue_id = %s AND place = 0 AND inv_prio > f.inv_prio ORDER BY inv_prio, arrival LIMIT 1) o "
    "WHERE f.n < %s) SELECT min(created) FROM first"
)
_AHEAD: Final[LiteralString] = (
    "SELECT count(*) FROM job WHERE queue_id = %s AND place = 0 AND (inv_prio, arrival) < (%s, %s)"
)


class Redo(Exception):
    """Another connection has changed the same rows first; the batch must be carried out again."""


@frozen(kw_only=True)
class _Part(PartialTable):
    """A part of a table; the database finds its page."""

    paged: PageRows | None = None

    def page(
        self, after: Position | None, limit: int, state: State | None = None, sort: Sort | None = None
    ) -> tuple[list[Job], Position | None]:
        """See Table; jobs that were removed since the page was found are left out."""
        if self.paged is None:
            raise NotLoaded(f"a page of {self.queue.name!r}")
        jobs = [job for uid in self.paged.uids if (job := self.loaded.job(uid)) is not None]
        return jobs, self.paged.following


@define(kw_only=True)
class Loaded:
    """What was loaded for a batch."""

    now: Now
    asked: Sequence[Asked]
    tables: Tables = field(factory=Tables)
    #: The locked jobs, by queue and uid: all that were loaded, or none. Only these may be changed.
    locked: set[tuple[str, str]] = field(factory=set)
    #: How many jobs each limited queue had.
    sizes: dict[str, int] = field(factory=dict)
    counts: dict[str, QueueCounts] = field(factory=dict)
    oldest: dict[str, int | None] = field(factory=dict)
    places: dict[Rank, int] = field(factory=dict)
    page: PageRows | None = None
    #: The queues in which a claim has found no job but locked ones.
    passed_over: set[str] = field(factory=set)
    #: How many jobs of each queue were loaded.
    _loaded: dict[str, int] = field(factory=dict)

    def fill(self, jobs: Iterable[tuple[str, Job]], arrival: int) -> None:
        """Put loaded jobs into the tables; `arrival` is the arrival number of the next job that is added."""
        facts: list[Fact] = [ClockSet(self.now.ahead)]
        facts += [QueueCreated(one.queue) for one in self.now.known.values()]
        self.tables.apply([*facts, *(JobAdded(name, job) for name, job in jobs)])
        for name, table in self.tables.queues.items():
            table.next_arrival = arrival
            self._loaded[name] = table.size()

    def part(self, name: str, its_needs: Needs) -> PartialTable:
        """The table of a queue, as far as a command needs it."""
        table = self.tables.queues[name]
        added = table.size() - self._loaded[name]
        return _Part(
            loaded=table,
            paged=self.page,
            needs=its_needs,
            total=self.sizes[name] + added if its_needs.size else None,
            kinds=self.counts[name] if its_needs.counts else None,
            oldest=self.oldest[name] if its_needs.counts else None,
            places=self.places,
        )

    def all_queues(self) -> PartialTables:
        """All queues, with the figures of those that were asked for."""
        parts = {name: self.part(name, Needs(counts=name in self.counts)) for name in self.tables.queues}
        return PartialTables(parts, self.now.ahead)


def begin_and_load(
    connection: "Connection[Row]",
    rows: Rows,
    clock: LiteralString,
    guess: dict[str, Known],
    tasks: Sequence[Task],
    first: Sequence[Statement],
    *,
    profile: Profile,
) -> tuple[Now, Loaded | None]:
    """
    Begin, and load what tasks need, in one round trip: for tasks that may share a batch.

    What they need depends on their queues, which are guessed. If one has changed since, or has jobs that are due, there
    is no Loaded.
    """
    # At time 0 no key and no job has expired, so at least what is needed is loaded.
    loaded = Loaded(now=Now(0, 0, guess, profile), asked=[asked(task, guess, 0) for task in tasks])
    loading = _Loading(connection, rows, loaded, locks=changes_jobs(tasks))
    queries = loading.queries()
    opening = [Statement(profile.begin), *first, queues_read(rows, clock, list(guess))]
    answers = together(connection, *opening, *(profile.of(one.statement) for one in queries))
    now = now_of(rows, answers[len(opening) - 1], profile)
    if not now.confirms(guess):
        return now, None
    loaded.now = now
    if _has_old_keys(now):
        loaded.asked = [asked(task, now.known, now.elapsed) for task in tasks]
    loading.take(queries, answers[len(opening) :])
    loading.fill()
    return now, loaded


def _has_old_keys(now: Now) -> bool:
    """Whether there are keys that run out."""
    return any(one.queue.old_key is not None for one in now.known.values())


def load_due(connection: "Connection[Row]", rows: Rows, now: Now, most: int) -> Loaded:
    """Load and lock the jobs that are due, at most `most` a queue and clock; skips those that others have locked."""
    loaded = Loaded(now=now, asked=())
    _Loading(connection, rows, loaded, locks=True).load_due(most)
    return loaded


def load(connection: "Connection[Row]", rows: Rows, now: Now, asked: Sequence[Asked]) -> Loaded:
    """Load what tasks need; raises Redo if a unique key was removed meanwhile."""
    loaded = Loaded(now=now, asked=asked)
    _Loading(connection, rows, loaded, locks=changes_jobs(one.task for one in asked)).load()
    return loaded


@frozen
class _Query:
    """A statement, and the function that takes its rows."""

    statement: Statement
    take: Callable[[list[Row]], None]


@define
class _Loading:
    """Loads what one batch needs; used once."""

    connection: "Connection[Row]"
    rows: Rows
    loaded: Loaded
    #: Whether jobs are locked.
    locks: bool
    _jobs: dict[tuple[str, str], Job] = field(factory=dict, init=False)
    _arrival: int = field(default=0, init=False)
    #: The names of queues by number.
    _names: dict[int, str] = field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        self._names = {one.id: name for name, one in self.loaded.now.known.items()}

    def load(self) -> None:
        """Load jobs first, then figures."""
        parts = self._parts()
        self._find_page(parts)
        self._ask(self.queries())
        self.fill()
        self._ask(self._figures(parts))

    def queries(self) -> list[_Query]:
        """
        What loads jobs, in the order of locks.

        Unique keys come first, then jobs by uid, then claims, which wait for nobody. New jobs, the tally and queues
        follow when the batch is written. So batches that wait for each other do not deadlock.
        """
        parts = self._parts()
        uids, keys = self._uids(parts), self._keys(parts)
        limited = sorted({self._id(part) for part in parts if part.needs.size})
        return [
            *self._lock_keys(sorted([*keys, *((queue_id, _LIMIT) for queue_id in limited)])),
            *self._sizes(limited),
            *self._next_arrival(parts),
            *self._named(uids, keys),
            *self._claims(parts, uids),
        ]

    def take(self, queries: Sequence[_Query], answers: Sequence[list[Row]]) -> None:
        """Take the answers to queries."""
        for query, answer in zip(queries, answers, strict=True):
            query.take(answer)

    def fill(self) -> None:
        """Put the jobs that were taken into the tables."""
        self.loaded.fill(((name, job) for (name, _), job in self._jobs.items()), self._arrival)

    def _parts(self) -> list[Part]:
        return [part for one in self.loaded.asked for part in one.parts]

    def load_due(self, most: int) -> None:
        """Load only what is due: in each queue at most `most` jobs by each of the two clocks."""
        now = self.loaded.now
        clocks = ((_DUE.format(due="due"), now.elapsed), (_DUE.format(due="due_wall"), now.wall))
        due = [one.id for one in now.known.values() if one.due]
        self._ask(
            [_Query(Statement(text, [id_, until, most]), self._take_jobs) for id_ in due for text, until in clocks]
        )
        self.fill()

    def _ask(self, queries: Sequence[_Query]) -> None:
        if queries:
            profile = self.loaded.now.profile
            answers = together(self.connection, *(profile.of(query.statement) for query in queries))
            self.take(queries, answers)

    def _id(self, part: Part) -> int:
        return self.loaded.now.known[part.command.queue].id

    # Jobs

    def _find_page(self, parts: Sequence[Part]) -> None:
        """A command with a page is alone in its batch."""
        for part in parts:
            if part.needs.page is not None:
                now = self.loaded.now
                page = find_page(self.connection, self._id(part), part.needs.page, now.elapsed, now.wall)
                self.loaded.page = page

    def _uids(self, parts: Sequence[Part]) -> list[tuple[int, str]]:
        wanted = {(self._id(part), uid) for part in parts for uid in part.needs.uids if _may_be_there(uid)}
        if self.loaded.page is not None:
            wanted |= {(self._id(parts[0]), uid) for uid in self.loaded.page.uids}
        return sorted(wanted)

    def _keys(self, parts: Sequence[Part]) -> list[tuple[int, bytes]]:
        return sorted({(self._id(part), self.rows.unique_key(key)) for part in parts for key in part.needs.unique_keys})

    def _lock_keys(self, keys: Sequence[tuple[int, bytes]]) -> list[_Query]:
        def check(answer: list[Row]) -> None:
            """Check that all keys are locked."""
            if len(answer) < len(keys):
                # Another connection has just removed a key that no job used.
                raise Redo

        columns = _key_columns(keys)
        return (
            [_Query(Statement(_KEYS, columns), _ignore), _Query(Statement(_LOCK_KEYS, columns), check)] if keys else []
        )

    def _named(self, uids: Sequence[tuple[int, str]], keys: Sequence[tuple[int, bytes]]) -> list[_Query]:
        """The jobs with these uids, and the holders of these keys: a claim in the same batch may take those, too."""
        named = [(_BY_UID, _uid_columns(uids))] if uids else []
        named += [(_BY_KEY, _key_columns(keys))] if keys else []
        if not named:
            return []
        which = _UNION.join(text for text, _ in named)
        text = _NAMED.format(which=which) + (" FOR UPDATE OF j" if self.locks else "")
        return [_Query(Statement(text, [column for _, columns in named for column in columns]), self._take_jobs)]

    def _claims(self, parts: Sequence[Part], uids: Sequence[tuple[int, str]]) -> list[_Query]:
        """The first jobs for each kind of claim: as many as all claims from the queue may take."""
        most = Counter[int]()
        kinds: set[tuple[int, tuple[str, ...]]] = set()
        for part in parts:
            if part.needs.ready is not None:
                most[self._id(part)] += part.needs.ready.count
                kinds.add((self._id(part), part.needs.ready.tags))
        named = {queue_id: texts([uid for its, uid in uids if its == queue_id]) for queue_id in most}
        return [self._claim(*kind, most[kind[0]], named[kind[0]]) for kind in sorted(kinds)]

    def _claim(self, queue_id: int, tags: Sequence[str], most: int, named: Array) -> _Query:
        source, order = (_TAGGED, "t.inv_prio, t.arrival") if tags else (_UNTAGGED, "j.inv_prio, j.arrival")
        digests = self.rows.tags(tags)
        values: list[Any] = [queue_id, digests[0], byteas(digests), len(digests)] if tags else [queue_id]
        lock: LiteralString = "FOR UPDATE OF j SKIP LOCKED" if self.locks else ""
        text, wall = _CLAIM.format(source=source, order=order, most=_MOST, lock=lock), self.loaded.now.wall

        def take(answer: list[Row]) -> None:
            """Take the jobs, or note that all were locked."""
            if answer and answer[0][1] is None:
                self.loaded.passed_over.add(self._names[queue_id])
            else:
                self._take_jobs(answer)

        return _Query(Statement(text, [*values, wall, most, named, queue_id, _CLAIMED_BYTES, *values, wall]), take)

    def _take_jobs(self, answer: list[Row]) -> None:
        for queue_id, uid, sealed, said in answer:
            name = self._names[queue_id]
            if (name, uid) not in self._jobs:
                self._jobs[name, uid] = self.rows.job(self.loaded.now.known[name].queue, uid, sealed, said)
        if self.locks:
            self.loaded.locked.update((self._names[row[0]], row[1]) for row in answer)

    # Numbers

    def _sizes(self, limited: Sequence[int]) -> list[_Query]:
        """How many jobs these queues have; nobody else adds any, since their keys are locked."""
        self.loaded.sizes = {self._names[queue_id]: 0 for queue_id in limited}
        return [_Query(Statement(_SIZES, [bigints(limited)]), self._take_sizes)] if limited else []

    def _next_arrival(self, parts: Sequence[Part]) -> list[_Query]:
        adds = any(isinstance(part.command, c.AddJobs) for part in parts)
        return [_Query(Statement(self.loaded.now.profile.arrival), self._take_arrival)] if adds else []

    def _take_sizes(self, answer: list[Row]) -> None:
        self.loaded.sizes |= {self._names[queue_id]: size for queue_id, size in answer}

    def _take_arrival(self, answer: list[Row]) -> None:
        self._arrival = answer[0][0]

    def _figures(self, parts: Sequence[Part]) -> list[_Query]:
        names = self._counted(parts)
        queries = [self._oldest(name) for name in names]
        if names:
            self.loaded.counts = {name: _no_jobs() for name in names}
            ids = [self.loaded.now.known[name].id for name in names]
            queries.append(_Query(Statement(_COUNTS, [bigints(ids)]), self._take_counts))
        return queries + [self._ahead(part) for part in parts if part.needs.ahead]

    def _counted(self, parts: Sequence[Part]) -> list[str]:
        names = [part.command.queue for part in parts if part.needs.counts]
        for one in self.loaded.asked:
            task = one.task
            if isinstance(task, c.AllQueues):
                known = self.loaded.now.known
                names += sorted(name for name in known if task.after is None or name > task.after)[: task.limit]
        return names

    def _oldest(self, name: str) -> _Query:
        queue_id = self.loaded.now.known[name].id

        def take(answer: list[Row]) -> None:
            """Note when the oldest job was added, or None."""
            self.loaded.oldest[name] = answer[0][0]

        return _Query(Statement(_OLDEST, [queue_id, queue_id, _PRIORITIES]), take)

    def _take_counts(self, answer: list[Row]) -> None:
        numbers: dict[str, dict[Place, int]] = {}
        for queue_id, place, jobs in answer:
            numbers.setdefault(self._names[queue_id], {})[PLACES[place]] = jobs
        self.loaded.counts |= {name: _counts(its) for name, its in numbers.items()}

    def _ahead(self, part: Part) -> _Query:
        (uid,) = part.needs.uids
        job = self._jobs.get((part.command.queue, uid))

        def take(answer: list[Row]) -> None:
            """Note how many jobs are ahead of it."""
            if job is not None:
                self.loaded.places[job.spec.rank] = answer[0][0]

        inv_prio, arrival = (0, 0) if job is None else (~job.spec.priority, job.spec.arrival)
        return _Query(Statement(_AHEAD, [self._id(part), inv_prio, arrival]), take)


def _uid_columns(uids: Sequence[tuple[int, str]]) -> list[Array]:
    return [bigints([one[0] for one in uids]), texts([one[1] for one in uids])]


def _key_columns(keys: Sequence[tuple[int, bytes]]) -> list[Array]:
    return [bigints([one[0] for one in keys]), byteas([one[1] for one in keys])]


def _counts(jobs: "dict[Place, int]") -> QueueCounts:
    ready, delayed = jobs.get(Place.READY, 0), jobs.get(Place.DELAYED, 0)
    states = {
        State.QUEUED: ready + delayed,
        State.INPROGRESS: jobs.get(Place.INPROGRESS, 0),
        State.COMPLETE: jobs.get(Place.COMPLETE, 0),
        State.FAILED: jobs.get(Place.FAILED, 0),
    }
    return QueueCounts(states=states, ready=ready, delayed=delayed)


def _no_jobs() -> QueueCounts:
    return _counts({})


def _may_be_there(uid: str) -> bool:
    """Whether a job can have this uid. All uids are UUIDs; some other texts are errors in PostgreSQL."""
    return len(uid) == 36 and uid.isascii() and uid.isprintable()


def _ignore(_answer: list[Row]) -> None:
    pass
