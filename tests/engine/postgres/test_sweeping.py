"""Sweeps: what they read and do, and when they start."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from attrs import define, field
from psycopg.errors import SerializationFailure
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from jobengine.core import commands as c
from jobengine.core.effects import JobEffect
from jobengine.core.model import Defaults
from jobengine.engine.postgres.batch.begin import Now
from jobengine.engine.postgres.batch.decide import Result
from jobengine.engine.postgres.batch.session import Session
from jobengine.engine.postgres.database.cleanup import Tidying
from jobengine.engine.postgres.database.rows import Rows
from jobengine.engine.postgres.sweeper import Sweeper
from tests.contract.asking import KEY
from tests.engine.postgres.world import session_on
from tests.postgres import PRETENDED, Database, Pretended

pytestmark = pytest.mark.slow

QUEUES = 12


@define
class _Time:
    """The database's time and the monotonic clock, which go on together."""

    database: Pretended
    now: float = 0

    def __call__(self) -> float:
        return self.now

    def set(self, seconds: float) -> None:
        self.now = seconds
        self.database.tell(seconds)


@pytest.fixture
def time(database: Database) -> Iterator[_Time]:
    database.clear()
    time = _Time(Pretended(database.url))
    yield time
    time.database.connection.close()


@pytest.fixture
def session(database: Database, time: _Time) -> Iterator[Session]:
    """A session on queues with one delayed job each: the n-th job is ready after n + 1 seconds."""
    session = session_on(database.url, steady=time, clock=PRETENDED)
    for at in range(QUEUES):
        who: dict[str, Any] = {"queue": f"q{at}", "access_key": KEY}
        session.carry_out([c.CreateQueue(**who)])
        new = c.NewJob(content=b"{}", delay_seconds=at + 1)
        session.carry_out([c.AddJobs(**who, jobs=(new,), defaults=Defaults())])
    session.sweep()
    yield session
    session.close()


def test_a_sweep_reads_only_queues_with_due_jobs_and_all_of_them_in_the_same_round_trips(
    session: Session, time: _Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    queue = Rows.queue

    def note(self: Rows, number: int, rev: int, digest: bytes, sealed: bytes) -> Any:
        found = queue(self, number, rev, digest, sealed)
        read.append(found.name)
        return found

    monkeypatch.setattr(Rows, "queue", note)
    found = []
    for seconds in (0.5, 1, 4):
        read.clear()
        time.set(seconds)
        before = session.totals.round_trips
        result = session.sweep()
        found.append((sorted(read), len(result.effects), result.soonest, session.totals.round_trips - before))
    # Trips of a sweep with nothing due: begin and read; roll back. Otherwise: also load, record the batch, commit.
    assert found == [([], 0, 1000, 2), (["q0"], 1, 2000, 4), (["q1", "q2", "q3"], 3, 5000, 4)]


# When sweeps start


@define
class _Sweeps:
    """Sweeps that take a while, and the times at which they began."""

    clock: Clock = field(factory=Clock)
    #: The seconds that each takes, and the jobs that it expires.
    seconds: float = 0.01
    jobs: int = 0
    #: After how many milliseconds the next job is due; None: never.
    soonest: int | None = None
    began: list[float] = field(factory=list)

    def __call__(self) -> "Deferred[Result]":
        self.began.append(self.clock.seconds())
        effects = [JobEffect("q", "u", None, None)] * self.jobs
        result = Result(now=Now(0, 0, {}), outcomes=(), effects=effects, soonest=self.soonest)
        later: Deferred[Result] = Deferred()
        self.clock.callLater(self.seconds, later.callback, result)
        return later

    def within_a_second(self) -> int:
        """How many sweeps begin in the next second."""
        self.began.clear()
        self.clock.pump([0.001] * 1000)
        return len(self.began)


@pytest.fixture
def sweeps() -> _Sweeps:
    sweeps = _Sweeps()
    Sweeper(clock=sweeps.clock, sweep=sweeps).start()
    sweeps.clock.pump([0.001] * 1000)
    return sweeps


def test_sweeps_start_each_second_if_nothing_is_due(sweeps: _Sweeps) -> None:
    assert sweeps.within_a_second() == 1


@pytest.mark.parametrize(("jobs", "soonest"), [(0, 1), (3, None)])
def test_sweeps_of_constantly_due_jobs_occupy_a_tenth_of_the_time(
    sweeps: _Sweeps, jobs: int, soonest: int | None
) -> None:
    sweeps.jobs, sweeps.soonest = jobs, soonest
    sweeps.clock.pump([0.001] * 1000)
    assert sweeps.within_a_second() in (9, 10, 11)


def test_the_pause_after_a_long_sweep_is_at_most_one_second(sweeps: _Sweeps) -> None:
    sweeps.seconds, sweeps.soonest = 0.5, 1
    sweeps.clock.pump([0.01] * 1000)
    began = sweeps.began[-3:]
    assert [b - a for a, b in pairwise(began)] == pytest.approx([1.5, 1.5], abs=0.05)


def test_sweeps_follow_without_a_pause_while_many_jobs_are_due(sweeps: _Sweeps) -> None:
    sweeps.jobs = 50
    sweeps.clock.pump([0.001] * 1000)
    assert sweeps.within_a_second() > 80


# Other tasks of a sweep


def test_a_sweep_reports_expired_jobs_even_if_the_cleanup_of_rows_fails(
    session: Session, time: _Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_self: Tidying, _connection: object, elapsed: int, wall: int) -> bool:
        raise SerializationFailure

    monkeypatch.setattr(Tidying, "tidy", fail)
    time.set(10.5)
    assert len(session.sweep().effects) == 10


def test_a_sweep_cleans_up_thousands_of_rows(session: Session, time: _Time) -> None:
    def left() -> int:
        ((left,),) = time.database.connection.execute("SELECT count(*) FROM unique_key").fetchall()
        return int(left)

    time.database.connection.execute("INSERT INTO unique_key SELECT 1, int4send(n) FROM generate_series(1, 5500) n")
    time.set(100)
    session.sweep()
    assert left() == 0


def test_a_failing_callback_is_logged_and_sweeps_continue(events: list[Any]) -> None:
    clock, broken = Clock(), Result(now=Now(0, 0, {}), outcomes=(), effects=None, soonest=None)  # type: ignore[arg-type]  # so that a callback fails
    sweeps: list[float] = []

    def sweep() -> "Deferred[Result]":
        sweeps.append(clock.seconds())
        return succeed(broken)

    Sweeper(clock=clock, sweep=sweep).start()
    clock.pump([0, 1, 1])
    assert len(sweeps) == 3
    assert [event["log_failure"].check(TypeError) for event in events if "log_failure" in event] == [TypeError] * 3
