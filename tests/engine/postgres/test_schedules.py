"""Schedules on PostgreSQL: several servers fire each time once, also when connections are lost."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from jobengine.core import commands as c
from jobengine.core.model import Job
from jobengine.core.schedules import IfRunning, Missed, Schedule, ScheduledJob, Settings
from jobengine.engine.postgres.database.pipeline import Trips
from tests.contract.asking import KEY, Asker
from tests.core.worlds import EDGE
from tests.engine.postgres.world import PostgresWorld, session_on
from tests.postgres import PRETENDED, Database

pytestmark = pytest.mark.slow

WHO: dict[str, Any] = {"queue": "q", "access_key": KEY}
#: Seconds between two times.
EVERY = 60
FIRE = c.FireSchedule(queue="q", admin=True, name="s", edge=EDGE)


@pytest.fixture
def ask(world: PostgresWorld) -> Asker:
    asker = Asker(world)
    asker.create()
    return asker


def put(ask: Asker, **settings: Any) -> None:
    more: dict[str, Any] = {"every_seconds": EVERY, "if_running": IfRunning.ADD, "missed": Missed.ALL, **settings}
    ask.ask(c.SetSchedule, name="s", settings=Settings(job=ScheduledJob(content="{}"), **more), edge=EDGE)


def read(ask: Asker) -> Schedule:
    schedule: Schedule = ask.ask(c.ReadSchedule, name="s").schedule
    return schedule


def check(ask: Asker, number: int) -> None:
    """Each of the first `number` times has one job, and was fired once."""
    jobs: list[Job] = ask.jobs()
    metas = {job.spec.rare.context.meta for job in jobs}
    assert (len(jobs), len(metas), read(ask).fired, read(ask).skipped) == (number, number, number, 0)


@pytest.mark.parametrize("servers", [2, 4])
def test_concurrent_sessions_fire_each_scheduled_time_once(
    world: PostgresWorld, ask: Asker, database: Database, servers: int
) -> None:
    put(ask)
    # Move only the clock of the database, so that the world's own engine makes no sweep.
    world.set_clock_of_database(EVERY * 200)
    sessions = [session_on(database.url, clock=PRETENDED) for _ in range(servers)]
    counts = [0] * servers

    def fire(number: int) -> None:
        for _ in range(300):
            result = sessions[number].carry_out([FIRE])
            counts[number] += len(result.effects) > 0

    threads = [threading.Thread(target=fire, args=(number,)) for number in range(servers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for session in sessions:
        session.close()
    assert sum(counts) == 200
    assert min(counts) > 0, "each server has fired some"
    check(ask, 200)


def test_two_servers_together_fire_each_scheduled_time_once(database: Database) -> None:
    database.clear()
    first, second = PostgresWorld(database.url), PostgresWorld(database.url)
    here = Asker(first)
    here.create()
    put(here)
    for _ in range(20):
        # Each world sets the clock of the database to its own time.
        for world in (first, second, first, second):
            world.advance(EVERY / 3)
    first.settle()
    jobs = here.jobs()
    assert len(jobs) == len({job.spec.rare.context.meta for job in jobs}) == read(here).fired
    assert len(jobs) == 20 * 40 // EVERY
    first.close()
    second.close()


def test_a_schedule_that_another_server_sets_fires_within_a_second(database: Database) -> None:
    database.clear()
    first, second = PostgresWorld(database.url), PostgresWorld(database.url)
    here, there = Asker(first), Asker(second)
    here.create()
    put(there, every_seconds=5)
    first._clock.rightNow += 5
    first._set_time()
    for _ in range(10):
        first._clock.advance(0.1)
    assert read(here).fired == 1
    first.close()
    second.close()


class _Cut:
    """Cuts the connection of a batch before one of its trips, as the end of the server would."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, database: PostgresWorld) -> None:
        self.trips, self.cut_at = 0, 0
        make = Trips.make

        def cut(trips: Trips, *args: Any) -> Any:
            self.trips += 1
            if self.trips == self.cut_at:
                pid = trips._connection.info.backend_pid
                database.control.execute("SELECT pg_terminate_backend(%s, 1000)", [pid])
            return make(trips, *args)

        monkeypatch.setattr(Trips, "make", cut)


@pytest.fixture
def cut(monkeypatch: pytest.MonkeyPatch, world: PostgresWorld) -> Iterator[_Cut]:
    yield _Cut(monkeypatch, world)
    monkeypatch.undo()


def test_a_connection_lost_at_any_step_neither_loses_nor_repeats_a_firing(
    world: PostgresWorld, ask: Asker, database: Database, cut: _Cut
) -> None:
    put(ask)
    steps = 0
    for number in range(1, 40):
        world.set_clock_of_database(EVERY)
        session = session_on(database.url, clock=PRETENDED)
        cut.trips, cut.cut_at = 0, number
        session.carry_out([FIRE])
        was_cut, cut.cut_at = cut.trips >= number, 0
        session.carry_out([FIRE])
        session.close()
        check(ask, number)
        if not was_cut:
            break
        steps += 1
    assert steps >= 4
