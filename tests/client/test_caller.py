"""Retries of the client for threads, and the error after the last retry; without sockets or real time."""

import json
import os
import socket
import traceback
from datetime import timedelta
from typing import Any

import pytest

from jobengine.client import Finished, Job, JobEngine
from jobengine.client._sync import caller as caller_module
from jobengine.client.errors import (
    BadRequest,
    JobEngineError,
    LeaseLost,
    NotJobEngine,
    OutcomeUnknown,
    QueueExists,
    QueueNotFound,
    TooManyRequests,
    Unavailable,
)
from jobengine.client.http_codec import Address, Broken, NotConnected, Request, Response, not_connected
from jobengine.wire.request_head import BadInput, access_key

from .doubles import FakePool, Reply, answer, unconnected

JOB = {"uid": "u", "state": "queued", "priority": 0}
CLAIMED = {**JOB, "queue_name": "q", "lease": "l", "state": "inprogress"}
KEY = "the key of the queue"


class Clock:
    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def monotonic(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(caller_module, "sleep", clock.sleep)
    monkeypatch.setattr(caller_module, "monotonic", clock.monotonic)
    return clock


def _engine(replies: Any, **more: Any) -> tuple[JobEngine, FakePool]:
    return unconnected(replies, access_key=KEY, **more)


def test_each_retry_of_a_call_is_reported() -> None:
    engine, _ = _engine([NotConnected("refused"), answer(503, {"detail": "starting"}), answer(201, JOB)])
    told: list[str] = []
    engine._caller.tell = lambda error: told.append(error.detail)
    engine.queue("q").add({})
    assert told == ["No answer from http://server.example:6006: refused.", "starting"]


def test_the_error_for_an_unknown_path_advises_to_remove_the_api_path_from_the_url() -> None:
    nowhere = {"detail": "There is nothing at this path; GET /openapi.json lists the calls."}
    engine, pool = _engine([answer(404, nowhere)] * 2 + [answer(404, {"detail": "no such queue"})])
    with pytest.raises(QueueNotFound, match="There is nothing at this path"):
        engine.queue("q").stats()
    pool.address = Address("http://server.example:6006/api/v1/")
    with pytest.raises(QueueNotFound, match=r"nothing under http://server\.example:6006/api/v1\. .* without /api/v1;"):
        engine.queue("q").stats()
    with pytest.raises(QueueNotFound, match="no such queue"):
        engine.queue("q").stats()


_LOST: list[Reply] = [
    Broken("the connection was closed"),
    NotConnected("connection refused"),
    answer(503, {"detail": "starting"}),
    answer(502),
    answer(504),
]


@pytest.mark.parametrize("trouble", _LOST, ids=str)
def test_a_repeated_add_has_the_same_uid(clock: Clock, trouble: Reply) -> None:
    engine, pool = _engine([trouble, answer(201, JOB)])
    assert engine.queue("q").add({"a": 1}).uid == "u"
    first, second = pool.requests
    assert first.body == second.body
    assert json.loads(first.body or b"")["job"]["uid"]
    assert len(clock.slept) == 1


def test_a_connection_closed_by_the_server_is_replaced_without_a_pause(clock: Clock) -> None:
    engine, _ = _engine([Broken("closed", stale=True), answer(201, JOB)])
    engine.queue("q").add({})
    assert clock.slept == []


def test_a_call_is_retried_after_the_delay_in_the_retry_after_header(clock: Clock) -> None:
    engine, _ = _engine([answer(503, {"detail": "busy"}, retry_after="7"), answer(201, JOB)])
    engine.queue("q").add({})
    assert 7 <= clock.slept[0] < 8


def test_a_sent_call_without_an_answer_has_an_unknown_outcome_when_the_retry_time_is_over(clock: Clock) -> None:
    engine, pool = _engine(lambda request: Broken("the connection was closed"), retry_for=10)
    with pytest.raises(OutcomeUnknown, match=r"http://server\.example:6006: the connection was closed"):
        engine.queue("q").add({})
    assert clock.now <= 10
    assert len(pool.requests) > 5


def test_a_server_that_was_never_reached_is_unavailable_and_the_error_has_its_address() -> None:
    refused = not_connected(ConnectionRefusedError(111, "Connection refused"))
    engine, _ = _engine(lambda request: refused, retry_for=1)
    with pytest.raises(
        Unavailable, match=r"http://server\.example:6006: Connection refused\. Is the server running\?$"
    ) as caught:
        engine.queue("q").add({})
    assert type(caught.value) is Unavailable
    assert caught.value.status is None


def test_an_outcome_is_unknown_if_an_answer_was_lost_and_the_server_is_then_unreachable() -> None:
    replies: list[Reply] = [Broken("cut")]

    def reply(request: Request) -> Reply:
        return replies.pop() if replies else not_connected(ConnectionRefusedError(111, "Connection refused"))

    engine, _ = _engine(reply, retry_for=1)
    with pytest.raises(OutcomeUnknown, match=r"Is the server running\? It is unknown whether .* may have succeeded\.$"):
        engine.queue("q").add({})


_RECOVERING = answer(503, {"detail": "The server is recovering, 82 %; nothing was carried out. Try again."})


def test_a_call_that_reaches_only_a_recovering_server_raises_unavailable() -> None:
    engine, pool = _engine(lambda request: _RECOVERING, retry_for=1)
    for call in (lambda: engine.queue("q").add({}), lambda: engine.queue("q").configure(new_access_key="new")):
        with pytest.raises(Unavailable, match=r"82 %; nothing was carried out\. Try again\.$") as caught:
            call()
        assert type(caught.value) is Unavailable
    assert len(pool.requests) > 2


def test_an_outcome_is_unknown_if_an_answer_was_lost_and_the_server_is_recovering_afterwards() -> None:
    replies: list[Reply] = [Broken("cut")]
    engine, _ = _engine(lambda request: replies.pop() if replies else _RECOVERING, retry_for=1)
    with pytest.raises(OutcomeUnknown, match=r"recovering, 82 %\. It is unknown whether the call was carried out"):
        engine.queue("q").add({})


_BACKLOG = answer(503, {"detail": "Too many changes are waiting to be written; this one was not made. Try again."})


def test_an_error_keeps_the_servers_text_after_one_attempt_and_says_after_several_that_the_outcome_is_unknown() -> None:
    for retry_for, text in (
        (0, r"to be written; this one was not made\. Try again\.$"),
        (1, r"to be written\. It is unknown whether .* an attempt may have succeeded\.$"),
    ):
        engine, _ = _engine(lambda request: _BACKLOG, retry_for=retry_for)
        with pytest.raises(OutcomeUnknown, match=text):
            engine.queue("q").add({})


_FULL = answer(503, {"detail": "the database can't grow: No space left on device"})


def test_a_read_without_an_answer_raises_unavailable_and_not_outcome_unknown() -> None:
    engine, _ = _engine(lambda request: _FULL, retry_for=1)
    with pytest.raises(Unavailable, match=r"left on device$") as caught:
        engine.readyz()
    assert type(caught.value) is Unavailable
    with pytest.raises(
        OutcomeUnknown, match=r"left on device\. It is unknown whether .* an attempt may have succeeded\.$"
    ):
        engine.queue("q").add({})


def test_the_error_for_a_missing_key_names_the_clients_settings() -> None:
    with pytest.raises(BadInput) as missing:
        access_key([])
    engine, _ = unconnected([answer(400, {"detail": str(missing.value)})])
    with pytest.raises(BadRequest, match="no access key for this call: set access_key= or JOBENGINE_ACCESS_KEY"):
        engine.queue("q").add({})


@pytest.mark.parametrize(
    "call",
    [
        lambda queue: queue.claim(),
        lambda queue: queue.create(),
        lambda queue: queue.retry(all=True),
        lambda queue: queue.delete_all(tag="x"),
        lambda queue: queue.cancel_all(all=True),
        lambda queue: queue.update("u", new_status="queued"),
        lambda queue: queue.update("u", delay_seconds=5),
        lambda queue: queue.configure(new_access_key="new"),
        lambda queue: queue.keys.add("viewer", "v"),
    ],
)
def test_an_unsafe_call_is_not_repeated(call: Any) -> None:
    engine, pool = _engine([Broken("cut")])
    with pytest.raises(OutcomeUnknown):
        call(engine.queue("q"))
    assert len(pool.requests) == 1


def test_a_claim_that_could_not_connect_is_sent_again() -> None:
    engine, _ = _engine([NotConnected("Connection refused"), Response(204, {}, b"")])
    assert engine.queue("q").claim() == []


@pytest.mark.parametrize(
    "call",
    [lambda q: q.delete("u"), lambda q: q.remove_job("u"), lambda q: q.remove(), lambda q: q.keys.revoke("k")],
)
def test_a_404_to_a_repeated_deletion_counts_as_success(call: Any) -> None:
    gone = answer(404, {"detail": "gone"})
    call(_engine([Broken("cut"), gone])[0].queue("q"))
    with pytest.raises(JobEngineError):
        call(_engine([gone])[0].queue("q"))
    with pytest.raises(NotJobEngine):
        call(_engine([Broken("cut"), Response(404, {}, b"<html>")])[0].queue("q"))


def test_creating_an_existing_queue_with_exist_ok_raises_no_error() -> None:
    engine, _ = _engine([Broken("cut"), answer(409, {"detail": "taken"}), answer(409, {"detail": "taken"})])
    engine.queue("q").create(exist_ok=True)
    with pytest.raises(QueueExists):
        engine.queue("q").create()


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (answer(400, {"detail": "no", "status": 400}), BadRequest),
        (answer(404, {"detail": "There is no queue named 'q'"}), QueueNotFound),
        (answer(429, {"detail": "full"}), TooManyRequests),
        (answer(500, {"detail": "incident 7"}, x_request_id="r"), JobEngineError),
        (answer(302, None), NotJobEngine),
        (Response(404, {}, b"<html>"), NotJobEngine),
    ],
)
def test_a_refused_job_is_not_sent_again(reply: Reply, kind: type[Exception]) -> None:
    engine, pool = _engine([reply])
    with pytest.raises(kind):
        engine.queue("q").add({})
    assert len(pool.requests) == 1


