"""A change of a queue's order beside transactions that do not know of it."""

from threading import Thread

import pytest

from jobengine.core import commands as c
from jobengine.core.model import Defaults
from jobengine.engine.postgres.database.connection import connected
from tests.contract.asking import KEY, Asker
from tests.engine.postgres.world import PostgresWorld, session_on
from tests.postgres import PRETENDED, until_waiting


def test_a_job_added_beside_a_change_of_the_order_gets_its_place_too(
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
            """Let the job be committed, once somebody waits for that."""
            other.execute("COMMIT")
            thread.join()

        monkeypatch.setattr("jobengine.engine.postgres.batch.give_flow.time.sleep", go_on)
        ask.reconfigure(seconds_per_priority=None)
        go_on()
    session.close()
    world.settle()
    assert ask.ask(c.Subscribe).order is None
    assert [job.spec.rare.line for job in ask.jobs()] == [None]
