"""What a worker decides while all goes well, and while the server is away."""

from typing import Any

import pytest

from jobengine.client.errors import (
    AccessDenied,
    BadRequest,
    BatchNotFound,
    Conflict,
    Forbidden,
    JobEngineError,
    LeaseLost,
    OutcomeUnknown,
    QueueNotFound,
    Unavailable,
)
from jobengine.worker.actions import Beat, Claim, Report
from jobengine.worker.outcomes import Outcome

from .fakes import DONE, Bench, FakeJob, ended, interrupted, with_a_job

AWAY = Unavailable("No answer.")


def test_an_idle_worker_waits_with_one_claim_for_jobs_up_to_its_concurrency() -> None:
    bench = Bench.of(3)
    assert bench.plan() == [Claim(0, 3, 50)]
    assert bench.plan() == []
    assert bench.next_in() is None


def test_an_idle_worker_makes_72_requests_in_an_hour_and_sets_no_other_timer() -> None:
    bench, claims = Bench.of(8), 0
    while bench.now < 1_000 + 3_600:
        (claim,) = bench.plan()
        claims += 1
        assert bench.next_in() is None
        bench.now += claim.wait
        bench.supervisor.claimed(bench.now, 0, [])
    assert claims == 72


def test_a_job_beyond_the_concurrency_is_released_and_not_started() -> None:
    bench = Bench.of(1)
    bench.plan()
    assert len(bench.give(FakeJob(), FakeJob())) == 1
    (report,) = [action for action in bench.actions if isinstance(action, Report)]
    assert [hold.changes for hold in report.holds] == [{"new_status": "queued"}]


def test_finished_jobs_are_reported_in_one_request_that_claims_the_same_number_of_new_jobs() -> None:
    bench = Bench.of(3)
    one, two, _ = bench.run(3)
    assert bench.end(one, two) == Report(0, (one, two), 2)


def test_while_two_reports_are_in_flight_outcomes_are_gathered_for_the_next_report() -> None:
    bench = Bench.of(4)
    one, two, three, four = bench.run(4)
    first = bench.end(one)
    assert bench.end(two) == Report(0, (two,), 1)
    bench.supervisor.finished(three, DONE)
    bench.supervisor.finished(four, DONE)
    assert bench.plan() == []
    (report,) = [action for action in bench.answer(first, jobs=[]) if isinstance(action, Report)]
    assert report == Report(0, (three, four), 3)


def test_a_third_report_may_be_in_flight_if_there_are_many_outcomes() -> None:
    bench = Bench.of(70)
    running = bench.run(70)
    bench.end(running[0]), bench.end(running[1])
    for hold in running[2:34]:
        bench.supervisor.finished(hold, DONE)
    assert bench.plan(Report) == []
    assert len(bench.end(running[34]).holds) == 33
    for hold in running[35:]:
        bench.supervisor.finished(hold, DONE)
    assert bench.plan(Report) == []


def test_a_request_claims_at_most_1000_jobs() -> None:
    bench = Bench.of(2_500)
    (claim,) = bench.plan(Claim)
    running = bench.give(*[FakeJob() for _ in range(claim.room)])
    assert claim.room == 1_000
    assert bench.end(running[0]).room == 0  # a claim waits beside it
    assert [action.room for action in bench.actions if isinstance(action, Claim)] == [1_000]


def test_a_worker_starts_a_waiting_claim_only_when_no_report_is_in_flight() -> None:
    bench = Bench.of(2)
    one, two = bench.run(2)
    first, second = bench.end(one), bench.end(two)
    assert Claim not in {type(action) for action in bench.answer(first, jobs=[])}
    assert bench.answer(second, jobs=[])[-1] == Claim(0, 2, 50)


def test_a_job_that_ends_during_a_waiting_claim_is_reported_without_a_further_claim() -> None:
    bench = Bench.of(3)
    (one,) = bench.run(1)
    assert bench.end(one) == Report(0, (one,), 0)


def test_a_waiting_claim_follows_a_report_that_was_answered_without_jobs() -> None:
    bench, one = with_a_job()
    assert bench.answer(bench.end(one), jobs=[])[-1] == Claim(0, 1, 50)


def test_leases_are_extended_at_a_third_of_the_timeout_in_one_request() -> None:
    bench = Bench.of(2)
    holds = bench.run(2, beat_seconds=20)
    assert bench.next_in() == 20
    bench.now += 19.9
    assert bench.plan(Beat) == []
    bench.now += 0.1
    (beat,) = bench.plan(Beat)
    assert set(beat.holds) == set(holds)
    bench.now += 20
    assert bench.plan(Beat) == []  # while a claim is under way
    bench.supervisor.beaten(bench.now, beat, [None, None])
    assert len(bench.plan(Beat)) == 1


