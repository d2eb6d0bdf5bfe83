"""Claims that wait: what wakes them, in which order, and what happens if the client disconnects."""

import json
from typing import Any

import pytest

from tests.doubles import Answer, MemoryServer, Stepped
from tests.http.connection import Connection, request
from tests.kinds import run_until
from tests.web.asking import add, change, page, peek, put, read, set_up, take, waiters, waiting

POLL = request("GET", "/api/v1/job/next?queueName=q&markQueued=true&wait=30", "X-Access-Key: key")


def _uids(answers: list[Answer]) -> list[str]:
    assert [answer.status for answer in answers] == [200]
    return [job["uid"] for job in answers[0].json["jobs"]]


def test_a_waiting_claim_gets_an_added_job_with_its_lease(server: MemoryServer) -> None:
    answers = waiting(server, worker="w")
    assert answers == []
    server.clock.advance(29)
    added = add(server)
    assert _uids(answers) == [added["uid"]]
    (job,) = answers[0].json["jobs"]
    assert (job["state"], job["attempts"], job["worker"]) == ("inprogress", 1, "w")
    assert change(server, job["uid"], lease=job["lease"], new_status="complete").status == 200


def test_a_claim_by_get_can_wait(server: MemoryServer) -> None:
    poll = Connection(server).send(POLL)
    assert poll.answers == []
    uid = add(server)["uid"]
    (answer,) = poll.answers
    assert (answer.status, json.loads(answer.body)["uid"]) == (200, uid)


def test_a_wait_that_ends_without_a_job_is_answered_with_204(server: MemoryServer) -> None:
    answers = waiting(server, wait=2.5)
    server.clock.advance(2.4)
    server.pump()
    assert answers == []
    server.clock.advance(0.1)
    server.pump()
    assert [(answer.status, answer.body) for answer in answers] == [(204, b"")]
    assert add(server)["state"] == "queued"
    assert peek(server).status == 200


def test_a_client_that_has_left_gets_no_job(server: MemoryServer) -> None:
    gone = Connection(server).send(POLL)
    behind = waiting(server)
    gone.go()
    uid = add(server)["uid"]
    assert _uids(behind) == [uid]
    assert read(server, uid).json["attempts"] == 1


@pytest.mark.parametrize("steps", range(4))
def test_a_job_is_released_if_its_client_disconnects_while_the_claim_is_written(
    start: Any, stepped: Stepped, steps: int
) -> None:
    server = start(engine_parts={"thread": stepped})
    poll = Connection(server).send(POLL)
    run_until(server, lambda: not stepped.waiting)
    server.ask("PUT", "/api/v1/job", body={"queue_name": "q", "job": {"content": {}}})
    server.pump()
    for _ in range(min(steps, len(stepped.waiting))):
        stepped.step()
        server.pump()
    answers = list(poll.answers)
    poll.go()
    read_again: list[Any] = []
    run_until(server, lambda: not stepped.waiting)
    server.ask("GET", "/api/v1/queue", query={"name": "q"}).addBoth(read_again.append)
    run_until(server, lambda: bool(read_again))
    (job,) = read_again[0].json["jobs"]
    held = ("inprogress", True) if answers else ("queued", False)
    assert (job["state"], "attempts" in job) == held
    assert list(poll.answers) == answers


def test_a_waiting_claim_gets_an_error_when_its_key_or_queue_is_removed(server: MemoryServer) -> None:
    old = waiting(server)
    set_up(server, new_access_key="new")
    assert put(server, key="new").status == 201
    assert [answer.status for answer in old] == [401]
    assert take(server, key="new").status == 200
    new = waiting(server, key="new")
    server.call("DELETE", "/api/v1/queue", query={"name": "q"}, key="new")
    assert [answer.status for answer in new] == [404]


def test_a_stopping_server_releases_its_waiters(server: MemoryServer) -> None:
    answers = waiting(server)
    server.stop()
    assert [answer.status for answer in answers] == [204]


def test_a_stopping_server_answers_waiting_calls_at_once(server: MemoryServer) -> None:
    unfinished = add(server, delay_seconds=1)
    server.engine.release()
    assert [answer.status for answer in waiting(server)] == [204]
    query = {"queueName": "q", "jobUID": unfinished["uid"], "wait": "30"}
    assert server.call("GET", "/api/v1/job", query=query).json == unfinished
    assert put(server, headers={"Prefer": "wait=30"}).json["state"] == "queued"
    assert server.call("GET", "/api/v1/events", query={"queueName": "q"}).body == b":\n\n"


def test_finished_waits_leave_no_waiter_and_claim_no_job(server: MemoryServer) -> None:
    timed_out, served = waiting(server, wait=1), waiting(server)
    Connection(server).send(POLL).go()
    server.clock.advance(1)
    assert put(server).status == 201
    assert (timed_out[0].status, served[0].status) == (204, 200)
    assert waiters(server, "job") == 0
    assert len(page(server)["jobs"]) == 1
