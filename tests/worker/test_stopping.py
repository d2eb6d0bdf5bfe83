"""How a worker ends: after one or two requests to stop, or when the queues are empty."""

from types import SimpleNamespace
from typing import Any

import pytest

from jobengine.client.errors import LeaseLost, Unavailable
from jobengine.worker.actions import Abort, Claim, Hold, Report

from .fakes import DONE, Bench, FakeJob, ended, interrupted, with_a_job

AWAY = Unavailable("No answer.")


def stopping_with_a_job(**of: Any) -> tuple[Bench, Hold]:
    """A worker and its running job; the worker was told to stop, with a grace of 30 seconds."""
    bench, one = with_a_job(**of)
    bench.supervisor.stop(bench.now, 30)
    return bench, one


def test_an_idle_worker_that_is_stopped_aborts_its_claim_and_ends() -> None:
    bench = Bench.of(2)
    bench.plan()
    bench.supervisor.stop(bench.now, 30)
    assert bench.plan() == [Abort(0)]
    assert bench.plan() == []
    assert not bench.over
    bench.supervisor.aborted(bench.now, 0)
    assert (bench.plan(), bench.over) == ([], True)


def test_a_stopping_worker_releases_jobs_that_arrive_and_does_not_start_a_job() -> None:
    bench = Bench.of(2)
    bench.plan()
    bench.supervisor.stop(bench.now, 30)
    assert bench.give(FakeJob()) == []
    (report,) = [action for action in bench.actions if isinstance(action, Report)]
    assert [hold.changes for hold in report.holds] == [{"new_status": "queued"}]
    bench.answer(report)
    assert bench.over


def test_a_stopping_worker_gives_running_jobs_the_grace_period_and_claims_no_other_jobs() -> None:
    bench, one = stopping_with_a_job()
    bench.now += 29
    assert interrupted(bench.plan()) == []
    report = bench.end(one)
    assert report == Report(0, (one,), 0)
    assert ended(bench.answer(report)) == [(one, False)]
    assert bench.over


def test_leases_are_extended_during_the_grace_period() -> None:
    bench = Bench.of(1)
    bench.run(beat_seconds=5)
    bench.supervisor.stop(bench.now, 30)
    bench.now += 5
    bench.beat()


def test_a_job_still_running_after_the_grace_period_is_interrupted_and_released() -> None:
    bench, one = stopping_with_a_job()
    bench.plan()
    assert bench.next_in() == 30
    bench.now += 30
    actions = bench.plan()
    assert interrupted(actions) == [one]
    (report,) = [action for action in actions if isinstance(action, Report)]
    bench.supervisor.finished(one, DONE)
    assert report.holds[0].changes == {"new_status": "queued"}
    bench.answer(report)
    assert bench.over


def test_a_second_stop_releases_all_held_jobs_at_once() -> None:
    bench, one = with_a_job()
    assert bench.supervisor.stop(bench.now, 30) == 1
    bench.plan()
    assert bench.supervisor.stop(bench.now, 30) == 0
    actions = bench.plan()
    assert interrupted(actions) == [one]
    assert [type(action) for action in actions][1:] == [Report]
    assert bench.next_in() == 1
    bench.now += 1
    assert bench.over


def test_a_stopping_worker_ends_5_seconds_after_the_grace_period_even_if_it_can_not_report() -> None:
    bench, one = stopping_with_a_job()
    report = bench.end(one)
    began = bench.now
    while not bench.over:
        bench.answer(report, AWAY)
        bench.now += bench.next_in() or 0
        reports = bench.plan(Report)
        report = reports[0] if reports else report
    assert bench.now == began + 35
    assert list(bench.supervisor.unsent) == [one]


def test_with_until_empty_a_worker_does_not_wait_for_jobs() -> None:
    bench = Bench.of(2, until_empty=True)
    assert bench.plan() == [Claim(0, 2, 0)]
    bench.give()
    assert (bench.plan(), bench.over) == ([], True)


def test_with_until_empty_a_worker_ends_only_if_a_claim_after_the_last_job_finds_no_job() -> None:
    bench = Bench.of(2, until_empty=True)
    (one,) = bench.run()
    assert not bench.over
    report = bench.end(one)
    assert report.room == 2
    assert not bench.over
    bench.answer(report, jobs=[])
    assert bench.over
    assert bench.supervisor.ended == 1


@pytest.mark.parametrize(
    ("changes", "job", "number"),
    [
        ({"new_status": "complete"}, {}, 1),
        ({"new_status": "failed"}, {}, 1),
        ({"new_status": "failed"}, {"max_attempts": 2}, 0),
        ({"new_status": "failed"}, {"attempts": 2, "max_attempts": 2}, 1),
        ({"new_status": "failed", "retry": False}, {"max_attempts": 2}, 1),
        ({"new_status": "queued"}, {}, 0),
        ({"new_status": "queued", "wait_for": [{"content": {}}]}, {}, 0),
    ],
)
def test_only_complete_jobs_and_jobs_with_no_attempts_left_have_ended(
    changes: Any, job: dict[str, int], number: int
) -> None:
    bench, hold = with_a_job(job=SimpleNamespace(**{"attempts": 1, "max_attempts": 1, **job}))
    bench.answer(bench.end(hold, changes=changes))
    assert bench.supervisor.ended == number


def test_a_worker_counts_a_cancelled_job_that_fails_but_no_job_whose_outcome_is_discarded() -> None:
    bench, hold = with_a_job(job=SimpleNamespace(attempts=1, max_attempts=2), cancel_requested=True)
    bench.answer(bench.end(hold, changes={"new_status": "failed"}))
    assert bench.supervisor.ended == 1
    bench, hold = with_a_job()
    bench.answer(bench.end(hold), LeaseLost("taken over"))
    assert bench.supervisor.ended == 0


def test_with_until_empty_a_worker_claims_from_every_queue_group_again_after_the_last_report() -> None:
    bench = Bench.of(2, groups=2, until_empty=True)
    bench.plan()
    bench.give(group=0)
    (one,) = bench.give(FakeJob(), group=1)
    report = bench.end(one)
    assert report.room == 0
    bench.give(group=0)
    bench.give(group=1)
    bench.answer(report)
    assert not bench.over
    bench.give(group=0)
    bench.give(group=1)
    assert bench.over


def test_with_until_empty_a_worker_claims_again_if_a_claim_was_sent_before_the_last_report() -> None:
    bench = Bench.of(2, groups=2, until_empty=True)
    (one,) = bench.run()
    report = bench.end(one)
    bench.answer(report, jobs=[])
    assert not bench.over
    bench.give(group=1)
    assert not bench.over
    bench.give(group=1)
    assert bench.over
