"""Jobs that a worker claims ahead when jobs end fast, and their outcomes."""

from types import SimpleNamespace
from typing import Any

import pytest

from jobengine.client.errors import LeaseLost
from jobengine.worker.actions import Action, Beat, Hold, Interrupt, Report, Start
from jobengine.worker.prefetch import Pace

from .fakes import DONE, Bench, FakeJob, ended

AN_INSTANT = 0.001


def started(actions: list[Action]) -> list[Hold]:
    return [hold for action in actions if isinstance(action, Start) for hold in action.holds]


def at_pace(concurrency: int = 2, **of: Any) -> tuple[Bench, list[Hold], list[Hold]]:
    """
    A worker whose jobs end at once, just after it got all requested jobs. Returns it, the running jobs, and the jobs
    claimed ahead.
    """
    bench = Bench.of(concurrency)
    running = bench.run(concurrency, **of)
    for _ in range(20):
        bench.now += AN_INSTANT
        report = bench.end(*running)
        jobs = [FakeJob(**of) for _ in range(report.room)]
        running = started(bench.answer(report, jobs=jobs))
        waiting = [hold for hold in bench.supervisor.unsent if hold not in running]
        if waiting:
            return bench, running, waiting
    raise AssertionError("it claimed nothing ahead")


def _ended(pace: Pace, jobs: int, now: float, *, busy: bool = True) -> int:
    """The number of jobs claimed ahead after this many jobs have ended."""
    for _ in range(jobs):
        pace.count()
    pace.measure(now, busy=busy)
    return pace.ahead


def _at_200() -> Pace:
    """The pace at the time 0.1, when 200 jobs have ended since the start."""
    pace = Pace()
    assert _ended(pace, 0, 0, busy=False) == 0
    assert 180 < _ended(pace, 200, 0.1) <= 200
    return pace


def test_a_worker_claims_ahead_as_many_jobs_as_start_within_100_ms() -> None:
    assert _ended(_at_200(), 0, 60, busy=False) == 0
    pace = Pace()
    _ended(pace, 0, 0, busy=False)
    assert _ended(pace, 50, 0.0009) == 0  # too early to know the pace
    assert _ended(pace, 50_000, 0.1) == 2_000  # the most jobs


def test_after_only_a_few_fast_jobs_a_worker_does_not_claim_many_jobs_ahead() -> None:
    pace = Pace()
    _ended(pace, 0, 0, busy=False)
    assert 0 < _ended(pace, 2, 0.001) < 20


def test_a_burst_of_finished_jobs_or_a_pause_hardly_changes_the_number_claimed_ahead() -> None:
    pace = _at_200()
    assert 200 < _ended(pace, 160, 0.12) < 400
    assert 200 < _ended(pace, 0, 0.14) < 320


def test_time_without_a_running_handler_does_not_lower_the_number_claimed_ahead() -> None:
    assert 160 < _ended(_at_200(), 0, 0.15, busy=False) <= 200
    assert _ended(_at_200(), 0, 0.15) < 100


def _work_off(bench: Bench, running: list[Hold]) -> list[Report]:
    """Let all handlers run, for 0.03 ms each; returns the reports that follow."""
    reports: list[Report] = []
    while running:
        bench.now += 0.00003 * len(running)
        for hold in running:
            bench.supervisor.finished(hold, DONE)
        actions = bench.plan()
        running = started(actions)
        reports += [action for action in actions if isinstance(action, Report)]
    return reports


def test_a_worker_with_fast_jobs_claims_the_maximum_ahead_after_four_answers() -> None:
    bench = Bench.of(32)
    running, held = bench.run(32), []
    for _ in range(4):
        reports = _work_off(bench, running)
        bench.now += 0.01  # until the answers come nothing runs
        running = []
        for report in reports:
            running += started(bench.answer(report, jobs=[FakeJob() for _ in range(report.room)]))
        held.append(len(list(bench.supervisor.unsent)))
    assert held[0] < 500
    assert held[-1] == 2_032


def test_long_jobs_are_not_claimed_ahead() -> None:
    bench = Bench.of(2)
    running = bench.run(2)
    for _ in range(20):
        bench.now += 1
        report = bench.end(*running)
        assert report.room == 2
        running = started(bench.answer(report, jobs=[FakeJob(), FakeJob()]))


def test_a_job_that_is_not_started_within_half_a_second_is_released() -> None:
    bench, _, waiting = at_pace(1)
    assert bench.next_in() == pytest.approx(0.5)
    bench.now += 0.5
    (report,) = bench.plan(Report)
    assert set(report.holds) == set(waiting)
    assert all(hold.changes == {"new_status": "queued"} for hold in waiting)
    before = bench.supervisor.ended
    bench.answer(report)
    assert bench.supervisor.ended == before


def test_a_stopping_worker_releases_unstarted_jobs_at_once() -> None:
    bench, running, waiting = at_pace(1)
    bench.supervisor.stop(bench.now, 30)
    (report,) = bench.plan(Report)
    assert set(report.holds) == set(waiting)
    bench.answer(report)
    assert set(bench.supervisor.unsent) == set(running)


def test_leases_of_jobs_claimed_ahead_are_extended() -> None:
    bench, running, waiting = at_pace(1, beat_seconds=0.2)
    bench.now += 0.2
    (beat,) = bench.plan(Beat)
    assert set(beat.holds) == {*running, *waiting}


def test_a_held_job_that_was_cancelled_or_lost_is_not_started() -> None:
    bench, (one,), waiting = at_pace(1, beat_seconds=0.2)
    bench.now += 0.2
    (beat,) = bench.plan(Beat)
    cancelled, lost = waiting[0], waiting[-1]
    cancelled.claimed.cancel_requested = lost.claimed.lost = True
    bench.supervisor.beaten(bench.now, beat, [LeaseLost("Late.") if hold is lost else None for hold in beat.holds])
    bench.supervisor.finished(one, DONE)
    actions = bench.plan()
    assert not [action for action in actions if isinstance(action, Interrupt)]
    assert not {cancelled, lost} & set(started(actions))
    assert (lost, True) in ended(actions)
    (report,) = [action for action in actions if isinstance(action, Report)]
    assert cancelled in report.holds
    assert cancelled.changes == {"new_status": "failed", "error": "cancelled", "retry": False}


@pytest.mark.parametrize(
    ("group", "others", "released"),
    [
        ("g", [("q", "g"), ("q", "h"), ("q", None), ("p", "g")], [0]),
        (None, [("q", "g"), ("q", None), ("p", None)], [0, 1]),
    ],
)
def test_a_hold_by_a_handler_releases_jobs_claimed_ahead_in_the_held_group_or_queue(
    group: str | None, others: list[tuple[str, str | None]], released: list[int]
) -> None:
    bench, (first, *_), waiting = at_pace()
    first.claimed.group = group
    for hold, (queue, name) in zip(waiting, others, strict=False):
        hold.claimed.queue, hold.claimed.group = SimpleNamespace(name=queue), name
    for hold in waiting[len(others) :]:
        hold.claimed.queue = SimpleNamespace(name="elsewhere")
    assert len(waiting) >= len(others)
    bench.supervisor.finished(first, {"new_status": "queued", "delay_seconds": 1, "hold_seconds": 30})
    bench.now += 0.1
    reported = {hold: hold.changes for action in bench.plan(Report) for hold in action.holds}
    assert [reported.get(hold) for hold in waiting[: len(others)]] == [
        {"new_status": "queued"} if number in released else None for number in range(len(others))
    ]
