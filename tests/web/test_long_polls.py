"""Claims that wait: what wakes them, in which order, and what happens if the client disconnects."""

import json
from typing import Any

import pytest

from tests.doubles import MemoryServer, Stepped
from tests.http.connection import Connection, request
from tests.kinds import run_until
from tests.web.asking import add, peek, put, waiting

POLL = request("GET", "/api/v1/job/next?queueName=q&markQueued=true&wait=30", "X-Access-Key: key")


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


def test_a_stopping_server_answers_waiting_calls_at_once(server: MemoryServer) -> None:
    unfinished = add(server, delay_seconds=1)
    server.engine.release()
    assert [answer.status for answer in waiting(server)] == [204]
    query = {"queueName": "q", "jobUID": unfinished["uid"], "wait": "30"}
    assert server.call("GET", "/api/v1/job", query=query).json == unfinished
    assert put(server, headers={"Prefer": "wait=30"}).json["state"] == "queued"
    assert server.call("GET", "/api/v1/events", query={"queueName": "q"}).body == b":\n\n"
