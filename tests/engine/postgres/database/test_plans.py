"""The plans that PostgreSQL makes: frequent statements must not read a whole queue."""

import json
import random
from collections.abc import Iterator
from typing import Any

import pytest
from attrs import define, field
from psycopg.errors import Diagnostic

from jobengine.core import commands as c
from jobengine.core.model import Defaults, State
from jobengine.core.sorting import Sort
from jobengine.engine.ids import ordered_uuid
from jobengine.engine.postgres.batch.session import Session
from jobengine.engine.postgres.database.connection import connected
from jobengine.engine.postgres.sql import named
from tests.engine.postgres.world import session_on
from tests.postgres import Database

pytestmark = pytest.mark.slow

WHO: dict[str, Any] = {"queue": "q", "access_key": b"key"}
#: The jobs in the queue, and the most rows that a plan step may handle to find a few jobs.
JOBS, FEW = 1_000, 40
#: Makes PostgreSQL send the plan of each statement that it has carried out.
_TOLD = {
    "session_preload_libraries": "auto_explain",
    "auto_explain.log_min_duration": "0",
    "auto_explain.log_analyze": "on",
    "auto_explain.log_format": "json",
    "client_min_messages": "log",
}


@define
class _Plans:
    """The plans of the statements that a session has sent."""

    session: Session
    uids: list[str] = field(factory=list)
    _plans: list[dict[str, Any]] = field(factory=list)

    def begin(self) -> None:
        self.session.run(lambda connection: connection.add_notice_handler(self._note))

    def _note(self, told: Diagnostic) -> None:
        _, _, plan = (told.message_primary or "").partition("plan:")
        if plan:
            self._plans.append(json.loads(plan))

    def most(self, *tasks: c.Command[Any]) -> int:
        """The most rows that a step of any of the plans has handled."""
        # From its sixth execution on, a statement may have another plan, for all parameters.
        for _ in range(8):
            self._plans.clear()
            for outcome in self.session.carry_out(tasks).outcomes:
                outcome.get()
        return self._most()

    def sweep(self) -> int:
        """The most rows that a step of any plan of a sweep has handled."""
        for _ in range(8):
            self._plans.clear()
            self.session.sweep()
        return self._most()

    def _most(self) -> int:
        assert self._plans
        return max(rows for plan in self._plans for rows in _rows(plan["Plan"]))


def _rows(node: dict[str, Any]) -> Iterator[int]:
    removed = sum(value for name, value in node.items() if name.startswith("Rows Removed"))
    yield int((node["Actual Rows"] + removed) * node["Actual Loops"])
    for child in node.get("Plans", ()):
        yield from _rows(child)


@pytest.fixture(scope="module")
def plans(database: Database) -> Iterator[_Plans]:
    """Explains queries in a queue that has many jobs in each place (see core/places.py)."""
    database.clear()
    with connected(database.url) as control:
        session = session_on(database.url)
        uids = _fill(session)
        name = control.info.dbname
        for setting, value in _TOLD.items():
            control.execute(f"ALTER DATABASE {name} SET {setting} = '{value}'")
        control.execute("ANALYZE")
    session.close()
    made = _Plans(session, uids)
    made.begin()
    yield made
    session.close()


