"""Clients that wait, claim or watch at one server: what they cost the database, and what they must not miss."""

from collections.abc import Iterator

import pytest

from jobengine.core import commands as c
from jobengine.core.model import Defaults
from jobengine.engine.postgres import statements
from tests.contract.asking import KEY, Asker
from tests.contract.postgres_world import PostgresWorld
from tests.postgres import Database

pytestmark = pytest.mark.slow


@pytest.fixture
def world(database: Database) -> Iterator[PostgresWorld]:
    database.clear()
    world = PostgresWorld(database.url)
    yield world
    world.close()


@pytest.fixture
def ask(world: PostgresWorld) -> Asker:
    asker = Asker(world)
    asker.create()
    return asker


@pytest.fixture
def other(database: Database, ask: Asker) -> Iterator[Asker]:
    """Asks another server."""
    world = PostgresWorld(database.url)
    yield Asker(world)
    world.close()


def _batches(world: PostgresWorld) -> int:
    """How many batches were carried out."""
    (figures,) = world.all_of(world.engine.figures())
    (batches,) = [one.count for one in figures if one.name == "batch_tasks"]
    return int(batches)


def test_waiters_are_served_in_one_batch(world: PostgresWorld, ask: Asker) -> None:
    waiting = [ask.claiming() for _ in range(20)]
    before = _batches(world)
    ask.ask(c.AddJobs, jobs=(c.NewJob(content=b"{}"),) * 20, defaults=Defaults())
    assert all(one.answered for one in waiting)
    # The adds, then all claims.
    assert _batches(world) - before == 2


def test_at_a_paused_queue_waiters_do_not_claim_again_and_again(world: PostgresWorld, ask: Asker) -> None:
    ask.reconfigure(paused=True)
    ask.add()
    waiting = [ask.claiming() for _ in range(5)]
    world.advance(2)
    batches = _batches(world)
    for _ in range(5):
        world.advance(2)
    assert _batches(world) == batches
    ask.reconfigure(paused=False)
    assert [one.answered for one in waiting] == [True, False, False, False, False]


def test_at_a_queue_that_another_server_resumes_a_waiter_gets_the_job(
    world: PostgresWorld, ask: Asker, other: Asker
) -> None:
    ask.reconfigure(paused=True)
    ask.add()
    waiting = ask.claiming()
    world.advance(2)
    other.reconfigure(paused=False)
    world.advance(2)
    assert waiting.answered


def test_claims_of_long_jobs_in_one_batch_each_get_one(
    world: PostgresWorld, ask: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(7):
        ask.add(content=b'{"long":"job"}')
    # As many are loaded as fit, and the one that does not: two.
    monkeypatch.setattr(statements, "CLAIMED_BYTES", 20)
    claims = c.Claims(queues=("q",), access_key=KEY)
    answers = world.all_of(*(world.engine.claim(claims) for _ in range(8)))
    assert [len(one.jobs) for one in answers] == [1] * 7 + [0]


def test_a_watcher_whose_server_was_cut_off_is_told_that_events_may_be_missing(
    world: PostgresWorld, ask: Asker, other: Asker
) -> None:
    stream = ask.watch()
    event = world.begin(anext(stream))
    ask.add()
    last = event.answer[0].events[-1].id
    # Meanwhile the queue counts as not watched any more.
    world.control.execute("UPDATE queue SET watched_until = 0")
    other.add()
    event = world.begin(anext(stream, "the end"))
    world.advance(2)
    assert event.answer == "the end"
    assert ask.get(anext(ask.watch(after=last))) is None
