"""Queues without a common key have separate claims, but share the worker's concurrency."""

from jobengine.worker.actions import Abort, Claim, Report, Start

from .fakes import Bench, FakeJob


def test_sources_are_looked_at_one_after_the_other_before_it_waits_at_all_of_them() -> None:
    bench = Bench.of(4, sources=2)
    assert bench.plan() == [Claim(0, 4, 0)]
    bench.give()
    assert bench.orders == [Claim(1, 4, 0)]
    bench.give(source=1)
    assert bench.orders == [Claim(0, 2, 50), Claim(1, 2, 50)]
    assert bench.next_in() is None


def _waiting(concurrency: int) -> Bench:
    bench = Bench.of(concurrency, sources=2)
    bench.plan()
    bench.give()
    bench.give(source=1)
    return bench


def test_a_claim_that_waits_is_ended_when_there_is_no_room_for_it_any_more() -> None:
    bench = _waiting(1)
    (one,) = bench.give(FakeJob())
    assert Abort(1) in bench.orders
    bench.supervisor.aborted(bench.now, 1)
    assert bench.plan() == []
    assert bench.end(one).room == 1


def test_when_both_bring_a_job_at_one_time_the_one_beyond_the_room_is_released() -> None:
    bench = _waiting(1)
    bench.give(FakeJob())
    assert bench.give(FakeJob(), source=1) == []
    (report,) = [order for order in bench.orders if isinstance(order, Report)]
    assert (report.source, [hold.changes for hold in report.holds]) == (1, [{"new_status": "queued"}])


def test_a_busy_source_delays_another_by_a_second_at_most() -> None:
    bench = _waiting(1)
    (one,) = bench.give(FakeJob())
    bench.supervisor.aborted(bench.now, 1)
    began = bench.now
    while True:
        bench.now += 0.1
        report = bench.end(one)
        orders = bench.answer(report, jobs=[FakeJob()] if report.room else None)
        if Claim(1, 1, 0) in orders:
            break
        (one,) = [hold for order in orders if isinstance(order, Start) for hold in order.holds]
    assert 0.9 < bench.now - began < 1.2
