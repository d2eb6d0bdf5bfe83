"""The client through a proxy that cuts connections after any byte: nothing is done twice."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from jobengine.client import AsyncJobEngine, ClaimedJob, Finished, JobEngine, Queue, retrying

from .cutting import CuttingProxy
from .daemons import Daemon, until


@pytest.fixture
def proxy(daemon: Daemon, engine: JobEngine) -> Iterator[CuttingProxy]:
    with CuttingProxy(daemon.port) as proxy:
        yield proxy


@pytest.fixture
def cut_engine(proxy: CuttingProxy, monkeypatch: pytest.MonkeyPatch) -> Iterator[JobEngine]:
    """A client that reaches the server through the proxy."""
    monkeypatch.setattr(retrying, "_FIRST", 0.001)
    with JobEngine(proxy.url, access_key="key", timeout=20) as engine:
        yield engine


@pytest.fixture
def cut(cut_engine: JobEngine) -> Queue:
    return cut_engine.queue("q")


def _cut_everywhere(proxy: CuttingProxy, act: Callable[[], Any], step: int = 1) -> int:
    """Call `act` repeatedly, cutting the connection a byte later each time, in both directions; returns how often."""
    times = 0
    act()
    for direction in ("request", "answer"):
        after = 1
        while True:
            proxy.cut(direction, after)
            act()
            times += 1
            if not proxy.has_cut():
                break
            after += step
    return times + 1


def test_an_add_cut_at_any_point_adds_one_job(engine: JobEngine, proxy: CuttingProxy, cut: Queue) -> None:
    jobs: list[str] = []
    times = _cut_everywhere(proxy, lambda: jobs.append(cut.add({"number": len(jobs)}, tags=["a"]).uid))
    assert times > 600
    there = {job.content["number"]: job.uid for job in engine.queue("q").all_jobs()}
    assert len(engine.queue("q").all_jobs()) == times
    assert there == dict(enumerate(jobs))


def test_with_asyncio_an_add_cut_at_any_point_adds_one_job(
    engine: JobEngine, proxy: CuttingProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrying, "_FIRST", 0.001)
    with asyncio.Runner() as runner:
        client = AsyncJobEngine(proxy.url, access_key="key", timeout=20)

        async def add() -> None:
            await asyncio.gather(*[client.queue("q").add({"number": number}) for number in range(3)])

        times = _cut_everywhere(proxy, lambda: runner.run(add()), step=5)
        runner.run(client.close())
    assert times > 200
    assert [job.content["number"] for job in engine.queue("q").jobs()] == [0, 1, 2] * times


def test_a_bulk_add_cut_at_any_point_adds_each_job_once(engine: JobEngine, proxy: CuttingProxy, cut: Queue) -> None:
    times = _cut_everywhere(proxy, lambda: cut.add_many([{"n": 1}, {"n": 2}, {"n": 3}]), step=11)
    assert [job.content["n"] for job in engine.queue("q").jobs()] == [1, 2, 3] * times


def _claimed(engine: JobEngine, cut: Queue) -> Iterator[ClaimedJob]:
    """Jobs that were claimed without the proxy, to be finished through it."""
    queue = engine.queue("q")
    while True:
        queue.add_many([{}] * 100, max_attempts=5)
        for job in queue.claim(100):
            yield ClaimedJob(cut, job.job)


@pytest.mark.parametrize(
    ("end", "state", "outcome"),
    [
        (lambda job: job.complete({"done": True}), "complete", "complete"),
        (lambda job: job.fail("why"), "queued", "failed"),
        (lambda job: job.fail("why", retry=False), "failed", "failed"),
        (lambda job: job.release(), "queued", "released"),
    ],
    ids=["complete", "fail", "fail for good", "release"],
)
def test_a_finish_cut_at_any_point_ends_its_job_once(
    engine: JobEngine, proxy: CuttingProxy, cut: Queue, end: Callable[[ClaimedJob], None], state: str, outcome: str
) -> None:
    claimed = _claimed(engine, cut)
    ended: list[str] = []

    def act() -> None:
        job = next(claimed)
        end(job)
        ended.append(job.uid)

    _cut_everywhere(proxy, act, step=3)
    jobs = {job.uid: job for job in engine.queue("q").all_jobs()}
    assert len(ended) > 100
    for uid in set(ended):
        # A job that is queued again may have been claimed, and ended, in a later round too.
        # Releases in a row are one entry.
        history = [attempt.outcome for attempt in jobs[uid].history for _ in range(attempt.times)]
        assert history == [outcome] * ended.count(uid)
        assert jobs[uid].state in (state, "inprogress") if state == "queued" else jobs[uid].state == state


def test_a_finish_and_claim_cut_at_any_point_ends_its_jobs_once(
    engine: JobEngine, proxy: CuttingProxy, cut_engine: JobEngine, cut: Queue
) -> None:
    claimed = _claimed(engine, cut)
    ended: list[str] = []

    def act() -> None:
        job = next(claimed)
        errors, more = cut_engine.finish_and_claim([Finished(job, {"new_status": "complete"})], [cut])
        assert errors == [None]
        ended.append(job.uid)
        for other in more:
            other.release()

    _cut_everywhere(proxy, act, step=7)
    jobs = {job.uid: job for job in engine.queue("q").all_jobs()}
    assert len(ended) > 50
    assert all([attempt.outcome for attempt in jobs[uid].history][-1:] == ["complete"] for uid in ended)
    assert sorted(job.uid for job in jobs.values() if job.state == "complete") == sorted(ended)


def test_events_resume_after_the_last_seen_event_when_the_connection_breaks(
    daemon: Daemon, engine: JobEngine, proxy: CuttingProxy, cut: Queue
) -> None:
    queue = engine.queue("q")
    events = cut.events()

    def add_first() -> None:
        with daemon.client() as client:
            until("it watches", lambda: client.metric('jobengine_waiters{on="events"}') == 1)
        queue.add({"n": 0})

    first = threading.Thread(target=add_first)
    first.start()
    seen = [next(events)]
    first.join()
    for after in (1, 40, 300):
        proxy.cut("answer", after)
        queue.add_many([{"n": number} for number in range(5)])
        seen += [next(events) for _ in range(5)]
        proxy.break_all()
    assert [event.state for event in seen] == ["queued"] * 16
    assert [event.uid for event in seen] == [job.uid for job in queue.jobs()]
    assert len({event.id for event in seen}) == 16
