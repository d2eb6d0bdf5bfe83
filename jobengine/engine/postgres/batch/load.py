"""Loads the rows that a batch needs from the database."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import Final, LiteralString

from attrs import define, field
from psycopg import Connection

from ....core import commands as c
from ....core.commands.firing import needed_to_fire
from ....core.history import KeptPeriod, Period
from ....core.model import Job
from ....core.places import counts_of
from ....core.required_rows import Needs
from ....core.schedules import ScheduleCounts
from ....storage.errors import Damaged
from ..database.connection import together
from ..database.group_rows import flow_locked
from ..database.history_rows import periods_of
from ..database.item_rows import item_of, items_named, items_of_kinds, schedules_counted
from ..database.known_damage import DamageFound, SuspectJob
from ..database.pipeline import Row, Statement
from ..database.rows import NO_CLAIM_START, Known, Rows, check_place, is_set_apart, rank_of
from . import queries as statements
from .begin import BEGIN, Now, now_of, queues_read, with_flow
from .dead_letters import targets_of, wanted_there
from .failures import load_failures
from .load_links import LinkLoading, Query, may_be_there
from .loaded import LoadedTables
from .pages import find_page
from .plan import PlannedCommand, PlannedPart, Task, changes_jobs, flow_lock_of, only_adds, plan
from .queries import Claiming
from .tables import LoadedTable

_first: Final = itemgetter(0)
#: What a command about all queues needs of each queue that it shows.
_SHOWN: Final = Needs(counts=True, periods=True)


class Redo(Exception):
    """Another connection has changed the same rows first; the batch must be retried."""


def begin_and_load(
    connection: "Connection[Row]",
    rows: Rows,
    clock: LiteralString,
    guess: dict[str, Known],
    tasks: Sequence[Task],
    first: Sequence[Statement],
    keys: Collection[tuple[int, bytes]],
) -> tuple[Now, LoadedTables | None]:
    """
    Begin a transaction and load what the tasks need, in one round trip; only for tasks that may share a batch. `guess`
    has their queues as last read. Returns None for the tables if a queue has changed since, or has due jobs.
    """
    # Plan for the time 0, at which no key and no job has expired: so no row that is needed is left out.
    wanted = [plan(task, guess, 0) for task in tasks]
    tables = LoadedTables(now=Now(0, 0, guess), planned=wanted, locked=changes_jobs(tasks))
    tables.find_groups(connection, rows)
    loading = _Loading(connection, rows, tables, keys)
    queries, flows = loading.queries(), with_flow(guess) if tables.locked else ()
    locks = flow_locked(flows, flow_lock_of(tasks)) if flows else []
    opening = [Statement(BEGIN), *first, *locks, queues_read(rows, clock, list(guess))]
    answers = together(connection, *opening, *(one.statement for one in queries))
    now = now_of(rows, answers[len(opening) - 1])
    if not now.confirms(guess):
        return now, None
    tables.confirm(now)
    if _has_old_keys(now):
        tables.planned = [plan(task, now.known, now.elapsed) for task in tasks]
    loading.take(queries, answers[len(opening) :])
    loading.load_rest()
    return now, tables


def _has_old_keys(now: Now) -> bool:
    """Whether a queue has an old key, which may have expired since the tasks were planned."""
    return any(one.queue.old_key is not None for one in now.known.values())


def load_due(connection: "Connection[Row]", rows: Rows, now: Now, most: int) -> LoadedTables:
    """
    Load and lock due jobs, in each queue at most `most` by elapsed time and `most` by the wall clock; skips jobs that
    others have locked.
    """
    tables = LoadedTables(now=now, planned=(), locked=True)
    tables.find_groups(connection, rows)
    _Loading(connection, rows, tables).load_due(most)
    return tables


def load(
    connection: "Connection[Row]",
    rows: Rows,
    now: Now,
    planned: Sequence[PlannedCommand],
    keys: Collection[tuple[int, bytes]] = (),
) -> LoadedTables:
    """
    Load the rows that commands need, and lock named things: those that the commands name, and those with `keys`. Raises
    Redo if a unique key was removed meanwhile, and KeysWanted.
    """
    tables = LoadedTables(now=now, planned=planned, locked=changes_jobs(one.task for one in planned))
    tables.find_groups(connection, rows)
    _Loading(connection, rows, tables, keys).load()
    return tables


def load_named(
    connection: "Connection[Row]", rows: Rows, tables: LoadedTables, jobs: Sequence[statements.Uid], *, locks: bool
) -> None:
    """Load sorted jobs into the tables of a follow-up; raises DamageFound."""
    _Loading(connection, rows, tables).load_named(jobs, locks=locks)


@define
class _Loading:
    """
    Fills the tables of one batch; used once. Queries for jobs are sent first; queries for counts follow, since they
    depend on the jobs.
    """

    connection: "Connection[Row]"
    rows: Rows
    tables: LoadedTables
    #: The keys of named things to lock beside those that the commands name; see KeysWanted.
    keys: Collection[tuple[int, bytes]] = ()
    #: The jobs whose rows seem damaged and are not set apart yet.
    _suspects: list[SuspectJob] = field(factory=list, init=False)
    #: The jobs on a page of failures.
    _of_failures: set[tuple[int, str]] = field(factory=set, init=False)
    #: The tables by the numbers of their queues.
    _by_id: dict[int, LoadedTable] = field(init=False)
    _links: LinkLoading = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._by_id = {one.id: self.tables.queues[name] for name, one in self.tables.now.known.items()}
        self._links = LinkLoading(self.connection, self.rows, self.tables, self._by_id)

    def load(self) -> None:
        """Load everything that the tasks need."""
        parts = self._parts()
        self._find_page(parts)
        for part in parts:
            queue_id = self._id(part)
            table, elapsed = self._by_id[queue_id], self.tables.now.elapsed
            self._of_failures |= load_failures(self.connection, self.rows, queue_id, table, part.needs, elapsed)
        self._send(self.queries())
        self.load_rest()
        self._send([*self._figures(parts), *self._number_of_queues(), *self._schedules_counted(parts)])

    def load_due(self, most: int) -> None:
        """Load only due jobs: in each queue at most `most` by each of the two clocks."""
        now, targets = self.tables.now, targets_of(self.tables.now.known, self.tables.queues)
        limited = sorted(now.known[name].id for name, table in targets.items() if table.queue.max_jobs)
        self._send([*self._lock_keys([(one, statements.LIMIT) for one in limited]), *self._sizes(limited)])
        queues = (one.id for one in now.known.values() if one.due)
        due = [one for queue_id in queues for one in statements.due(queue_id, now.elapsed, now.wall, most)]
        self._send([Query(one, self._take_due) for one in due])
        there = statements.jobs_named(wanted_there(now, self.tables.queues, targets), (), locks=True)
        self._send([*(self._arrival() if there else ()), *(Query(one, self._take_named) for one in there)])
        self.finish()
        self._links.load_for_due()

    def load_named(self, jobs: Sequence[statements.Uid], *, locks: bool) -> None:
        """Load these jobs and no others."""
        jobs = [one for one in jobs if may_be_there(one[1])]
        self._send([Query(one, self._take_named) for one in statements.jobs_named(jobs, (), locks=locks)])
        self.finish()

    def queries(self) -> list[Query]:
        """
        The queries for jobs, in the order of locks, which prevents deadlocks between batches.

        Unique keys come first, then jobs by uid, then claims, which skip locked jobs. Later the written batch locks new
        jobs, the tally and queues.
        """
        parts = self._parts()
        uids, keys = self._uids(parts), self._keys(parts)
        items = {(self._id(part), self.rows.item(*item)): item for part in parts for item in part.needs.items}
        # A batch that only reads takes no locks, and never waits for one.
        locked = items if self.tables.locked else ()
        limited = sorted({self._id(part) for part in parts if part.needs.size})
        others = {*keys, *self.keys, *((one, statements.LIMIT) for one in limited)}
        return [
            *self._lock_keys(sorted({*others, *locked}), shared=not others and only_adds(parts)),
            *self._items(parts, items),
            *self._links.queries(parts),
            *self._sizes(limited),
            *self._next_arrival(parts),
            # Jobs that hold these unique keys are locked too: a claim in the same batch may take them.
            *(Query(one, self._take_named) for one in statements.jobs_named(uids, keys, locks=self.tables.locked)),
            *self._claims(parts, uids),
        ]

    def _items(self, parts: Sequence[PlannedPart], named: Mapping[tuple[int, bytes], tuple[str, str]]) -> list[Query]:
        def take(answer: list[Row]) -> None:
            for row in answer:
                table = self._by_id[row[0]]
                try:
                    item = item_of(self.rows, table.queue, row)
                    table.named[item.kind, item.name] = item.value
                except Damaged:
                    if row[:2] in named:
                        table.named[named[row[:2]]] = None

        kinds = sorted({(self._id(part), self.rows.kind(kind)) for part in parts for kind in part.needs.kinds})
        return [Query(one, take) for one in (*items_named(sorted(named)), *items_of_kinds(kinds))]

    def take(self, queries: Sequence[Query], answers: Sequence[list[Row]]) -> None:
        """Pass the answers to the queries' functions."""
        for query, answer in zip(queries, answers, strict=True):
            query.take(answer)

    def finish(self) -> None:
        """Finish loading, once all jobs were taken; raises DamageFound if rows seem to be damaged."""
        if self._suspects:
            raise DamageFound(self._suspects)
        for table in self._by_id.values():
            if table.unloaded is not None:
                table.unloaded -= len(table.jobs)

    def load_rest(self) -> None:
        """Finish loading jobs, then load what depends on them: their batches, and what firing schedules needs."""
        self.finish()
        parts = self._parts()
        self._links.prepare(parts)
        self._links.load_batches(parts)
        self._load_for_firings([part for part in parts if part.needs.more_jobs])

    def _load_for_firings(self, parts: Sequence[PlannedPart]) -> None:
        """Load what firing schedules needs, and let rules load more jobs."""
        for part in parts:
            self.tables.queues[part.command.queue].load_more = partial(self._load_more, self._id(part))
        for queue_id, some in groupby(sorted(parts, key=self._id), self._id):
            table, uids, keys = self._by_id[queue_id], set[str](), set[str]()
            for part in some:
                if isinstance(part.command, c.FireSchedule):
                    table.restrict_to(part)
                    its_uids, key = needed_to_fire(table, part.command.name)
                    uids |= {*its_uids}
                    keys |= {key} if key is not None else set()
            self._load_more(queue_id, uids, keys)

    def _load_more(self, queue_id: int, uids: Collection[str], keys: Collection[str]) -> None:
        """Load jobs by uid, and the holders of unique keys; locks these keys and jobs if the batch locks jobs."""
        table = self._by_id[queue_id]
        number, more = len(table.jobs), table.more_loaded
        named = [(queue_id, uid) for uid in sorted({*uids} - more) if uid not in table.jobs and may_be_there(uid)]
        places = sorted({(queue_id, self.rows.unique_key(key)) for key in {*keys} - more})
        loaded = (
            Query(one, self._take_named) for one in statements.jobs_named(named, places, locks=self.tables.locked)
        )
        self._send([*self._lock_keys(places), *loaded])
        table.more_loaded |= {*uids, *keys}
        if self._suspects:
            raise DamageFound(self._suspects)
        if table.unloaded is not None:
            table.unloaded -= len(table.jobs) - number

    def _schedules_counted(self, parts: Sequence[PlannedPart]) -> list[Query]:
        """The query for the counts of schedules in those queues whose commands need them."""
        shown = {part.command.queue for part in parts if part.needs.count_schedules}
        if any(isinstance(one.task, c.CountQueues) for one in self.tables.planned):
            shown |= {table.queue.name for table in self._shown(parts).values()}
        ids = [self.tables.now.known[name].id for name in sorted(shown)]
        for queue_id in ids:
            self._by_id[queue_id].schedule_counts = ScheduleCounts()

        def take(answer: list[Row]) -> None:
            for queue_id, *counts in answer:
                self._by_id[queue_id].schedule_counts = ScheduleCounts(*counts)

        return [Query(one, take) for one in schedules_counted(ids, self.rows)]

    def _send(self, queries: Sequence[Query]) -> None:
        if queries:
            self.take(queries, together(self.connection, *(query.statement for query in queries)))

    def _parts(self) -> list[PlannedPart]:
        return [part for one in self.tables.planned for part in one.parts]

    def _id(self, part: PlannedPart) -> int:
        return self.tables.now.known[part.command.queue].id

    # Jobs

    def _find_page(self, parts: Sequence[PlannedPart]) -> None:
        """Find the page that a command needs; such a command is alone in its batch."""
        for part in parts:
            if part.needs.page is not None:
                now, queue_id = self.tables.now, self._id(part)
                page = find_page(self.connection, self.rows, queue_id, part.needs.page, now.elapsed, now.wall)
                self._by_id[queue_id].paged = page

    def _uids(self, parts: Sequence[PlannedPart]) -> list[tuple[int, str]]:
        wanted = {(self._id(part), uid) for part in parts for uid in part.needs.uids if may_be_there(uid)}
        for queue_id, table in self._by_id.items():
            if table.paged is not None:
                wanted |= {(queue_id, uid) for uid in table.paged.uids}
        return sorted(wanted | self._of_failures)

    def _keys(self, parts: Sequence[PlannedPart]) -> list[tuple[int, bytes]]:
        return sorted({(self._id(part), self.rows.unique_key(key)) for part in parts for key in part.needs.unique_keys})

    def _lock_keys(self, keys: Sequence[tuple[int, bytes]], *, shared: bool = False) -> list[Query]:
        def check(answer: list[Row]) -> None:
            if len(answer) < len(keys):
                # Another connection has just removed one of the keys, which had no jobs: insert and lock it again.
                raise Redo

        return [Query(*one) for one in zip(statements.keys_locked(keys, shared=shared), (_ignore, check), strict=False)]

    def _claims(self, parts: Sequence[PlannedPart], uids: Sequence[tuple[int, str]]) -> list[Query]:
        """The queries for the first jobs: for each queue and tags, up to the number that all its claims may take."""
        most = Counter[int]()
        kinds: set[tuple[int, tuple[str, ...]]] = set()
        for part in parts:
            if part.needs.ready is not None:
                most[self._id(part)] += part.needs.ready.count
                kinds.add((self._id(part), part.needs.ready.tags))
        named = {queue_id: [uid for its, uid in uids if its == queue_id] for queue_id in most}
        wall, found = self.tables.now.wall, list[Query]()
        for its, tags in sorted(kinds):
            turns = self._by_id[its].turns
            if turns is not None:
                # In a queue with flow, each further claim continues where the claim before it ended.
                found += [Query(*one) for one in turns.queries(tags, most[its])] if turns.begins else []
                continue
            claiming = Claiming(queue_id=its, tags=self.rows.tags(tags), most=most[its], uids=named[its], wall=wall)
            found.append(self._claim(tags, claiming))
        return found

    def _claim(self, tags: tuple[str, ...], claiming: Claiming) -> Query:
        table = self._by_id[claiming.queue_id]

        def take(answer: list[Row]) -> None:
            if answer and answer[0][1] is None:
                table.passed_over = True
            elif answer:
                self._take_jobs(answer, by_claim=True)
                if not self._suspects:
                    self._take_claimed(table, [table.jobs[row[1]] for row in answer], tags, claiming)

        return Query(statements.claim(claiming, locks=self.tables.locked), take)

    def _take_claimed(self, table: LoadedTable, jobs: Sequence[Job], tags: tuple[str, ...], claiming: Claiming) -> None:
        last = rank_of(jobs[-1])
        # Other commands of the batch may take the jobs that they name by uid.
        are_fewer = len(jobs) < claiming.most + len(claiming.uids)
        if are_fewer and sum(job.size for job in jobs) > statements.CLAIMED_BYTES:
            table.cut[tags] = last
        if self.tables.locked:
            count, others = table.claimed or (0, NO_CLAIM_START)
            table.claimed = (count + len(jobs), max(others, last))

    def _take_jobs(self, answer: list[Row], *, by_claim: bool = False) -> None:
        for queue_id, rows in groupby(answer, _first):
            table = self._by_id[queue_id]
            for row in rows:
                uid, sealed, standing, place = row[1:5]
                if uid in table.jobs:
                    continue
                try:
                    job = self.rows.job(table.queue, uid, sealed, standing)
                    check_place(job, place)
                except Damaged:
                    self._pass_over(SuspectJob(queue_id, table.queue, uid, by_claim), place)
                else:
                    table.jobs[uid] = job

    def _take_named(self, answer: list[Row]) -> None:
        """Take jobs with the column `awaited`."""
        self._take_jobs(answer)
        for row in answer:
            if row[5] is not None:
                self._by_id[row[0]].awaited.add(row[1])

    def _pass_over(self, suspect: SuspectJob, place: int) -> None:
        """
        Record a damaged job. If it is not set apart yet, it becomes a suspect; a job set apart can only be found by its
        uid.
        """
        if is_set_apart(place):
            self._by_id[suspect.queue_id].damaged.add(suspect.uid)
        else:
            self._suspects.append(suspect)

    def _take_due(self, answer: list[Row]) -> None:
        """Take due jobs. Jobs that are due by the columns of their rows, but not by their records, are suspects."""
        self._take_named([row for row in answer if not is_set_apart(row[4])])
        for queue_id, uid, _, _, place, _ in answer:
            table = self._by_id[queue_id]
            table.found_due.add(uid)
            job = table.jobs.get(uid)
            if is_set_apart(place) or (job is not None and not self.tables.now.has_come(job)):
                self._suspects.append(SuspectJob(queue_id, table.queue, uid))

    # Counts

    def _sizes(self, limited: Sequence[int]) -> list[Query]:
        """
        The query for the sizes of these queues. The sizes can't grow meanwhile: the key LIMIT of
        each queue is locked.
        """
        for queue_id in limited:
            self._by_id[queue_id].unloaded = 0
        return [Query(statements.sizes(limited), self._take_sizes)] if limited else []

    def _next_arrival(self, parts: Sequence[PlannedPart]) -> list[Query]:
        adds = any(part.needs.adds for part in parts)
        return self._arrival() if adds else []

    def _arrival(self) -> list[Query]:
        return [Query(statements.next_arrival(), self._take_arrival)]

    def _take_sizes(self, answer: list[Row]) -> None:
        for queue_id, size in answer:
            self._by_id[queue_id].unloaded = size

    def _take_arrival(self, answer: list[Row]) -> None:
        for table in self._by_id.values():
            ((table.next_arrival,),) = answer

    def _figures(self, parts: Sequence[PlannedPart]) -> list[Query]:
        shown = self._shown(parts)
        # The oldest jobs of queues with flow are found by their groups.
        plain = {queue_id: table for queue_id, table in shown.items() if table.queue.flow is None}
        queries = [self._oldest(queue_id, table) for queue_id, table in plain.items()]
        if shown:
            for table in shown.values():
                table.needs, table.counted = _SHOWN, counts_of({})
            queries.append(Query(statements.counts(list(shown)), self._take_counts))
        queries += self._histories(parts, shown)
        return queries + [self._ahead(part) for part in parts if part.needs.ahead]

    def _number_of_queues(self) -> list[Query]:
        """The queries that count the queues, one for each command that limits their number."""
        made = [one.task for one in self.tables.planned if isinstance(one.task, c.CreateQueue) and not one.task.admin]
        limits = [one.max_queues for one in made if one.max_queues is not None]
        return [Query(statements.queues_counted(most), self._take_number) for most in limits]

    def _take_number(self, answer: list[Row]) -> None:
        ((self.tables.number_of_queues,),) = answer

    def _shown(self, parts: Sequence[PlannedPart]) -> dict[int, LoadedTable]:
        """The tables whose counts are needed, by queue number."""
        known = self.tables.now.known
        names = [part.command.queue for part in parts if part.needs.counts]
        for one in self.tables.planned:
            task = one.task
            if isinstance(task, c.AllQueues):
                names += sorted(name for name in known if task.after is None or name > task.after)[: task.limit]
        return {known[name].id: self.tables.queues[name] for name in names}

    def _histories(self, parts: Sequence[PlannedPart], shown: Collection[int]) -> list[Query]:
        """The queries for the stored periods of queues; hours are read only if a command requests the history."""
        whole = [self._id(part) for part in parts if isinstance(part.command, c.ReadHistory)]
        listed = any(isinstance(one.task, c.ListQueues | c.ReadStats) for one in self.tables.planned)
        ids = whole or (list(shown) if listed else [])
        return [Query(periods_of(ids, hours=bool(whole)), self._take_periods)] if ids else []

    def _take_periods(self, answer: list[Row]) -> None:
        for queue_id, server, span, number, counted in answer:
            self._by_id[queue_id].periods.append(KeptPeriod(server, Period(span, number, counted)))

    def _oldest(self, queue_id: int, table: LoadedTable) -> Query:
        def take(answer: list[Row]) -> None:
            ((table.oldest,),) = answer

        return Query(statements.oldest(queue_id), take)

    def _take_counts(self, answer: list[Row]) -> None:
        for queue_id, rows in groupby(sorted(answer), _first):
            self._by_id[queue_id].counted = counts_of({place: jobs for _, place, jobs in rows})

    def _ahead(self, part: PlannedPart) -> Query:
        (uid,) = part.needs.uids
        table = self.tables.queues[part.command.queue]
        job = table.jobs.get(uid)

        def take(answer: list[Row]) -> None:
            if job is not None:
                ((table.places[job.spec.rank],),) = answer

        inv_prio, arrival = (0, 0) if job is None else rank_of(job)
        return Query(statements.ahead(self._id(part), inv_prio, arrival), take)


def _ignore(_answer: list[Row]) -> None:
    pass
