"""A change of a queue's order during transactions that began before it, and with other servers."""

import os
import signal
from multiprocessing import get_context
from threading import Thread
from typing import Any

import pytest

from jobengine.core import commands as c
from jobengine.core.ageing import Order
from jobengine.core.commands.ordering import MoveInLine
from jobengine.core.model import Defaults
from jobengine.engine.door import Door, Unavailable
from jobengine.engine.postgres.database.connection import connected
from jobengine.engine.postgres.engine import PostgresEngine
from tests.contract.asking import KEY, Asker
from tests.doubles import new_clock
from tests.engine.postgres.world import PostgresWorld, session_on
from tests.postgres import PRETENDED, Database, until_waiting

_JOBS = 450


def test_a_job_added_during_a_change_of_the_order_also_gets_its_new_place_in_line(
    world: PostgresWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = Asker(world)
    ask.create()
    ask.reconfigure(seconds_per_priority=60)
    session = session_on(world.url, clock=PRETENDED)
    adding = c.AddJobs(queue="q", access_key=KEY, jobs=(c.NewJob(content=b"{}"),), defaults=Defaults())
    thread = Thread(target=session.carry_out, args=[[adding]])
    with connected(world.url) as other:
        other.execute("BEGIN")
        # The job has its place by the old order, and is not committed.
        other.execute("LOCK TABLE tally IN SHARE MODE")
        thread.start()
        with connected(world.url) as watching:
            until_waiting(watching, 1)

        def go_on(_seconds: float = 0) -> None:
            """Let the job be committed, once another connection waits for it."""
            other.execute("COMMIT")
            thread.join()

        monkeypatch.setattr("jobengine.engine.postgres.batch.give_flow.time.sleep", go_on)
        ask.reconfigure(seconds_per_priority=None)
        go_on()
    session.close()
    world.settle()
    assert ask.ask(c.Subscribe).order is None
    assert [job.spec.rare.line for job in ask.jobs()] == [None]


def _killed_in_a_move(url: str) -> None:
    """Change the order of the queue `q` on another server, which is killed after it has moved the first jobs."""
    world = PostgresWorld(url)
    decide_in = MoveInLine.decide_in

    def decided(self: MoveInLine, *given: Any) -> Any:
        if self.after is not None:
            os.kill(os.getpid(), signal.SIGKILL)
        return decide_in(self, *given)

    MoveInLine.decide_in = decided  # type: ignore[assignment, method-assign]  # this process ends soon
    Asker(world).reconfigure(seconds_per_priority=60)
    world.settle()


def _moved(ask: Asker) -> int:
    return sum(job.spec.rare.line is not None for job in ask.jobs())


def test_a_server_gives_the_remaining_jobs_new_places_after_another_server_was_killed(world: PostgresWorld) -> None:
    ask = Asker(world)
    ask.create()
    jobs = (c.NewJob(content=b"{}"),) * _JOBS
    ask.ask(c.AddJobs, jobs=jobs, defaults=Defaults())
    other = get_context("spawn").Process(target=_killed_in_a_move, args=(world.url,))
    other.start()
    other.join()
    assert other.exitcode == -signal.SIGKILL
    moved = _moved(ask)
    assert 0 < moved < _JOBS
    world.advance(20)
    assert _moved(ask) == moved
    for _ in range(3):
        world.advance(10)
    assert _moved(ask) == _JOBS
    assert ask.ask(c.Subscribe).order == Order(seconds_per_priority=60)


def test_only_one_server_at_a_time_gives_jobs_their_new_places_in_line(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.clear()
    clock = new_clock()
    first, second = PostgresWorld(database.url, clock=clock), PostgresWorld(database.url, clock=clock)
    carry_out, movers = PostgresEngine.ask, list[Door]()

    async def hindered(self: PostgresEngine, command: c.Command[Any]) -> Any:
        if isinstance(command, MoveInLine):
            movers.append(self)
            raise Unavailable("The database is away.")
        return await carry_out(self, command)

    monkeypatch.setattr(PostgresEngine, "ask", hindered)
    ask = Asker(first)
    ask.create()
    ask.add()
    ask.reconfigure(seconds_per_priority=60)
    for _ in range(60):
        clock.advance(1)
        second.settle()
    assert len(movers) > 30
    assert set(movers) == {first.engine}
    first.close()
    seen = len(movers)
    for _ in range(10):
        second.advance(1)
    assert set(movers[seen:]) == {second.engine}
    second.close()