def test_a_lease_of_a_job_that_has_ended_is_not_extended() -> None:
    bench, one = with_a_job()
    bench.end(one)
    bench.now += 100
    assert bench.plan(Beat) == []


def test_a_failed_heartbeat_is_retried_soon() -> None:
    bench, one = with_a_job()
    bench.now += 30
    bench.beat(AWAY)
    assert bench.next_in() == pytest.approx(0.1)
    bench.now += 0.1
    assert bench.beat()[0].holds == (one,)


def test_progress_is_sent_at_once_and_then_at_most_twice_a_second() -> None:
    bench, one = with_a_job()
    bench.report_progress(one, 1)
    bench.beat()
    bench.report_progress(one, 2)
    bench.report_progress(one, 3)
    assert bench.plan(Beat) == []
    assert bench.next_in() == 0.5
    bench.now += 0.5
    assert [hold.progress for hold in bench.beat()[0].holds] == [3]


@pytest.mark.parametrize("status", ["complete", "failed"])
def test_an_outcome_has_the_latest_progress(status: Any) -> None:
    bench, one = with_a_job()
    bench.report_progress(one, 40)
    bench.beat()
    bench.report_progress(one, 90)
    bench.end(one, changes={"new_status": status})
    assert one.changes == {"new_status": status, "progress": 90}


def test_a_release_has_no_progress() -> None:
    bench, one = with_a_job()
    bench.report_progress(one, 90)
    bench.end(one, changes={"new_status": "queued"})
    assert one.changes == {"new_status": "queued"}


def test_the_handler_of_a_cancelled_job_is_interrupted_once_and_its_result_is_discarded() -> None:
    bench, one = with_a_job()
    one.claimed.cancel_requested = True
    bench.now += 30
    assert interrupted(bench.beat()[1]) == [one]
    bench.now += 30
    assert interrupted(bench.beat()[1]) == []
    report = bench.end(one)
    assert report.holds[0].changes == {"new_status": "failed", "error": "cancelled", "retry": False}


def test_a_handler_with_a_lost_lease_is_interrupted_and_counts_as_running_until_it_ends() -> None:
    bench, one = with_a_job()
    one.claimed.lost = True
    bench.now += 30
    actions = bench.beat(LeaseLost("Held by another."))[1]
    assert interrupted(actions) == [one]
    assert actions[1:] == []
    assert bench.next_in() is None
    bench.supervisor.finished(one, DONE)
    actions = bench.plan()
    assert ended(actions) == [(one, True)]
    assert actions[1:] == [Claim(0, 1, 50)]


def test_claims_at_an_unreachable_server_are_retried_with_growing_pauses() -> None:
    bench, pauses = Bench.of(1), []
    for _ in range(9):
        assert len(bench.plan(Claim)) == 1
        bench.supervisor.claim_failed(bench.now, 0, AWAY)
        assert bench.plan() == []
        pause = bench.next_in()
        assert pause is not None
        pauses.append(round(pause, 3))
        bench.now += pause
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5, 5, 5]


def test_a_failed_report_is_repeated_before_the_lease_can_expire() -> None:
    bench, pauses = Bench.of(1), []
    report = bench.end(*bench.run(beat_seconds=1))
    for _ in range(8):
        bench.answer(report, AWAY)
        pauses.append(bench.next_in() or 0)
        bench.now += pauses[-1]
        (report,) = bench.plan(Report)
    assert max(pauses) == pytest.approx(1)


def test_a_result_is_reported_again_for_hours_until_the_server_accepts_it() -> None:
    bench, one = with_a_job()
    report = bench.end(one, changes={"new_status": "complete", "result": 42})
    began = bench.now
    while bench.now < began + 4 * 3600:
        assert ended(bench.answer(report, AWAY)) == []
        assert bench.plan(Claim) == []  # there is no room
        bench.now += bench.next_in() or 0
        (report,) = bench.plan(Report)
    assert report.holds[0].changes == {"new_status": "complete", "result": 42}
    assert ended(bench.answer(report)) == [(one, False)]


def test_a_failure_report_repeated_after_a_lost_answer_succeeds_if_the_lease_is_gone() -> None:
    bench, one = with_a_job()
    report = bench.end(one, changes={"new_status": "failed"})
    bench.answer(report, OutcomeUnknown("No answer."))
    bench.now += 1
    (report,) = bench.plan(Report)
    assert ended(bench.answer(report, LeaseLost("Queued again."))) == [(one, False)]


