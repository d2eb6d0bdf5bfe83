"""Clients that wait, claim or watch at one server: their cost for the database, and that they miss nothing."""

from collections.abc import Callable
from typing import Any

import pytest

from jobengine.core import commands as c
from jobengine.core.model import Defaults, Job, State
from jobengine.engine.postgres.batch import queries as statements
from jobengine.engine.postgres.wake.waiters import Waiters
from tests.contract.asking import KEY, Asker, new_job
from tests.engine.postgres.world import PostgresWorld

pytestmark = pytest.mark.slow

LongJobs = Callable[[int], list[Job]]


@pytest.fixture
def long_jobs(ask: Asker, monkeypatch: pytest.MonkeyPatch) -> LongJobs:
    """Adds jobs so long that only two are loaded at a time: one that fits, and one beyond the limit."""
    monkeypatch.setattr(statements, "CLAIMED_BYTES", 20)
    return lambda number: [ask.add(content=b'{"long":"job"}') for _ in range(number)]


def _batches(world: PostgresWorld) -> int:
    """How many batches were carried out."""
    (figures,) = world.all_of(world.engine.figures())
    (batches,) = [one.count for one in figures if one.name == "batch_tasks"]
    return int(batches)


def test_all_waiters_are_served_in_one_batch(world: PostgresWorld, ask: Asker) -> None:
    waiting = [ask.claiming() for _ in range(20)]
    before = _batches(world)
    ask.ask(c.AddJobs, jobs=(c.NewJob(content=b"{}"),) * 20, defaults=Defaults())
    assert all(one.answered for one in waiting)
    # The adds, then all claims.
    assert _batches(world) - before == 2


def test_waiters_at_a_paused_queue_do_not_claim_repeatedly(world: PostgresWorld, ask: Asker) -> None:
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


def test_a_waiter_gets_the_job_of_a_queue_that_another_server_resumes(
    world: PostgresWorld, ask: Asker, other: Asker
) -> None:
    ask.reconfigure(paused=True)
    ask.add()
    waiting = ask.claiming()
    world.advance(2)
    other.reconfigure(paused=False)
    world.advance(2)
    assert waiting.answered


def test_each_of_several_claims_in_a_batch_gets_a_different_long_job(world: PostgresWorld, long_jobs: LongJobs) -> None:
    long_jobs(7)
    claims = c.Claims(queues=("q",), access_key=KEY)
    answers = world.all_of(*(world.engine.claim(claims) for _ in range(8)))
    assert [len(one.jobs) for one in answers] == [1] * 7 + [0]


def test_a_watcher_gets_the_notice_of_missing_events_if_the_database_had_ended_its_watch(
    world: PostgresWorld, ask: Asker, other: Asker
) -> None:
    stream = ask.watch()
    event = world.begin(anext(stream))
    ask.add()
    last = event.answer[0].events[-1].id
    # By then the queue no longer counts as watched.
    world.control.execute("UPDATE queue SET watched_until = 0")
    other.add()
    told, end = world.begin(anext(stream)), "the end"
    world.advance(2)
    assert (told.answer, ask.get(anext(stream, end))) == (None, end)
    assert ask.get(anext(ask.watch(after=last))) is None


def test_a_waiting_peek_at_a_paused_queue_sees_a_job_added_at_another_server(
    world: PostgresWorld, ask: Asker, other: Asker
) -> None:
    ask.reconfigure(paused=True)
    waiting = ask.peeking()
    world.advance(2)
    added = other.add()
    world.advance(2)
    assert waiting.answer.spec == added.spec


def test_a_claim_gets_a_loaded_job_before_a_less_urgent_job_added_in_the_same_batch(
    world: PostgresWorld, long_jobs: LongJobs
) -> None:
    jobs = long_jobs(5)
    claims = c.Claims(queues=("q",), access_key=KEY)
    asked = [world.engine.claim(claims) for _ in range(3)]
    *first, _, last = world.all_of(*asked[:2], world.engine.ask(new_job(priority=0)), asked[2])
    assert [one.jobs[0].job.spec.uid for one in (*first, last)] == [one.spec.uid for one in jobs[:3]]


def test_a_peek_after_claims_of_long_jobs_shows_the_first_unclaimed_job(
    world: PostgresWorld, long_jobs: LongJobs
) -> None:
    jobs = long_jobs(3)
    claims = [world.engine.claim(c.Claims(queues=("q",), access_key=KEY)) for _ in range(2)]
    *_, seen = world.all_of(*claims, world.engine.peek(c.Peek(queue="q", access_key=KEY)))
    assert seen.spec == jobs[2].spec


def test_a_claim_without_tags_gets_a_long_job_after_claims_with_unknown_tags(
    world: PostgresWorld, long_jobs: LongJobs
) -> None:
    long_jobs(3)
    before = _batches(world)
    kinds = [("no", "such")] * 5 + [()]
    claims = [c.Claims(queues=("q",), access_key=KEY, tags=tags) for tags in kinds]
    answers = world.all_of(*map(world.engine.claim, claims))
    assert [len(one.jobs) for one in answers] == [0] * 5 + [1]
    assert _batches(world) - before == 1


def test_a_claim_gets_a_job_even_if_updates_of_its_batch_finish_all_loaded_long_jobs(
    world: PostgresWorld, long_jobs: LongJobs
) -> None:
    jobs = long_jobs(4)
    who: dict[str, Any] = {"queue": "q", "access_key": KEY}
    changes = [c.UpdateJob(**who, uid=job.spec.uid, changes=c.Changes(state=State.COMPLETE)) for job in jobs[:2]]
    *_, claimed = world.all_of(
        *map(world.engine.ask, changes), world.engine.claim(c.Claims(queues=("q",), access_key=KEY))
    )
    assert [one.job.spec for one in claimed.jobs] == [jobs[2].spec]


def test_a_failed_poll_is_logged_and_polling_goes_on(
    world: PostgresWorld, ask: Asker, other: Asker, monkeypatch: pytest.MonkeyPatch, events: list[Any]
) -> None:
    waiting = ask.claiming()
    with monkeypatch.context() as broken:
        broken.setattr(Waiters, "apply_poll", lambda _self, _found: 1 // 0)
        world.advance(2)
    (failure,) = [event["log_failure"] for event in events if "log_failure" in event]
    assert failure.check(ZeroDivisionError)
    other.add()
    world.advance(2)
    assert waiting.answered