def test_neither_a_repr_nor_a_traceback_with_local_variables_shows_a_key() -> None:
    engine, _ = _engine(lambda request: Broken("cut"), admin_key="the key of the admin", retry_for=0)
    queue = engine.queue("other", access_key="another key")
    shown = [repr(one) for one in (engine, queue, engine._settings, engine._caller, queue._key)]
    for call in (
        lambda: queue.add({}),
        lambda: queue.create(access_key="a new key"),
        lambda: queue.configure(new_access_key="a newer key"),
        lambda: queue.keys.add("viewer", "a key to view"),
        queue.stats,
    ):
        with pytest.raises(Unavailable) as caught:
            call()
        shown += traceback.TracebackException.from_exception(caught.value, capture_locals=True).format()
    own = _frames_of_the_client("\n".join(shown))
    for key in (KEY, "the key of the admin", "another key", "a new key", "a newer key", "a key to view"):
        assert key not in own


def _frames_of_the_client(text: str) -> str:
    """The traceback without the frames of this file, which show its arguments."""
    return "\n".join(block for block in text.split('  File "') if "test_caller.py" not in block.partition("\n")[0])


def test_a_change_of_many_jobs_needs_a_selection() -> None:
    engine, pool = _engine([])
    for call in (engine.queue("q").cancel_all, engine.queue("q").delete_all):
        with pytest.raises(TypeError, match="all=True"):
            call()
        with pytest.raises(TypeError, match="all=True"):
            call(all=True, tag="x")
    assert pool.requests == []


