"""Several servers end jobs on which the same jobs depend: each of these is released once, without deadlocks."""

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from random import Random
from typing import Any

import psycopg
import pytest
from attrs import evolve

from jobengine.core import commands as c
from jobengine.core.dependants import awaited_by
from jobengine.core.dependencies import Awaited, OnDependencyFailure, batch_key
from jobengine.core.model import Defaults, Job, State
from jobengine.engine.door import Busy
from jobengine.engine.ids import new_uuid
from jobengine.engine.postgres.batch import follow
from jobengine.engine.postgres.batch.follow import taken
from jobengine.engine.postgres.batch.session import Session
from jobengine.engine.postgres.database.pipeline import Trips
from jobengine.engine.waiting_line import Done
from tests.contract.asking import KEY
from tests.engine.postgres.links import wrong_links
from tests.engine.postgres.server import Server
from tests.engine.postgres.world import session_on
from tests.postgres import Database, until_waiting

pytestmark = pytest.mark.slow

WHO: dict[str, Any] = {"queue": "q", "access_key": KEY}
COMPLETE = c.Changes(state=State.COMPLETE)


@pytest.fixture
def sessions(database: Database) -> Iterator[list[Session]]:
    database.clear()
    made = [session_on(database.url) for _ in range(4)]
    made[0].carry_out([c.CreateQueue(**WHO)])
    yield made
    for session in made:
        session.close()


def at_once(*works: Callable[[], Any]) -> None:
    """Do several things at the same time; raises what one of them raises."""
    failed: list[BaseException] = []
    ready = threading.Barrier(len(works))

    def begin(work: Callable[[], Any]) -> None:
        try:
            ready.wait()
            work()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=begin, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


def answer(session: Session, task: c.Command[Any]) -> Any:
    (outcome,) = session.carry_out([task]).outcomes
    return outcome.get()


def add(session: Session, *jobs: c.NewJob, **more: Any) -> list[str]:
    added = answer(session, c.AddJobs(**WHO, jobs=jobs, defaults=Defaults(), **more))
    return [one.job.spec.uid for one in added]


def new(*on: str, **more: Any) -> c.NewJob:
    return c.NewJob(content=b"{}", uid=new_uuid(), depends_on=tuple(("q", uid) for uid in on), **more)


def ends(uid: str, state: State = State.COMPLETE) -> c.UpdateJob:
    return c.UpdateJob(**WHO, uid=uid, changes=c.Changes(state=state))


def read(session: Session, uid: str) -> Job:
    job: Job = answer(session, c.ReadJob(**WHO, uid=uid))
    return job


def settle(session: Session, database: Database) -> None:
    """Follow up all ends of jobs that are left."""
    for _ in range(1_000):
        result = session.sweep()
        if not (result.now.has_ended or result.has_left):
            break
    assert wrong_links(database.url) == []


def test_a_job_whose_two_parents_complete_at_two_servers_is_ready_before_the_last_answer(
    sessions: list[Session], database: Database
) -> None:
    for _ in range(100):
        first, second = new(), new()
        (*_, child) = add(sessions[0], first, second, new(str(first.uid), str(second.uid)))
        at_once(
            partial(answer, sessions[0], ends(str(first.uid))),
            partial(answer, sessions[1], ends(str(second.uid))),
            # One server may take over what others have left; they wait for it.
            sessions[3].sweep,
        )
        assert read(sessions[2], child).ready
    assert [session.totals.redone for session in sessions] == [0] * 4
    settle(sessions[3], database)


