"""Queues without a common key have separate claims, but share the worker's concurrency."""

from jobengine.worker.actions import Abort, Claim, Report, Start

from .fakes import Bench, FakeJob


def test_a_worker_claims_from_each_queue_group_once_before_waiting_on_all_groups() -> None:
    bench = Bench.of(4, groups=2)
    assert bench.plan() == [Claim(0, 4, 0)]
    bench.give()
    assert bench.actions == [Claim(1, 4, 0)]
    bench.give(group=1)
    assert bench.actions == [Claim(0, 2, 50), Claim(1, 2, 50)]
    assert bench.next_in() is None


def _waiting(concurrency: int) -> Bench:
    bench = Bench.of(concurrency, groups=2)
    bench.plan()
    bench.give()
    bench.give(group=1)
    return bench


def test_a_waiting_claim_is_aborted_when_the_worker_is_at_its_concurrency() -> None:
    bench = _waiting(1)
    (one,) = bench.give(FakeJob())
    assert Abort(1) in bench.actions
    bench.supervisor.aborted(bench.now, 1)
    assert bench.plan() == []
    assert bench.end(one).room == 1


def test_a_job_that_another_queue_group_claims_beyond_the_concurrency_is_released() -> None:
    bench = _waiting(1)
    bench.give(FakeJob())
    assert bench.give(FakeJob(), group=1) == []
    (report,) = [action for action in bench.actions if isinstance(action, Report)]
    assert (report.group, [hold.changes for hold in report.holds]) == (1, [{"new_status": "queued"}])


def test_jobs_of_a_busy_queue_group_delay_other_queue_groups_by_at_most_a_second() -> None:
    bench = _waiting(1)
    (one,) = bench.give(FakeJob())
    bench.supervisor.aborted(bench.now, 1)
    began = bench.now
    while True:
        bench.now += 0.1
        report = bench.end(one)
        actions = bench.answer(report, jobs=[FakeJob()] if report.room else None)
        if Claim(1, 1, 0) in actions:
            break
        (one,) = [hold for action in actions if isinstance(action, Start) for hold in action.holds]
    assert 0.9 < bench.now - began < 1.2