def test_a_call_that_needs_a_uid_refuses_a_job() -> None:
    engine, pool = _engine([])
    queue = engine.queue("q")
    job: Any = Job(JOB)
    for call in (queue.get, queue.wait, queue.explain, queue.graph, queue.cancel, queue.delete, queue.retry):
        with pytest.raises(TypeError, match=r"^this call needs a job's uid, a text such as job\.uid, not Job$"):
            call(job)
    with pytest.raises(TypeError, match=r"such as job\.uid, not Job$"):
        queue.update(job, priority=1)
    with pytest.raises(TypeError, match=r"such as job\.uid, not Job$"):
        queue.move("other", uids=[job])
    assert pool.requests == []


def test_a_wait_longer_than_one_request_allows_is_split_into_several_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, pool = _engine(lambda request: answer(200, {**JOB, "state": "inprogress"}))
    times = iter([0.0, 0.0, 50.0, 50.0, 100.0, 100.0, 120.0])
    monkeypatch.setattr(engine, "_now", lambda: next(times))
    assert not engine.queue("q").wait("u", timeout=120).finished
    assert [request.query and request.query["wait"] for request in pool.requests] == ["50.000", "50.000", "20.000"]


def test_a_time_out_may_be_a_timedelta() -> None:
    engine, pool = _engine([answer(200, {**JOB, "state": "complete"})])
    queue = engine.queue("q")
    assert queue.wait("u", timeout=timedelta(seconds=20)).finished
    assert pool.requests[0].query is not None
    assert float(pool.requests[0].query["wait"]) == pytest.approx(20, abs=1)
    for call in (lambda: queue.wait("u", timeout="20"), lambda: queue.claim(wait="20")):  # type: ignore[arg-type]  # meant
        with pytest.raises(TypeError, match=r"^a time-out must be a timedelta or a number of seconds, not str$"):
            call()
    assert len(pool.requests) == 1