def test_a_server_waits_with_its_answer_while_another_server_updates_the_dependants(
    sessions: list[Session], database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = new()
    (_, child) = add(sessions[0], parent, new(str(parent.uid)))
    sweeper, answering = threading.Thread(target=sessions[3].sweep), threading.Event()
    has_taken, goes_on = threading.Event(), threading.Event()

    def taken_late(connection: Any, first: Any, own: Any) -> Any:
        if own is not None:
            sweeper.start()
            has_taken.wait(9)
            return taken(connection, first, own)
        rows = taken(connection, first, own)
        has_taken.set()
        goes_on.wait(9)
        return rows

    def end() -> None:
        answer(sessions[0], ends(str(parent.uid)))
        answering.set()

    monkeypatch.setattr("jobengine.engine.postgres.batch.session.taken", taken_late)
    ending = threading.Thread(target=end)
    ending.start()
    with psycopg.connect(database.url, autocommit=True) as control:
        until_waiting(control, 1)
    assert not answering.is_set()
    goes_on.set()
    ending.join()
    assert read(sessions[1], child).ready
    sweeper.join()


def test_a_batch_ends_once_if_its_last_jobs_finish_at_the_same_time(
    sessions: list[Session], database: Database
) -> None:
    for number in range(30):
        name = f"b{number}"
        then = new()
        answer(sessions[0], c.SetBatch(**WHO, name=name, then=then, defaults=Defaults()))
        uids = add(sessions[0], *(new(batch=name) for _ in range(4)))
        answer(sessions[0], c.CloseBatch(**WHO, name=name))
        at_once(*[partial(answer, sessions[at], ends(uids[at])) for at in range(4)])
        settle(sessions[0], database)
        assert read(sessions[0], str(then.uid)).ready
    assert [session.totals.redone for session in sessions] == [0] * 4


def test_adds_to_a_batch_do_not_wait_for_each_other_but_the_batch_end_waits_for_all_adds(
    sessions: list[Session], database: Database
) -> None:
    answer(sessions[0], c.SetBatch(**WHO, name="b", then=new(), defaults=Defaults()))
    server, other = Server.on(database.url), Server.on(database.url)
    closing = threading.Thread(target=partial(answer, sessions[1], c.CloseBatch(**WHO, name="b")))

    def meanwhile() -> None:
        other.add(batch="b")
        closing.start()
        with psycopg.connect(database.url, autocommit=True) as control:
            until_waiting(control, 1)

    server.meanwhile = meanwhile
    server.add(batch="b")
    closing.join()
    report = answer(sessions[0], c.ReadBatch(**WHO, name="b"))
    assert (report.counts.total, report.batch.open, report.batch.ended) == (2, False, None)
    server.session.close()
    other.session.close()


def marks(job: Job) -> dict[Awaited, str]:
    """The dependencies whose end was not followed up yet, each with the character for how it ended."""
    dependencies = job.spec.rare.dependencies
    on = () if dependencies is None or not job.standing.ended else dependencies.on
    found = dict(zip(on, job.standing.ended, strict=True)) if on else {}
    return {awaited: found[awaited] for awaited in awaited_by(job)}


class Client:
    """Sends random commands about jobs that depend on each other."""

    def __init__(self, session: Session, seed: int, uids: list[str]) -> None:
        self.session, self.random = session, Random(seed)
        #: The jobs that any client has added.
        self.uids = uids

    def work(self, rounds: int) -> None:
        for _ in range(rounds):
            with suppress(Busy):
                self._round()

    def _round(self) -> None:
        random = self.random
        known = random.sample(self.uids, min(len(self.uids), 3))
        jobs = tuple(self._new(known) for _ in range(random.randint(1, 3)))
        tasks: list[c.Command[Any]] = [c.AddJobs(**WHO, jobs=jobs, defaults=Defaults())]
        tasks += [self._update() for _ in range(random.randint(1, 4))] if self.uids else []
        if not random.randrange(6) and self.uids:
            tasks.append(c.DeleteJob(**WHO, uid=random.choice(self.uids)))
        outcomes = self.session.carry_out(tasks).outcomes
        if isinstance(outcomes[0], Done):
            self.uids += [str(job.uid) for job in jobs]
        if not random.randrange(5):
            self.session.sweep()

    def _new(self, known: list[str]) -> c.NewJob:
        on = self.random.sample(known, min(len(known), self.random.choice([0, 1, 2, 3])))
        policy = self.random.choice([*OnDependencyFailure])
        return new(*on, on_dependency_failure=policy, batch=self.random.choice([None, "b"]))

    def _update(self) -> c.Command[Any]:
        states = [State.COMPLETE, State.COMPLETE, State.COMPLETE, State.FAILED, State.QUEUED]
        updates = [
            c.JobUpdate(uid=self.random.choice(self.uids), changes=c.Changes(state=self.random.choice(states)))
            for _ in range(self.random.randint(1, 5))
        ]
        return c.UpdateJobs(**WHO, updates=tuple(updates))


def test_four_servers_that_change_a_graph_leave_no_job_waiting_for_a_finished_job(
    sessions: list[Session], database: Database
) -> None:
    answer(sessions[0], c.SetBatch(**WHO, name="b", then=new(), defaults=Defaults()))
    uids: list[str] = []
    clients = [Client(session, seed, uids) for seed, session in enumerate(sessions)]
    at_once(*[partial(client.work, 120) for client in clients])
    settle(sessions[0], database)
    page = answer(sessions[0], c.ListJobs(**WHO, limit=10_000))
    jobs = {job.spec.uid: job for job in page.jobs}
    assert len(jobs) > 100
    for job in jobs.values():
        for (_, uid), mark in marks(job).items():
            state = jobs[uid].state if uid in jobs else None
            is_finished = state not in (State.QUEUED, State.INPROGRESS)
            assert uid == batch_key("b") or (mark != "-") == is_finished, (mark, state)
    # A deletion of a batch's job waits for the key of the batch, whose holder may wait for the job: it is retried.
    assert sum(session.totals.redone for session in sessions) < 20


def test_a_job_that_gets_a_dependant_at_the_end_of_its_batch_is_kept_for_the_dependant(
    sessions: list[Session], database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(sessions[0], c.SetBatch(**WHO, name="b", then=new(), defaults=Defaults()))
    early, last = add(sessions[0], new(batch="b"), new(batch="b"))
    answer(sessions[0], c.CloseBatch(**WHO, name="b"))
    answer(sessions[0], ends(early))
    # The database waits after it has taken its snapshot, and before it locks a job.
    kept = "kept IS NOT NULL AND"
    held = follow._LOCK_KEPT_JOBS.text.replace(kept, f"{kept} pg_advisory_xact_lock(7) IS NOT NULL AND")
    monkeypatch.setattr(follow, "_LOCK_KEPT_JOBS", evolve(follow._LOCK_KEPT_JOBS, text=held))
    with psycopg.connect(database.url, autocommit=True) as gate:
        gate.execute("SELECT pg_advisory_lock(7)")

        def depend() -> None:
            until_waiting(gate, 1)
            add(sessions[1], new(early))
            gate.execute("SELECT pg_advisory_unlock(7)")

        def end() -> None:
            answer(sessions[0], ends(last))
            settle(sessions[0], database)

        at_once(depend, end)


def stopped_follow_up(monkeypatch: pytest.MonkeyPatch) -> tuple[threading.Event, threading.Event]:
    """Stop the next follow-up before it begins retentions: it sets the first event, and waits for the second."""
    has_stopped, goes_on = threading.Event(), threading.Event()
    freed = follow.FollowUps._freed

    def slowly_freed(follow_ups: follow.FollowUps, *stands: Any) -> Any:
        monkeypatch.setattr(follow.FollowUps, "_freed", freed)
        has_stopped.set()
        goes_on.wait()
        return freed(follow_ups, *stands)

    monkeypatch.setattr(follow.FollowUps, "_freed", slowly_freed)
    return has_stopped, goes_on


def test_a_job_is_kept_if_its_dependant_is_retried_as_the_retention_of_the_job_begins(
    sessions: list[Session], database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    (parent,) = add(sessions[0], new())
    answer(sessions[0], ends(parent))
    (child,) = add(sessions[0], new(parent))
    answer(sessions[0], ends(child))
    has_stopped, goes_on = stopped_follow_up(monkeypatch)

    def retry() -> None:
        has_stopped.wait()
        answer(sessions[1], ends(child, State.QUEUED))

    def sweep_meanwhile() -> None:
        try:
            with psycopg.connect(database.url, autocommit=True) as gate:
                # The retry waits to follow up its own rows, and another sweep takes them.
                until_waiting(gate, 1)
                other.start()
                until_waiting(gate, 2)
        finally:
            goes_on.set()

    other = threading.Thread(target=sessions[3].sweep)
    at_once(sessions[0].sweep, retry, sweep_meanwhile)
    other.join()
    settle(sessions[2], database)


class Cut:
    """Cuts the connection of a session before one of its trips, as the end of the server would."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, killer: Any) -> None:
        self.trips, self.cut_at = 0, 0
        make = Trips.make

        def cut(trips: Trips, *args: Any) -> Any:
            self.trips += 1
            if self.trips == self.cut_at:
                killer.execute("SELECT pg_terminate_backend(%s, 1000)", [trips._connection.info.backend_pid])
            return make(trips, *args)

        monkeypatch.setattr(Trips, "make", cut)


def test_dependants_are_updated_even_if_the_server_loses_the_database_at_any_step(
    sessions: list[Session], database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = 0
    with psycopg.connect(database.url, autocommit=True) as killer, monkeypatch.context() as patched:
        cut = Cut(patched, killer)
        for number in range(1, 60):
            first, second = new(), new()
            third = new(str(second.uid))
            add(sessions[0], first, new(str(first.uid), batch=None), second, third, new(str(third.uid)))
            cut.trips, cut.cut_at = 0, number
            updates = (
                c.JobUpdate(uid=str(first.uid), changes=COMPLETE),
                c.JobUpdate(uid=str(second.uid), changes=c.Changes(state=State.FAILED)),
            )
            answer(sessions[1], c.UpdateJobs(**WHO, updates=updates))
            was_cut, cut.cut_at = cut.trips >= number, 0
            settle(sessions[2], database)
            assert read(sessions[0], str(third.uid)).state is State.FAILED
            if not was_cut:
                break
            steps += 1
    assert steps >= 8


def fan_out(session: Session, monkeypatch: pytest.MonkeyPatch) -> tuple[str, list[str]]:
    """A job and several dependants: a follow-up releases a few of them, and a cascade the next ones."""
    monkeypatch.setattr("jobengine.engine.postgres.batch.follow._JOBS", 30)
    monkeypatch.setattr("jobengine.engine.postgres.batch.cascade._MOST", 2)
    parent = new()
    (uid, *children) = add(session, parent, *(new(str(parent.uid)) for _ in range(200)))
    return uid, children


@pytest.mark.parametrize("removes", ["one", "matching", "queue", "same batch"])
def test_a_job_deleted_immediately_after_its_completion_releases_its_dependants(
    sessions: list[Session], database: Database, monkeypatch: pytest.MonkeyPatch, removes: str
) -> None:
    answer(sessions[0], c.CreateQueue(queue="other", access_key=KEY))
    uid, children = fan_out(sessions[0], monkeypatch)
    elsewhere = c.AddJobs(queue="other", access_key=KEY, jobs=tuple(new(uid) for _ in range(200)), defaults=Defaults())
    others = [one.job.spec.uid for one in answer(sessions[0], elsewhere)]
    deletes: dict[str, c.Command[Any]] = {
        "one": c.DeleteJob(**WHO, uid=uid),
        "matching": c.DeleteMatching(**WHO, filter=c.Filter(state=State.COMPLETE)),
        "queue": c.DeleteQueue(**WHO),
    }
    if removes == "same batch":
        tasks = [ends(uid), deletes["one"]]
        while tasks:
            tasks = tasks[len(sessions[0].carry_out(tasks).outcomes) :]
    else:
        answer(sessions[0], ends(uid))
        answer(sessions[1], deletes[removes])
    settle(sessions[2], database)
    left = [] if removes == "queue" else [read(sessions[0], child) for child in children]
    assert {job.ready for job in left} <= {True}
    page = answer(sessions[0], c.ListJobs(queue="other", access_key=KEY, limit=1_000))
    assert sorted(job.spec.uid for job in page.jobs) == sorted(others)
    assert {job.ready for job in page.jobs} == {True}
