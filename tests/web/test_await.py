"""Waiting until a job is finished, and explaining why it is not."""

from typing import Any

import pytest

from jobengine.wire.time_text import time_text
from tests.doubles import Answer, MemoryServer
from tests.http.connection import Connection, request
from tests.web.asking import NO_WORKER, add, change, claim, explain, hold, listed, put, read, set_up, update, waiters


def _await(server: MemoryServer, uid: str, wait: str = "30", key: str = "key") -> list[Answer]:
    query = {"queueName": "q", "jobUID": uid, "wait": wait}
    return server.begin("GET", "/api/v1/job", query=query, key=key)


def _add_and_await(server: MemoryServer, prefer: str | list[str], **job: Any) -> list[Answer]:
    body = {"queue_name": "q", "job": {"content": {}, **job}}
    return server.begin("PUT", "/api/v1/job", body=body, headers={"Prefer": prefer})


def test_a_waiting_read_is_answered_when_its_job_finishes(server: MemoryServer) -> None:
    uid = add(server)["uid"]
    answers = _await(server, uid)
    update(server, uid, "inprogress")
    assert answers == []
    change(server, uid, new_status="complete", result={"r": 1})
    assert [(answer.status, answer.json) for answer in answers] == [(200, read(server, uid).json)]


def test_a_waiting_read_is_refused_at_once_for_a_wrong_key_or_a_missing_job(server: MemoryServer) -> None:
    uid = add(server)["uid"]
    assert [answer.status for answer in _await(server, uid, key="wrong")] == [401]
    assert [answer.status for answer in _await(server, "none")] == [404]


def test_a_client_that_disconnects_while_it_waits_for_a_job_leaves_no_waiter(server: MemoryServer) -> None:
    uid = add(server)["uid"]
    asked = request("GET", f"/api/v1/job?queueName=q&jobUID={uid}&wait=30", "X-Access-Key: key")
    Connection(server).send(asked).go()
    assert waiters(server, "end") == 0
    assert update(server, uid, "complete").status == 200


# Adding and waiting in one call


@pytest.mark.parametrize(
    "prefer",
    ["wait=30", "WAIT = 30", 'wait="30"', "respond-async, wait=30", "wait=30; x=y", ["respond-async", "wait=30"]],
)
def test_a_job_is_added_and_its_outcome_returned_in_one_call(server: MemoryServer, prefer: Any) -> None:
    answers = _add_and_await(server, prefer)
    assert answers == []
    job = hold(server)
    change(server, job["uid"], lease=job["lease"], new_status="complete", result=42)
    assert [(answer.status, answer.json) for answer in answers] == [(201, read(server, job["uid"]).json)]
    assert answers[0].json["result"] == 42


@pytest.mark.parametrize("prefer", ["", "wait", "wait=", "wait=x", "wait=-1", "wait=0", "await=5", "respond-async"])
def test_an_invalid_prefer_header_is_ignored(server: MemoryServer, prefer: str) -> None:
    assert [answer.status for answer in _add_and_await(server, prefer)] == [201]


def test_a_repeated_add_waits_for_the_job_of_the_first_request(server: MemoryServer) -> None:
    uid = "0b8c9e1c-4c1e-4a35-9d5c-5a6f0f0f8a11"
    put(server, uid=uid)
    answers = _add_and_await(server, "wait=30", uid=uid)
    update(server, uid, "complete")
    assert [(answer.status, answer.json["state"]) for answer in answers] == [(200, "complete")]


def test_a_job_is_added_even_if_its_client_disconnects(server: MemoryServer) -> None:
    body = b'{"queue_name":"q","job":{"content":{}}}'
    headers = ("X-Access-Key: key", "Prefer: wait=30", "Content-Type: application/json")
    Connection(server).send(request("PUT", "/api/v1/job", *headers, body=body)).go()
    assert listed(server)["size"] == 1


# Explaining


def test_the_explanation_of_a_ready_job_has_the_number_of_jobs_ahead(server: MemoryServer) -> None:
    uids = [add(server)["uid"] for _ in range(3)]
    first = add(server, priority=1)["uid"]
    add(server, priority=9, delay_seconds=60)
    assert explain(server, uids[2]) == {
        "uid": uids[2],
        "state": "queued",
        "paused": False,
        "ahead": 3,
        "reason": f"It can be claimed. 3 jobs are before it.{NO_WORKER}",
    }
    assert explain(server, first)["reason"] == f"It can be claimed. It is the next.{NO_WORKER}"
    claim(server)
    assert explain(server, uids[2])["ahead"] == 2


def test_explain_of_a_job_in_a_paused_queue_has_the_pause_and_the_number_of_jobs_ahead(server: MemoryServer) -> None:
    uid = add(server)["uid"]
    set_up(server, paused=True)
    shown = explain(server, uid)
    assert (shown["paused"], shown["ahead"], shown["reason"]) == (True, 0, "The queue is paused. It is the next.")


def test_explain_of_a_delayed_job_shows_the_end_of_its_delay(server: MemoryServer) -> None:
    uid = add(server, delay_seconds=60)["uid"]
    due = int(server.clock.seconds()) + 60
    shown = explain(server, uid)
    assert (shown["not_before"], "ahead" in shown, time_text(due) in shown["reason"]) == (due, False, True)


def test_explain_of_a_delayed_retry_names_the_attempt_before_it(server: MemoryServer) -> None:
    uid = add(server, max_attempts=2, retry_delay_seconds=60)["uid"]
    lease = hold(server)["lease"]
    change(server, uid, lease=lease, new_status="failed")
    due = time_text(int(server.clock.seconds()) + 60)
    reason = f"It can't be claimed before {due}. It is retried then, after attempt 1 of 2."
    assert explain(server, uid)["reason"] == reason


@pytest.mark.parametrize("worker", ["w", None])
def test_explain_of_a_job_in_progress_shows_the_worker_and_the_lease_end(
    server: MemoryServer, worker: str | None
) -> None:
    uid = add(server, timeout_seconds=30)["uid"]
    lease = hold(server, worker=worker)["lease"]
    end = int(server.clock.seconds()) + 30
    shown = explain(server, uid)
    assert (shown["state"], shown.get("worker"), shown["lease_expires"]) == ("inprogress", worker, end)
    assert (time_text(end) in shown["reason"], ", held by 'w'," in shown["reason"]) == (True, worker is not None)
    assert shown["reason"].startswith("It is in progress, ")
    assert "held, until" not in shown["reason"]
    assert lease not in str(shown)


@pytest.mark.parametrize("state", ["complete", "failed"])
def test_the_explanation_of_a_finished_job_has_its_state_and_error(server: MemoryServer, state: str) -> None:
    uid = add(server)["uid"]
    change(server, uid, new_status=state, error="e")
    shown = explain(server, uid)
    assert (shown["state"], shown["error"], shown["reason"][: len(state) + 6]) == (state, "e", f"It is {state}")
