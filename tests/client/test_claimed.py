"""A claimed job: its lease, its end, and the outcome of a `with` block."""

import asyncio
import json
import re
import threading
from typing import Any

import pytest

from jobengine.client import ClaimedJob, LeaseLost, OutcomeUnknown
from jobengine.client._async.heartbeats import Heartbeats as AsyncHeartbeats
from jobengine.client._sync.claimed import extend
from jobengine.client._sync.heartbeats import Heartbeats
from jobengine.client.http_codec import Broken, Request
from jobengine.core.fingerprints import FINGERPRINT

from .doubles import PATIENCE, Reply, answer, in_loop, unconnected

_JOB = {"uid": "u", "state": "inprogress", "queue_name": "q", "lease": "l", "timeout_seconds": 0, "content": {"a": 1}}


class Server:
    """Gives out a job, and records the updates of it."""

    def __init__(self, status: int = 200, short: dict[str, Any] | None = None, **answers: Any) -> None:
        self.updates: list[dict[str, Any]] = []
        self.status = status
        self.answers = answers
        self.short = short
        self.prefer: list[str | None] = []
        self.broken = False

    def __call__(self, request: Request) -> Reply:
        body = json.loads(request.body or b"")
        if request.path == "/api/v1/job/next":
            return answer(200, {"jobs": [{**_JOB, "uid": f"u{number}"} for number in range(body.get("count", 1))]})
        self.updates += body["updates"]
        self.prefer.append((request.headers or {}).get("Prefer"))
        if self.broken:
            return Broken("cut")
        job = {"uid": "u0", **_JOB, **self.answers}
        said = ({"job": job} if self.short is None else self.short) if self.status == 200 else {"error": "lost"}
        one = {"status": self.status, **said}
        return answer(200, {"results": [{"uid": update["uid"], **one} for update in body["updates"]]})


def _claim(server: Server, count: int = 1) -> list[ClaimedJob]:
    return unconnected(server, access_key="k", retry_for=0)[0].queue("q").claim(count)


def _ends(server: Server) -> list[dict[str, Any]]:
    return [
        {name: value for name, value in update.items() if name not in ("uid", "lease")} for update in server.updates
    ]


@pytest.mark.parametrize(
    ("end", "sent"),
    [
        (lambda job: job.complete({"n": 1}), {"new_status": "complete", "result": {"n": 1}}),
        (lambda job: job.complete(), {"new_status": "complete"}),
        (lambda job: job.fail("why", retry=False), {"new_status": "failed", "error": "why", "retry": False}),
        (lambda job: job.release(delay=60), {"new_status": "queued", "delay_seconds": 60}),
        (lambda job: job.progress(40), {"new_status": "inprogress", "progress": 40}),
        (lambda job: job.progress(200 / 3), {"new_status": "inprogress", "progress": 66}),
    ],
)
def test_each_update_of_a_claimed_job_is_sent_with_its_lease(end: Any, sent: dict[str, Any]) -> None:
    server = Server()
    (job,) = _claim(server)
    end(job)
    assert _ends(server) == [sent]
    assert server.updates[0]["lease"] == "l"


def test_leaving_the_with_block_completes_the_job_unless_it_is_finished() -> None:
    server = Server()
    with _claim(server)[0]:
        pass
    with _claim(server)[0] as job:
        job.complete(7)
    assert _ends(server) == [{"new_status": "complete"}, {"new_status": "complete", "result": 7}]


@pytest.mark.parametrize("status", [200, 409], ids=["reported", "refused"])
def test_an_exception_in_the_with_block_fails_the_job_and_is_raised(status: int) -> None:
    server = Server(status)
    with pytest.raises(ValueError, match="no such address"), _claim(server)[0]:
        raise ValueError("no such address")
    (sent,) = _ends(server)
    fingerprint = sent.pop("fingerprint")
    assert sent == {"new_status": "failed", "error": "ValueError: no such address"}
    assert re.search(FINGERPRINT, fingerprint)


def test_an_interrupt_in_the_with_block_releases_the_job() -> None:
    server = Server()
    with pytest.raises(KeyboardInterrupt), _claim(server)[0]:
        raise KeyboardInterrupt
    assert _ends(server) == [{"new_status": "queued"}]


def test_only_the_end_of_a_long_error_text_is_sent() -> None:
    server = Server()
    _claim(server)[0].fail("x" * 5000 + "the end")
    assert len(server.updates[0]["error"]) == 4096
    assert server.updates[0]["error"].endswith("the end")


def test_after_a_lost_lease_each_call_raises_lease_lost_without_a_request() -> None:
    server = Server(409)
    with _claim(server)[0] as job:
        with pytest.raises(LeaseLost):
            job.progress(1)
        assert job.lost
        assert job.cancelled
    assert len(server.updates) == 1


@pytest.mark.parametrize("server", [Server(cancel_requested=True), Server(short={"cancel_requested": True})])
def test_progress_shows_that_the_job_was_cancelled(server: Server) -> None:
    (job,) = _claim(server)
    assert job.progress() is False
    assert job.cancelled
    assert not job.lost


def test_progress_and_finish_calls_prefer_a_minimal_answer() -> None:
    server = Server()
    (job,) = _claim(server)
    job.progress()
    job.complete()
    assert server.prefer == ["return=minimal"] * 2


def test_finishing_again_after_an_unknown_outcome_succeeds_if_the_lease_is_gone() -> None:
    server = Server()
    (job,) = _claim(server)
    server.broken = True
    with pytest.raises(OutcomeUnknown):
        job.fail("why")
    server.broken, server.status = False, 409
    job.fail("why")
    assert job.ended


def test_leases_of_one_queue_are_extended_in_one_request() -> None:
    server = Server(cancel_requested=True)
    jobs = _claim(server, 3)
    extend(jobs)
    assert [update["uid"] for update in server.updates] == ["u0", "u1", "u2"]
    assert len(server.prefer) == 1
    assert all(job.cancelled for job in jobs)


def test_a_heartbeat_without_an_answer_does_not_mark_the_lease_as_lost() -> None:
    server = Server()
    (job,) = _claim(server)
    server.broken = True
    extend([job])
    assert not job.lost


class Held:
    beat_seconds = 0.001


def test_a_thread_extends_leases_until_they_are_removed() -> None:
    twice = threading.Semaphore(0)
    heartbeats = Heartbeats[Held](lambda jobs: twice.release())
    job = Held()
    heartbeats.add(job)
    assert all(twice.acquire(timeout=PATIENCE) for _ in range(3))
    heartbeats.remove(job)
    heartbeats.close()
    thread = heartbeats._thread
    assert thread is not None
    thread.join(20)
    assert not thread.is_alive()


@in_loop
async def test_a_task_extends_leases_until_they_are_removed_and_then_ends() -> None:
    times = asyncio.Semaphore(0)

    async def extend(jobs: Any) -> None:
        times.release()

    heartbeats = AsyncHeartbeats[Held](extend)
    job = Held()
    heartbeats.add(job)
    for _ in range(3):
        await times.acquire()
    heartbeats.remove(job)
    assert heartbeats._task is not None
    await heartbeats._task
