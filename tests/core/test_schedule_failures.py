"""Schedules that pause themselves because their jobs fail."""

import pytest

from jobengine.core import commands as c
from jobengine.core.model import Context, Defaults, State
from jobengine.core.schedules import FIRINGS, IfRunning
from tests.core.test_schedules import HOUR, WHO, at, change, end, hours, jobs, outcomes, put, read, schedule
from tests.core.worlds import World


@pytest.mark.parametrize("paused", [None, False])
def test_failures_in_a_row_pause_a_schedule_until_it_is_resumed(world: World, paused: bool | None) -> None:
    put(world, pause_after_failures=2)
    at(world, hours(world)[0])
    end(world, State.FAILED)
    at(world, hours(world)[0])
    end(world)
    for _ in range(2):
        at(world, hours(world)[0])
        end(world, State.FAILED)
    assert schedule(world).failures == 2
    due = hours(world)[0]
    at(world, due)
    its = schedule(world)
    assert (its.paused, its.failing, its.next) == (True, True, None)
    assert outcomes(world)[-1] == (due, "Its last 2 jobs failed. It is paused.")
    assert world.tables.queues["q"].schedules().failing == 1
    resumed = change(world, paused=False) if paused is None else put(world, paused=False).schedule
    assert (resumed.failing, resumed.failures, resumed.next) == (False, 0, due + HOUR)


def test_a_failed_job_is_kept_until_its_failure_is_counted(world: World) -> None:
    world.ask(c.ChangeQueue(**WHO, defaults=Defaults(keep_minutes=1, keep_failed_minutes=1)))
    put(world, cron="0 0 1 * *", pause_after_failures=1)
    put(world, "plain", cron="0 0 1 * *")
    at(world, schedule(world).next or 0)
    end(world, State.FAILED)
    world.now += 5 * 60_000
    world.expire()
    (kept,) = jobs(world)
    assert '"s"' in str(kept.spec.rare.context.meta)
    at(world, schedule(world).next or 0)
    assert schedule(world).failing


def test_failed_jobs_that_move_into_the_dead_letter_queue_pause_a_schedule_too(world: World) -> None:
    world.create("dead")
    world.set_up(dead_letter=("dead", 7))
    put(world, pause_after_failures=2, if_running=IfRunning.ADD)
    for _ in range(2):
        at(world, hours(world)[0])
    end(world, State.FAILED)
    world.expire()
    assert (jobs(world), len(world.list("dead"))) == ([], 2)
    assert {*read(world).states.values()} == {State.FAILED}
    due = hours(world)[0]
    at(world, due)
    assert outcomes(world)[-1] == (due, "Its last 2 jobs failed. It is paused.")


def test_a_schedule_remembers_only_the_moved_jobs_of_its_last_firings(world: World) -> None:
    world.create("dead")
    world.set_up(dead_letter=("dead", 7))
    put(world)
    for _ in range(FIRINGS + 3):
        at(world, hours(world)[0])
        end(world, State.FAILED)
        world.expire()
    assert len(schedule(world).moved) == FIRINGS


@pytest.mark.parametrize("meta", ['{"schedule":{"name":"s"}}', '{"schedule":{"name":"x"}}', '{"schedule":7}'])
def test_a_schedule_ignores_a_moved_job_that_it_has_not_added(world: World, meta: str) -> None:
    world.create("dead")
    world.set_up(dead_letter=("dead", 7))
    put(world)
    job = world.add(context=Context(meta=meta))
    world.hold()
    world.update(job.spec.uid, State.FAILED)
    world.expire()
    assert ([one.spec.uid for one in world.list("dead")], schedule(world).moved) == ([job.spec.uid], ())


def test_a_cancelled_job_does_not_count_as_a_failure(world: World) -> None:
    put(world, pause_after_failures=1)
    at(world, hours(world)[0])
    world.update(jobs(world)[0].spec.uid, cancel=True)
    at(world, hours(world)[0])
    assert [text for _, text in outcomes(world)] == ["+", "+"]