def _fill(session: Session) -> list[str]:
    """Jobs of some priorities, a quarter of them in each of four places; returns the uids of those in progress."""
    choose = random.Random(1).choice
    jobs = tuple(c.NewJob(content=b"{}", priority=choose([1, 2, 3]), tags=choose([(), ("t",)])) for _ in range(JOBS))
    session.carry_out([c.CreateQueue(**WHO)])
    session.carry_out([c.AddJobs(**WHO, jobs=jobs, defaults=Defaults())])
    uids: list[str] = []
    for state in (None, State.COMPLETE, State.FAILED):
        claims = c.Claims(queues=("q",), access_key=b"key", count=JOBS // 4)
        uids = [one.job.spec.uid for one in session.carry_out([claims]).outcomes[0].get().jobs]
        updates = tuple(c.JobUpdate(uid=uid, changes=c.Changes(state=state)) for uid in uids)
        session.carry_out([c.UpdateJobs(**WHO, updates=updates)])
    _fill_groups(session)
    _fill_graph(session)
    _fill_failures(session)
    return uids


def _fill_groups(session: Session) -> None:
    """Jobs of many groups in a queue of their own."""
    who = {**WHO, "queue": "grouped"}
    jobs = tuple(c.NewJob(content=b"{}", group=f"g {number % 100}") for number in range(JOBS))
    session.carry_out([c.CreateQueue(**who)])
    session.carry_out([c.AddJobs(**who, jobs=jobs, defaults=Defaults())])
    session.carry_out([c.Claims(queues=("grouped",), access_key=b"key", count=JOBS // 4)])


def _fill_graph(session: Session) -> None:
    """Pairs of jobs, of which one waits for the other, and many jobs of a batch, in a queue of their own."""
    who = {**WHO, "queue": "graph"}
    session.carry_out([c.CreateQueue(**who)])
    session.carry_out([c.SetBatch(**who, name="b", then=c.NewJob(content=b"{}"), defaults=Defaults())])
    pairs = [_pair() for _ in range(JOBS // 2)]
    jobs = [one for pair in pairs for one in pair] + [c.NewJob(content=b"{}", batch="b") for _ in range(JOBS)]
    session.carry_out([c.AddJobs(**who, jobs=tuple(jobs), defaults=Defaults())])


def _fill_failures(session: Session) -> None:
    """Failed jobs of many fingerprints in a queue of their own."""
    who = {**WHO, "queue": "failing"}
    jobs = tuple(c.NewJob(content=b"{}", uid=ordered_uuid()) for _ in range(JOBS))
    session.carry_out([c.CreateQueue(**who)])
    session.carry_out([c.AddJobs(**who, jobs=jobs, defaults=Defaults())])
    updates = tuple(_failure(job.uid or "", number) for number, job in enumerate(jobs))
    session.carry_out([c.UpdateJobs(**who, updates=updates)])


def _failure(uid: str, number: int) -> c.JobUpdate:
    changes = c.Changes(state=State.FAILED, error="no room", fingerprint=f"kind-{number % 100}")
    return c.JobUpdate(uid=uid, changes=changes)


def _pair() -> tuple[c.NewJob, c.NewJob]:
    uid = ordered_uuid()
    return c.NewJob(content=b"{}", uid=uid, priority=9), c.NewJob(content=b"{}", depends_on=(("graph", uid),))


@pytest.mark.parametrize("tags", [(), ("t",)])
def test_a_claim_of_five_jobs_reads_few_rows(plans: _Plans, tags: tuple[str, ...]) -> None:
    assert plans.most(c.Claims(queues=("q",), access_key=b"key", count=5, tags=tags)) <= FEW


def test_reading_and_changing_jobs_by_uid_reads_few_rows(plans: _Plans) -> None:
    tasks = [c.ReadJob(**WHO, uid=uid) for uid in plans.uids[:9]]
    changes = c.Changes(progress=1)
    update = c.UpdateJobs(**WHO, updates=tuple(c.JobUpdate(uid=uid, changes=changes) for uid in plans.uids[:9]))
    assert plans.most(*tasks, update) <= FEW


def test_releasing_a_waiting_job_reads_few_rows(plans: _Plans) -> None:
    who, most = {**WHO, "queue": "graph"}, 0
    for _ in range(8):
        plans.session.carry_out([c.AddJobs(**who, jobs=_pair(), defaults=Defaults())])
        (claimed,) = plans.session.carry_out([c.Claims(queues=("graph",), access_key=b"key")]).outcomes
        (one,) = claimed.get().jobs
        plans._plans.clear()
        update = c.UpdateJob(**who, uid=one.job.spec.uid, changes=c.Changes(state=State.COMPLETE))
        result = plans.session.carry_out([update])
        assert len(result.effects) == 2
        most = max(most, plans._most())
    assert most <= FEW


def test_counting_and_reading_a_batch_reads_few_rows(plans: _Plans) -> None:
    who: dict[str, Any] = {**WHO, "queue": "graph"}
    for _ in range(8):
        jobs = (c.NewJob(content=b"{}", batch="b", priority=9),)
        (added,) = plans.session.carry_out([c.AddJobs(**who, jobs=jobs, defaults=Defaults())]).outcomes
        update = c.UpdateJob(**who, uid=added.get()[0].job.spec.uid, changes=c.Changes(state=State.COMPLETE))
        plans._plans.clear()
        plans.session.carry_out([update])
        assert plans._most() <= FEW
    assert plans.most(c.ReadBatch(**who, name="b")) <= FEW
    assert plans.sweep() <= FEW


def test_listing_failures_reads_each_failure_once_and_few_jobs(plans: _Plans) -> None:
    assert plans.most(c.ListFailures(queue="failing", access_key=b"key", limit=5)) <= JOBS


def test_entering_explaining_and_removing_a_failure_reads_few_rows(plans: _Plans) -> None:
    who: dict[str, Any] = {**WHO, "queue": "failing"}
    (added,) = plans.session.carry_out(
        [c.AddJobs(**who, jobs=(c.NewJob(content=b"{}"),), defaults=Defaults())]
    ).outcomes
    uid = added.get()[0].job.spec.uid
    fail = c.UpdateJob(**who, uid=uid, changes=c.Changes(state=State.FAILED, fingerprint="kind-7"))
    retry = c.UpdateJob(**who, uid=uid, changes=c.Changes(state=State.QUEUED))
    assert plans.most(fail) <= FEW
    assert plans.most(c.ExplainJob(**who, uid=uid)) <= FEW
    assert plans.most(retry) <= FEW


def test_adding_reads_no_other_job(plans: _Plans) -> None:
    jobs = (c.NewJob(content=b"{}", uid=ordered_uuid(), tags=("t",), unique_key="k"), c.NewJob(content=b"{}"))
    assert plans.most(c.AddJobs(**WHO, jobs=jobs, defaults=Defaults())) <= FEW


def test_a_sweep_reads_only_what_is_due(plans: _Plans) -> None:
    assert plans.sweep() <= FEW


@pytest.mark.parametrize("state", [None, *State])
def test_a_page_in_execution_order_reads_only_its_jobs(plans: _Plans, state: State | None) -> None:
    assert plans.most(c.ListJobs(**WHO, filter=c.Filter(state=state), limit=5, scan=5)) <= FEW


@pytest.mark.parametrize("state", [None, State.QUEUED, State.INPROGRESS])
def test_a_page_of_a_group_reads_only_its_jobs(plans: _Plans, state: State | None) -> None:
    wanted = c.Filter(state=state, group="g 7")
    assert plans.most(c.ListJobs(queue="grouped", access_key=b"key", filter=wanted, limit=5, scan=5)) <= FEW


def test_claiming_and_completing_jobs_of_groups_reads_few_rows(plans: _Plans) -> None:
    who = {**WHO, "queue": "grouped"}
    for _ in range(8):
        plans._plans.clear()
        claims = c.Claims(queues=("grouped",), access_key=b"key", count=5)
        (claimed,) = plans.session.carry_out([claims]).outcomes
        uids = [one.job.spec.uid for one in claimed.get().jobs]
        updates = tuple(c.JobUpdate(uid=uid, changes=c.Changes(state=State.COMPLETE)) for uid in uids)
        plans.session.carry_out([c.UpdateJobs(**who, updates=updates)])
        assert len(uids) == 5
        assert plans._most() <= FEW


def test_a_page_of_a_list_sorted_by_time_reads_the_whole_queue(plans: _Plans) -> None:
    """An index for it would cost each change of a job a write: see docs/postgresql-differences.md."""
    assert plans.most(c.ListJobs(**WHO, filter=c.Filter(), limit=5, scan=5, sort=Sort.CREATED)) >= JOBS


def test_a_batch_takes_two_round_trips_if_its_queue_is_cached(plans: _Plans) -> None:
    jobs = (c.NewJob(content=b"{}", unique_key="u"),)
    add, claim = c.AddJobs(**WHO, jobs=jobs, defaults=Defaults()), c.Claims(queues=("q",), access_key=b"key", count=1)
    for _ in range(2):
        before = plans.session.totals.round_trips
        plans.session.carry_out([add, claim])
        trips = plans.session.totals.round_trips - before
    assert trips == 2


def test_stats_read_few_rows(plans: _Plans) -> None:
    assert plans.most(c.ReadStats(**WHO)) <= FEW


@pytest.mark.parametrize("most", [None, 10_000])
def test_creating_a_queue_reads_few_rows_however_many_queues_there_are(plans: _Plans, most: int | None) -> None:
    def made(number: int) -> int:
        """The most rows that a step of a plan has handled when one more queue was made."""
        plans._plans.clear()
        (outcome,) = plans.session.carry_out(
            [c.CreateQueue(queue=f"{most} {number}", access_key=b"key", max_queues=most)]
        ).outcomes
        outcome.get()
        return plans._most()

    assert max([made(number) for number in range(FEW * 3)][-FEW:]) <= 5


@pytest.fixture(scope="module")
def later(database: Database) -> Iterator[Session]:
    """A session on a long queue in which no job is due yet: half by elapsed time, half by the wall clock."""
    database.clear()
    session = session_on(database.url)
    session.carry_out([c.CreateQueue(**WHO)])
    new = [c.NewJob(content=b"{}", delay_seconds=9_999), c.NewJob(content=b"{}", timeout_time=9_999_999_999)]
    session.carry_out([c.AddJobs(**WHO, jobs=tuple(new * (JOBS // 2)), defaults=Defaults())])
    with connected(database.url) as control:
        control.execute("ANALYZE")
    yield session
    session.close()


@pytest.mark.parametrize("settings", ["ours", "default"])
@pytest.mark.parametrize("names", [["q"], None])
def test_jobs_that_are_due_later_are_not_read_when_a_batch_begins(
    later: Session, settings: str, names: list[str] | None
) -> None:
    begin = named("read_all_queues" if names is None else "read_queues").at(later.clock)
    values = {} if names is None else {"digests": [later.rows.name(name) for name in names]}

    def explain(connection: Any) -> Any:
        """Execute the statement; returns its plan and its rows."""
        with connection.transaction(force_rollback=True):
            if settings == "default":
                for name in ("seqscan", "bitmapscan", "hashjoin", "mergejoin"):
                    connection.execute(f"SET LOCAL enable_{name} = on")
            return connection.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {begin.text}", values).fetchone()

    ((plan,),) = later.run(explain)
    assert max(_rows(plan["Plan"])) <= 2
