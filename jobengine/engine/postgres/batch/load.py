"""Loads what a batch needs from the database."""

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Final, LiteralString

from attrs import define, field, frozen
from psycopg import Connection

from ....core import commands as c
from ....core.history import KeptPeriod, Period
from ....core.model import Job
from ....core.places import counts_of
from ....storage.errors import Damaged
from ..database.connection import together
from ..database.history_rows import periods_of
from ..database.known_damage import DamageFound, SuspectJob
from ..database.pipeline import Row, Statement
from ..database.rows import NO_CLAIM_START, Known, Rows, check_place, is_set_apart, rank_of
from . import queries as statements
from .begin import BEGIN, Now, now_of, queues_read
from .loaded import Loaded
from .pages import find_page
from .plan import PlannedCommand, PlannedPart, Task, changes_jobs, plan
from .queries import Claiming

__all__ = ["Redo", "begin_and_load", "load", "load_due"]

_first: Final = itemgetter(0)


class Redo(Exception):
    """Another connection has changed the same rows first; the batch must be carried out again."""


def begin_and_load(
    connection: "Connection[Row]",
    rows: Rows,
    clock: LiteralString,
    guess: dict[str, Known],
    tasks: Sequence[Task],
    first: Sequence[Statement],
) -> tuple[Now, Loaded | None]:
    """
    Begin, and load what tasks need, in one round trip: for tasks that may share a batch.

    Their queues are guessed. If one has changed since, or has jobs that are due, there is no Loaded.
    """
    # At time 0 no key and no job has expired, so at least what is needed is loaded.
    wanted = [plan(task, guess, 0) for task in tasks]
    loaded = Loaded(now=Now(0, 0, guess), planned=wanted, locked=changes_jobs(tasks))
    loading = _Loading(connection, rows, loaded)
    queries = loading.queries()
    opening = [Statement(BEGIN), *first, queues_read(rows, clock, list(guess))]
    answers = together(connection, *opening, *(one.statement for one in queries))
    now = now_of(rows, answers[len(opening) - 1])
    if not now.confirms(guess):
        return now, None
    loaded.now = now
    if _has_old_keys(now):
        loaded.planned = [plan(task, now.known, now.elapsed) for task in tasks]
    loading.take(queries, answers[len(opening) :])
    loading.fill()
    return now, loaded


def _has_old_keys(now: Now) -> bool:
    """Whether there are keys that run out. One may have run out since what it may do was looked up."""
    return any(one.queue.old_key is not None for one in now.known.values())


def load_due(connection: "Connection[Row]", rows: Rows, now: Now, most: int) -> Loaded:
    """Load and lock the jobs that are due, at most `most` a queue and clock; skips those that others have locked."""
    loaded = Loaded(now=now, planned=(), locked=True)
    _Loading(connection, rows, loaded).load_due(most)
    return loaded


def load(connection: "Connection[Row]", rows: Rows, now: Now, planned: Sequence[PlannedCommand]) -> Loaded:
    """Load what tasks need; raises Redo if a unique key was removed meanwhile."""
    loaded = Loaded(now=now, planned=planned, locked=changes_jobs(one.task for one in planned))
    _Loading(connection, rows, loaded).load()
    return loaded


@frozen
class _Query:
    """A statement, and the function that takes its rows."""

    statement: Statement
    take: Callable[[list[Row]], None]


