"""The time of day is set, while the engine runs or not: leases count the time that goes by."""

from pathlib import Path

import pytest

from jobengine.core.model import State
from tests.engine.engines import Desk

HOUR = 3_600
STEPS = [HOUR, -HOUR, 400_000_000]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    desk = Desk(tmp_path / "db")
    desk.create()
    desk.told(desk.adding(timeout_seconds=100, keep_minutes=1_000_000_000))
    desk.told(desk.claiming())
    return desk


def state(desk: Desk) -> State:
    (job,) = desk.jobs()
    return job.state


@pytest.mark.parametrize("step", STEPS)
def test_a_step_of_the_clock_neither_ends_a_lease_nor_makes_it_longer(desk: Desk, step: int) -> None:
    desk.clock.advance(40)
    desk.step_time_of_day(step)
    assert state(desk) is State.INPROGRESS
    desk.clock.advance(59.999)
    assert state(desk) is State.INPROGRESS
    desk.clock.advance(0.001)
    assert state(desk) is State.FAILED


@pytest.mark.parametrize("orderly", [True, False])
@pytest.mark.parametrize("step", STEPS)
def test_restarts_after_a_step_leave_a_lease_as_it_is(desk: Desk, step: int, orderly: bool) -> None:
    desk.step_time_of_day(step)
    assert state(desk) is State.INPROGRESS
    for _ in range(3):
        desk.clock.advance(25)
        (desk.restart if orderly else desk.restart_after_kill)()
        assert state(desk) is State.INPROGRESS
    desk.clock.advance(24.999)
    assert state(desk) is State.INPROGRESS
    desk.clock.advance(0.001)
    assert state(desk) is State.FAILED


def test_a_clock_that_was_set_back_while_nothing_ran_makes_no_lease_longer(desk: Desk) -> None:
    desk.clock.advance(40)
    desk.stop()
    desk.step_time_of_day(-HOUR)
    desk.start()
    assert state(desk) is State.INPROGRESS
    desk.clock.advance(100)
    assert state(desk) is State.FAILED


def test_a_step_that_was_not_noticed_before_the_end_is_noticed_at_the_end(desk: Desk) -> None:
    desk.step_time_of_day(HOUR)
    desk.restart()
    assert state(desk) is State.INPROGRESS


@pytest.mark.parametrize("step", [HOUR, -HOUR])
def test_a_delay_ends_by_the_time_of_day_that_was_set_though_nobody_asks_again(desk: Desk, step: int) -> None:
    job = desk.told(desk.adding(delay_seconds=2 * HOUR))
    desk.step_time_of_day(step)
    desk.told(desk.peeking())
    table = desk.engine._ledger.tables.queues["q"]
    desk.clock.advance(2 * HOUR - step - 1)
    assert not table.jobs[job.spec.uid].ready
    desk.clock.advance(1)
    assert table.jobs[job.spec.uid].ready