def test_finish_and_claim_uses_separate_calls_with_an_old_server() -> None:
    def old_server(request: Request) -> Reply:
        if request.path == "/api/v1/job/next":
            return answer(200, {"jobs": [CLAIMED]})
        return answer(200, {"results": [{"uid": "u", "status": 200, "job": JOB}]})

    engine, pool = _engine(old_server)
    (job,) = engine.queue("q").claim()
    errors, jobs = engine.finish_and_claim([Finished(job, {"new_status": "complete"})], ["q"])
    assert (errors, len(jobs), job.ended) == ([None], 1, True)
    assert pool.requests[-1].path == "/api/v1/jobs"


def test_a_claim_sends_its_host_and_process() -> None:
    engine, pool = _engine(lambda _request: answer(204, None))
    engine.claim(["q"])
    said = json.loads(pool.requests[-1].body or b"")
    assert (said["host"], said["pid"]) == (socket.gethostname()[:100], str(os.getpid()))
    assert said["client"].startswith("jobengine-python/")


def test_a_claim_omits_its_origin_after_the_server_refused_the_host_field() -> None:
    def old_server(request: Request) -> Reply:
        if "host" in json.loads(request.body or b""):
            return answer(400, {"detail": "There is no field 'host'. Did you mean 'count'?"})
        return answer(204, None)

    engine, pool = _engine(old_server)
    assert engine.claim(["q"]) == []
    assert engine.claim(["q"]) == []
    assert ["host" in json.loads(request.body or b"") for request in pool.requests] == [True, False, False]


def test_a_claim_omits_each_field_that_an_older_server_does_not_know() -> None:
    def old_server(request: Request) -> Reply:
        unknown = [name for name in ("host", "with_results") if name in json.loads(request.body or b"")]
        return answer(400, {"detail": f"There is no field '{unknown[0]}'."}) if unknown else answer(204, None)

    engine, pool = _engine(old_server)
    assert [engine.claim(["q"], with_results=True) for _ in range(2)] == [[], []]
    assert len(pool.requests) == 4


def test_finish_and_claim_repeats_only_the_updates_after_a_lost_answer() -> None:
    def server(request: Request) -> Reply:
        body = json.loads(request.body or b"")
        if "queue_names" in body:
            return Broken("cut") if "updates" in body else answer(200, {"jobs": [CLAIMED, CLAIMED]})
        return answer(200, {"results": [{"uid": "u", "status": 409, "error": "no"}, {"uid": "u", "status": 200}]})

    engine, pool = _engine(server)
    first, second = engine.queue("q").claim(2)
    done = [Finished(first, {"new_status": "failed"}), Finished(second, {"new_status": "complete"})]
    assert engine.finish_and_claim(done, ["q"]) == ([None, None], [])
    assert [request.path for request in pool.requests] == ["/api/v1/job/next"] * 2 + ["/api/v1/jobs"]
    assert first.ended
    assert second.ended


def test_finish_and_claim_is_one_request() -> None:
    def server(request: Request) -> Reply:
        body = json.loads(request.body or b"")
        results = [{"uid": "u", "status": 200}, {"uid": "u", "status": 409, "error": "lost"}]
        reply = {"jobs": [CLAIMED, CLAIMED], **({"results": results} if "updates" in body else {})}
        return answer(200, reply, x_request_id="7")

    engine, pool = _engine(server)
    first, second = engine.queue("q").claim(2)
    done = [Finished(first, {"new_status": "complete", "result": 1}), Finished(second, {"new_status": "complete"})]
    errors, _ = engine.finish_and_claim(done, ["q"], 2, worker="w")
    assert [(type(error), error and error.request_id) for error in errors] == [(type(None), None), (LeaseLost, "7")]
    assert (first.ended, second.ended, second.lost) == (True, False, True)
    update = {"queue_name": "q", "uid": "u", "new_status": "complete", "result": 1, "lease": "l"}
    assert json.loads(pool.requests[-1].body or b"")["updates"][0] == update
