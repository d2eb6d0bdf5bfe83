"""The wall clock is set, while the engine runs or not: leases and delays go on, and absolute times follow the clock."""

from collections.abc import Callable
from typing import Any

import pytest

from jobengine.core.commands import ChangeQueue
from jobengine.core.flow import Limits, Rate
from jobengine.core.model import Job, State
from tests.engine.engines import KEY, Desk

HOUR = 3_600
STEPS = [HOUR, -HOUR, 400_000_000]
#: The uid of a job whose first retry comes exactly after its delay: the jitter depends on the uid.
EVEN = "00000000-0000-4000-8000-000000000179"
#: The kinds of spans, each of 120 seconds, and how a job enters one.
SPANS: dict[str, Callable[[Desk], None]] = {
    "delay": lambda desk: _add(desk, delay_seconds=120),
    "retry": lambda desk: _fail(desk, uid=EVEN, max_attempts=2, retry_delay_seconds=120),
    "lease": lambda desk: _hold(desk, timeout_seconds=120, keep_minutes=1_000_000),
    "retention": lambda desk: _fail(desk, keep_minutes=2),
}


def _add(desk: Desk, **more: Any) -> None:
    desk.told(desk.adding(**more))


def _hold(desk: Desk, **more: Any) -> None:
    _add(desk, **more)
    desk.told(desk.claiming())


def _fail(desk: Desk, **more: Any) -> None:
    _hold(desk, **more)
    (job,) = desk.jobs()
    desk.told(desk.updating(job.spec.uid, State.FAILED))


def picture(desk: Desk) -> list[tuple[State, bool]]:
    return [(job.state, job.ready) for job in desk.jobs()]


def shown(desk: Desk) -> Job:
    """The one job, as a client sees it."""
    (job,) = desk.jobs()
    return job


@pytest.mark.parametrize("span", SPANS)
@pytest.mark.parametrize("step", STEPS)
def test_setting_the_clock_neither_shortens_nor_extends_a_time_span(desk: Desk, span: str, step: int) -> None:
    SPANS[span](desk)
    before = picture(desk)
    desk.clock.advance(40)
    desk.set_wall_clock(step)
    assert picture(desk) == before
    desk.clock.advance(79.999)
    assert picture(desk) == before
    desk.clock.advance(0.001)
    assert picture(desk) != before


@pytest.mark.parametrize("span", SPANS)
@pytest.mark.parametrize("orderly", [True, False])
@pytest.mark.parametrize("step", STEPS)
def test_restarts_after_a_clock_step_do_not_change_a_time_span(desk: Desk, span: str, step: int, orderly: bool) -> None:
    SPANS[span](desk)
    before = picture(desk)
    desk.set_wall_clock(step)
    assert picture(desk) == before
    for _ in range(3):
        desk.clock.advance(25)
        (desk.restart if orderly else desk.restart_after_kill)()
        assert picture(desk) == before
    desk.clock.advance(44.999)
    assert picture(desk) == before
    desk.clock.advance(0.001)
    assert picture(desk) != before


def test_a_clock_step_survives_compaction(desk: Desk) -> None:
    _add(desk, delay_seconds=120)
    desk.set_wall_clock(HOUR)
    before = picture(desk)
    desk.restart_after_kill()
    desk.restart_after_kill()
    assert picture(desk) == before


def test_setting_the_clock_back_while_no_server_runs_extends_no_lease(desk: Desk) -> None:
    _hold(desk, timeout_seconds=100)
    desk.clock.advance(40)
    desk.stop()
    desk.set_wall_clock(-HOUR, noticed=False)
    desk.start()
    assert shown(desk).state is State.INPROGRESS
    desk.clock.advance(100)
    assert shown(desk).state is State.FAILED


def test_a_clock_step_that_was_not_noticed_is_recorded_when_the_server_stops(desk: Desk) -> None:
    _hold(desk, timeout_seconds=100)
    desk.set_wall_clock(HOUR, noticed=False)
    desk.restart()
    assert shown(desk).state is State.INPROGRESS


@pytest.mark.parametrize("step", [HOUR, -HOUR])
@pytest.mark.parametrize(("field", "before", "after"), [("not_before", [False], [True]), ("timeout_time", [True], [])])
def test_not_before_and_timeout_time_follow_the_clock_without_any_request(
    desk: Desk, step: int, field: str, before: list[bool], after: list[bool]
) -> None:
    _add(desk, **{field: desk.wall_seconds() + 2 * HOUR})
    desk.set_wall_clock(step)
    desk.clock.advance(2 * HOUR - step - 1)
    assert [job.ready for job in desk.jobs()] == before
    commits = desk.engine.journal.syncs
    desk.clock.advance(1)
    desk.settle()
    assert desk.engine.journal.syncs == commits + 1
    assert [job.ready for job in desk.jobs()] == after


def test_after_a_clock_step_times_are_shown_in_the_new_wall_time(desk: Desk) -> None:
    _hold(desk, timeout_seconds=100)
    begun = desk.wall_seconds()
    desk.set_wall_clock(HOUR)
    job = shown(desk)
    assert [job.spec.created, job.updated, job.standing.claimed] == [(begun + HOUR) * 1000] * 3
    assert job.lease_expires == (begun + HOUR + 100) * 1000


def test_a_clock_step_is_one_record_however_many_jobs_there_are(desk: Desk) -> None:
    for _ in range(20):
        _hold(desk, timeout_seconds=100)
    size = desk.engine.journal.size
    desk.set_wall_clock(HOUR)
    assert desk.engine.journal.size - size < 300


def test_setting_the_clock_back_while_no_server_runs_extends_no_rate_window(desk: Desk) -> None:
    desk.told(desk.engine.ask(ChangeQueue(queue="q", access_key=KEY, limits=Limits(rate=Rate(1, 60)))))
    _fail(desk)
    _add(desk)
    desk.stop()
    desk.set_wall_clock(-HOUR, noticed=False)
    desk.start()
    desk.clock.advance(59)
    assert not desk.told(desk.claiming()).jobs
    desk.clock.advance(1)
    assert desk.told(desk.claiming()).jobs