@define
class _Loading:
    """
    Loads what one batch needs; used once.

    Queries for jobs are sent first, then what was found is put into the tables. Figures follow, which depend on it.
    """

    connection: "Connection[Row]"
    rows: Rows
    loaded: Loaded
    #: What was found: the jobs by queue and uid, and the arrival number of the next job that is added.
    _jobs: dict[str, dict[str, Job]] = field(factory=dict, init=False)
    _arrival: int = field(default=0, init=False)
    #: Those whose rows are damaged and not set apart yet.
    _suspects: list[SuspectJob] = field(factory=list, init=False)
    #: The names of queues by number.
    _names: dict[int, str] = field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        self._names = {one.id: name for name, one in self.loaded.now.known.items()}

    def load(self) -> None:
        """Load what the tasks need."""
        parts = self._parts()
        self._find_page(parts)
        self._ask(self.queries())
        self.fill()
        self._ask([*self._figures(parts), *self._number_of_queues()])

    def load_due(self, most: int) -> None:
        """Load only what is due: in each queue at most `most` jobs by each of the two clocks."""
        now = self.loaded.now
        queues = [one.id for one in now.known.values() if one.due]
        due = [one for queue_id in queues for one in statements.due(queue_id, now.elapsed, now.wall, most)]
        self._ask([_Query(one, self._take_due) for one in due])
        self.fill()

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
            *self._lock_keys(sorted([*keys, *((queue_id, statements.LIMIT) for queue_id in limited)])),
            *self._sizes(limited),
            *self._next_arrival(parts),
            # Holders of unique keys are locked as well: a claim in the same batch may take them.
            *(_Query(one, self._take_jobs) for one in statements.named(uids, keys, locks=self.loaded.locked)),
            *self._claims(parts, uids),
        ]

    def take(self, queries: Sequence[_Query], answers: Sequence[list[Row]]) -> None:
        """Take the answers to queries."""
        for query, answer in zip(queries, answers, strict=True):
            query.take(answer)

    def fill(self) -> None:
        """Put the jobs that were taken into the tables; raises DamageFound."""
        if self._suspects:
            raise DamageFound(self._suspects)
        self.loaded.fill(self._jobs, self._arrival)

    def _ask(self, queries: Sequence[_Query]) -> None:
        if queries:
            self.take(queries, together(self.connection, *(query.statement for query in queries)))

    def _parts(self) -> list[PlannedPart]:
        return [part for one in self.loaded.planned for part in one.parts]

    def _id(self, part: PlannedPart) -> int:
        return self.loaded.now.known[part.command.queue].id

    # Jobs

    def _find_page(self, parts: Sequence[PlannedPart]) -> None:
        """A command with a page is alone in its batch."""
        for part in parts:
            if part.needs.page is not None:
                now = self.loaded.now
                page = find_page(self.connection, self._id(part), part.needs.page, now.elapsed, now.wall)
                self.loaded.page = page

    def _uids(self, parts: Sequence[PlannedPart]) -> list[tuple[int, str]]:
        wanted = {(self._id(part), uid) for part in parts for uid in part.needs.uids if _may_be_there(uid)}
        if self.loaded.page is not None:
            wanted |= {(self._id(parts[0]), uid) for uid in self.loaded.page.uids}
        return sorted(wanted)

    def _keys(self, parts: Sequence[PlannedPart]) -> list[tuple[int, bytes]]:
        return sorted({(self._id(part), self.rows.unique_key(key)) for part in parts for key in part.needs.unique_keys})

    def _lock_keys(self, keys: Sequence[tuple[int, bytes]]) -> list[_Query]:
        def check(answer: list[Row]) -> None:
            """Check that all keys are locked."""
            if len(answer) < len(keys):
                # Another connection has just removed a key that no job used.
                raise Redo

        return [_Query(*one) for one in zip(statements.keys_locked(keys), (_ignore, check), strict=False)]

    def _claims(self, parts: Sequence[PlannedPart], uids: Sequence[tuple[int, str]]) -> list[_Query]:
        """The first jobs for each kind of claim: as many as all claims from the queue may take."""
        most = Counter[int]()
        kinds: set[tuple[int, tuple[str, ...]]] = set()
        for part in parts:
            if part.needs.ready is not None:
                most[self._id(part)] += part.needs.ready.count
                kinds.add((self._id(part), part.needs.ready.tags))
        named = {queue_id: [uid for its, uid in uids if its == queue_id] for queue_id in most}
        wall = self.loaded.now.wall
        return [
            self._claim(
                tags, Claiming(queue_id=its, tags=self.rows.tags(tags), most=most[its], uids=named[its], wall=wall)
            )
            for its, tags in sorted(kinds)
        ]

    def _claim(self, tags: tuple[str, ...], claiming: Claiming) -> _Query:
        def take(answer: list[Row]) -> None:
            """Take the jobs, or note that all were locked."""
            if answer and answer[0][1] is None:
                self.loaded.passed_over.add(self._names[claiming.queue_id])
            elif answer:
                self._take_jobs(answer, is_claimed=True)
                if self._suspects:
                    return
                # Other commands of the batch may take as many as they name.
                if len(answer) < claiming.most + len(claiming.uids):
                    self._record_cut(answer, tags)
                if self.loaded.locked:
                    self._record_claimed(answer)

        return _Query(statements.claim(claiming, locks=self.loaded.locked), take)

    def _record_cut(self, answer: list[Row], tags: tuple[str, ...]) -> None:
        name = self._names[answer[0][0]]
        jobs = [self._jobs[name][row[1]] for row in answer]
        if sum(job.size for job in jobs) > statements.CLAIMED_BYTES:
            self.loaded.cut[name, tags] = rank_of(jobs[-1])

    def _record_claimed(self, answer: list[Row]) -> None:
        queue_id, uid = answer[-1][:2]
        found = rank_of(self._jobs[self._names[queue_id]][uid])
        jobs, last = self.loaded.claimed.get(queue_id, (0, NO_CLAIM_START))
        self.loaded.claimed[queue_id] = (jobs + len(answer), max(last, found))

    def _take_jobs(self, answer: list[Row], *, is_claimed: bool = False) -> None:
        for queue_id, rows in groupby(answer, _first):
            name = self._names[queue_id]
            jobs, known = self._jobs.setdefault(name, {}), self.loaded.now.known[name]
            for _, uid, sealed, said, place in rows:
                if uid in jobs:
                    continue
                try:
                    job = self.rows.job(known.queue, uid, sealed, said)
                    check_place(job, place)
                except Damaged:
                    self._pass_over(SuspectJob(known.id, known.queue, uid, is_claimed), place)
                else:
                    jobs[uid] = job

    def _pass_over(self, suspect: SuspectJob, place: int) -> None:
        """A damaged job that is set apart was named by a command: no claim, page or deadline leads to it."""
        if is_set_apart(place):
            self.loaded.damaged.setdefault(suspect.queue.name, set()).add(suspect.uid)
        else:
            self._suspects.append(suspect)

    def _take_due(self, answer: list[Row]) -> None:
        """Take jobs that are due by the columns of their rows, but not those that are not due by their records."""
        self._take_jobs([row for row in answer if not is_set_apart(row[4])])
        now = self.loaded.now
        for queue_id, uid, *_, place in answer:
            name = self._names[queue_id]
            job = self._jobs.get(name, {}).get(uid)
            if is_set_apart(place) or (job is not None and not _is_due(job, now)):
                self._suspects.append(SuspectJob(queue_id, now.known[name].queue, uid))

    # Numbers

    def _sizes(self, limited: Sequence[int]) -> list[_Query]:
        """How many jobs these queues have; nobody else adds any, since their keys are locked."""
        self.loaded.sizes = {self._names[queue_id]: 0 for queue_id in limited}
        return [_Query(statements.sizes(limited), self._take_sizes)] if limited else []

    def _next_arrival(self, parts: Sequence[PlannedPart]) -> list[_Query]:
        adds = any(isinstance(part.command, c.AddJobs) for part in parts)
        return [_Query(statements.next_arrival(), self._take_arrival)] if adds else []

    def _take_sizes(self, answer: list[Row]) -> None:
        self.loaded.sizes |= {self._names[queue_id]: size for queue_id, size in answer}

    def _take_arrival(self, answer: list[Row]) -> None:
        self._arrival = answer[0][0]

    def _figures(self, parts: Sequence[PlannedPart]) -> list[_Query]:
        names = self._counted(parts)
        queries = [self._oldest(name) for name in names]
        if names:
            self.loaded.counts = {name: counts_of({}) for name in names}
            ids = [self.loaded.now.known[name].id for name in names]
            queries.append(_Query(statements.counts(ids), self._take_counts))
        queries += self._histories(parts)
        return queries + [self._ahead(part) for part in parts if part.needs.ahead]

    def _number_of_queues(self) -> list[_Query]:
        """The number of queues, for a caller who may not make any number of them."""
        made = [one.task for one in self.loaded.planned if isinstance(one.task, c.CreateQueue) and not one.task.admin]
        limits = [one.max_queues for one in made if one.max_queues is not None]
        return [_Query(statements.queues_counted(most), self._take_number) for most in limits]

    def _take_number(self, answer: list[Row]) -> None:
        ((self.loaded.number_of_queues,),) = answer

    def _counted(self, parts: Sequence[PlannedPart]) -> list[str]:
        names = [part.command.queue for part in parts if part.needs.counts]
        for one in self.loaded.planned:
            task = one.task
            if isinstance(task, c.AllQueues):
                known = self.loaded.now.known
                names += sorted(name for name in known if task.after is None or name > task.after)[: task.limit]
        return names

    def _histories(self, parts: Sequence[PlannedPart]) -> list[_Query]:
        """The kept periods of queues; hours only for the one whose history is asked for."""
        whole = [part.command.queue for part in parts if isinstance(part.command, c.ReadHistory)]
        listed = any(isinstance(one.task, c.ListQueues | c.ReadStats) for one in self.loaded.planned)
        ids = [self.loaded.now.known[name].id for name in whole or (self._counted(parts) if listed else [])]
        return [_Query(periods_of(ids, hours=bool(whole)), self._take_periods)] if ids else []

    def _take_periods(self, answer: list[Row]) -> None:
        for queue_id, server, span, number, counted in answer:
            kept = KeptPeriod(server, Period(span, number, counted))
            self.loaded.periods.setdefault(self._names[queue_id], []).append(kept)

    def _oldest(self, name: str) -> _Query:
        queue_id = self.loaded.now.known[name].id

        def take(answer: list[Row]) -> None:
            """Note when the oldest job was added, or None."""
            self.loaded.oldest[name] = answer[0][0]

        return _Query(statements.oldest(queue_id), take)

    def _take_counts(self, answer: list[Row]) -> None:
        numbers: dict[str, dict[int, int]] = {}
        for queue_id, place, jobs in answer:
            numbers.setdefault(self._names[queue_id], {})[place] = jobs
        self.loaded.counts |= {name: counts_of(its) for name, its in numbers.items()}

    def _ahead(self, part: PlannedPart) -> _Query:
        (uid,) = part.needs.uids
        job = self._jobs.get(part.command.queue, {}).get(uid)

        def take(answer: list[Row]) -> None:
            """Note how many jobs are ahead of it."""
            if job is not None:
                self.loaded.places[job.spec.rank] = answer[0][0]

        inv_prio, arrival = (0, 0) if job is None else (~job.spec.priority, job.spec.arrival)
        return _Query(statements.ahead(self._id(part), inv_prio, arrival), take)


def _is_due(job: Job, now: Now) -> bool:
    deadline, wall = job.deadline, job.wall_deadline
    return (deadline is not None and deadline <= now.elapsed) or (wall is not None and wall <= now.wall)


def _may_be_there(uid: str) -> bool:
    """Whether a job can have this uid. All uids are UUIDs; some other texts are errors in PostgreSQL."""
    return len(uid) == 36 and uid.isascii() and uid.isprintable()


def _ignore(_answer: list[Row]) -> None:
    pass
