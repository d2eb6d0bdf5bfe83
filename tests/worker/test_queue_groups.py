"""Queues without a common key have separate claims, but share the worker's concurrency."""

from jobengine.worker.actions import Abort, Claim, Report, Start

from .fakes import Bench, FakeJob


def test_groups_are_claimed_from_one_by_one_before_it_waits_at_all_of_them() -> None:
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


def test_a_claim_that_waits_is_ended_when_there_is_no_room_for_it_any_more() -> None:
    bench = _waiting(1)
    (one,) = bench.give(FakeJob())
    assert Abort(1) in bench.actions
    bench.supervisor.aborted(bench.now, 1)
    assert bench.plan() == []
    assert bench.end(one).room == 1


def test_of_two_jobs_at_once_the_one_beyond_the_room_is_released() -> None:
    bench = _waiting(1)
    bench.give(FakeJob())
    assert bench.give(FakeJob(), group=1) == []
    (report,) = [action for action in bench.actions if isinstance(action, Report)]
    assert (report.group, [hold.changes for hold in report.holds]) == (1, [{"new_status": "queued"}])


def test_a_busy_source_delays_another_by_a_second_at_most() -> None:
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
