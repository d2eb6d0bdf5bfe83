"""Outcomes are gathered into few reports while many jobs wait to be started, and otherwise reported at once."""

from typing import Any

import pytest

from jobengine.client.errors import Unavailable
from jobengine.client.jobs import JobChanges
from jobengine.worker.actions import Beat, Hold, Report

from .fakes import DONE, Bench
from .test_prefetch import at_pace, started

AWAY = Unavailable("No answer.")
RELEASED: JobChanges = {"new_status": "queued"}


def busy(**of: Any) -> tuple[Bench, list[Hold]]:
    """A worker that runs 10 jobs, and these jobs; 165 others wait to be started."""
    bench, running, waiting = at_pace(10, **of)
    assert len(waiting) == 165
    return bench, running


def end(bench: Bench, running: list[Hold], jobs: int = 1, changes: JobChanges = DONE) -> list[Report]:
    """Let jobs end one after the other at the same time; returns the reports that follow."""
    reports = []
    for _ in range(jobs):
        bench.supervisor.finished(running.pop(0), changes)
        actions = bench.plan()
        running += started(actions)
        reports += [action for action in actions if isinstance(action, Report)]
    return reports


def test_with_many_waiting_jobs_outcomes_are_gathered_until_a_third_of_the_held_jobs_are_done() -> None:
    bench, running = busy()
    assert end(bench, running, 58) == []
    (report,) = end(bench, running)
    assert (len(report.holds), len(running)) == (59, 10)


def test_gathered_outcomes_are_reported_at_once_when_few_held_jobs_are_left() -> None:
    assert [len(report.holds) for report in end(*busy(), 151)] == [59, 59, 33]


def test_the_first_outcome_waits_20_ms_for_other_outcomes() -> None:
    bench, running = busy()
    assert end(bench, running) == []
    assert bench.next_in() == pytest.approx(0.02)
    bench.now += 0.019
    assert end(bench, running) == []
    bench.now += 0.001
    (report,) = bench.plan(Report)
    assert len(report.holds) == 2


def test_a_release_is_reported_at_once_because_another_worker_may_claim_the_job() -> None:
    assert len(end(*busy(), changes=RELEASED)) == 1


def test_the_outcome_of_a_job_with_a_short_lease_is_reported_at_once() -> None:
    assert len(end(*busy(beat_seconds=0.9))) == 1


def test_outcomes_are_reported_at_once_while_heartbeats_fail() -> None:
    bench, running = busy()
    bench.report_progress(running[0], 50)
    (beat,) = bench.plan(Beat)
    bench.supervisor.beaten(bench.now, beat, [AWAY])
    assert len(end(bench, running)) == 1


def test_outcomes_of_a_failed_report_are_reported_again_without_gathering() -> None:
    bench, running = busy()
    (failed,) = end(bench, running, 59)
    bench.answer(failed, AWAY, *[None] * 58)
    bench.now += bench.next_in() or 0
    (report,) = bench.plan(Report)
    assert len(report.holds) == 1


def test_gathered_outcomes_are_reported_at_once_when_the_worker_stops() -> None:
    bench, running = busy()
    one = running[0]
    assert end(bench, running) == []
    bench.supervisor.stop(bench.now, 30)
    (report,) = bench.plan(Report)
    assert one in report.holds
    assert [len(report.holds) for report in end(bench, running)] == [1]