@pytest.mark.parametrize("error", [LeaseLost("Held by another."), QueueNotFound("It is gone.")])
def test_a_result_whose_lease_or_queue_is_gone_is_discarded_with_a_note(error: JobEngineError) -> None:
    bench, one = with_a_job()
    assert ended(bench.answer(bench.end(one), error)) == [(one, True)]


def test_if_the_server_refuses_a_result_the_worker_fails_the_job_with_the_reason() -> None:
    bench, one = with_a_job()
    (report,) = bench.answer(bench.end(one), BadRequest("Too long."))
    assert isinstance(report, Report)
    assert one.changes == {
        "new_status": "failed",
        "error": "The server has refused the result: Too long.",
        "retry": False,
    }
    assert ended(bench.answer(report, BadRequest("Still."))) == [(one, True)]


WAITING: Outcome = {"new_status": "queued", "wait_for": [{"uid": "v", "content": {}}]}


@pytest.mark.parametrize("kind", [AccessDenied, BadRequest, BatchNotFound, Conflict, Forbidden, QueueNotFound])
def test_a_job_whose_children_the_server_refuses_fails(kind: type[JobEngineError]) -> None:
    bench, one = with_a_job()
    (report,) = bench.answer(bench.end(one, changes=WAITING), kind("There is no such job."))
    assert isinstance(report, Report)
    assert one.changes == {
        "new_status": "failed",
        "error": "The server has refused the result: There is no such job.",
        "retry": False,
    }
    assert ended(bench.answer(report)) == [(one, False)]


@pytest.mark.parametrize(("error", "has_note"), [(LeaseLost("Held by another."), True), (None, False)])
def test_a_job_that_waits_for_children_or_has_lost_its_lease_is_no_longer_held(
    error: JobEngineError | None, has_note: bool
) -> None:
    bench, one = with_a_job()
    assert ended(bench.answer(bench.end(one, changes=WAITING), error)) == [(one, has_note)]


def test_a_repeated_report_of_a_wait_for_children_counts_as_done_if_the_lease_is_gone() -> None:
    bench, one = with_a_job()
    bench.answer(bench.end(one, changes=WAITING), OutcomeUnknown("The answer was lost."))
    bench.now += 60
    (report,) = bench.plan(Report)
    assert ended(bench.answer(report, LeaseLost("Queued again."))) == [(one, False)]


def _fails_for(bench: Bench, seconds: float, group: int = 0) -> None:
    """Let all claims of a group fail for so long."""
    end = bench.now + seconds
    while bench.now <= end and bench.supervisor.fatal is None:
        bench.supervisor.claim_failed(bench.now, group, AWAY)
        bench.now += bench.next_in() or 1
        bench.plan()


@pytest.mark.parametrize("until_empty", [False, True])
def test_only_a_worker_with_until_empty_ends_if_the_server_is_unreachable_for_a_minute(until_empty: bool) -> None:
    bench = Bench.of(1, until_empty=until_empty)
    bench.plan()
    _fails_for(bench, 50)
    assert bench.supervisor.fatal is None
    _fails_for(bench, 15)
    assert bench.supervisor.fatal is (AWAY if until_empty else None)


def test_a_worker_gives_up_only_without_held_jobs_and_a_minute_after_the_last_answer() -> None:
    bench = Bench.of(2, groups=2, until_empty=True)
    bench.plan()
    _fails_for(bench, 50)
    (one,) = bench.give(FakeJob())
    _fails_for(bench, 100, group=1)
    assert bench.supervisor.fatal is None
    bench.answer(bench.end(one))
    _fails_for(bench, 50)
    assert bench.supervisor.fatal is None
    _fails_for(bench, 1, group=1)
    assert bench.supervisor.fatal is AWAY


def test_a_key_refused_at_the_first_claim_is_a_fatal_error() -> None:
    bench, error = Bench.of(1), AccessDenied("Wrong key.")
    bench.plan()
    bench.supervisor.claim_failed(bench.now, 0, error)
    assert bench.supervisor.fatal is error


@pytest.mark.parametrize(
    ("error", "pause"), [(Unavailable("Not now.", retry_after=20), 22), (AccessDenied("Wrong key."), 33)]
)
def test_a_later_claim_that_fails_is_retried_after_a_pause(error: JobEngineError, pause: float) -> None:
    bench = Bench.of(1)
    bench.plan()
    bench.give()
    bench.supervisor.claim_failed(bench.now, 0, error)
    assert bench.supervisor.fatal is None
    assert bench.next_in() == pytest.approx(pause)
