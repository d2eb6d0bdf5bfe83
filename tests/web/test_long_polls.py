"""Claims that wait: what wakes them, in which order, and what happens if the client disconnects."""

import json
from typing import Any

import pytest

from tests.doubles import Answer, MemoryServer, Stepped
from tests.http.connection import Connection, request
from tests.kinds import run_until
from tests.web.asking import add, change, claim, make_queue, page, peek, put, read, set_up, update, waiters, waiting

POLL = request("GET", "/api/v1/job/next?queueName=q&markQueued=true&wait=30", "X-Access-Key: key")


def _uids(answers: list[Answer]) -> list[str]:
    assert [answer.status for answer in answers] == [200]
    return [job["uid"] for job in answers[0].json["jobs"]]


def test_a_claim_waits_for_a_job_that_is_added_and_gets_it_with_its_lease(server: MemoryServer) -> None:
    answers = waiting(server, worker="w")
    assert answers == []
    server.clock.advance(29)
    added = add(server)
    assert _uids(answers) == [added["uid"]]
    (job,) = answers[0].json["jobs"]
    assert (job["state"], job["attempts"], job["worker"]) == ("inprogress", 1, "w")
    assert change(server, job["uid"], lease=job["lease"], new_status="complete").status == 200


def test_waiting_works_by_get_as_well(server: MemoryServer) -> None:
    poll = Connection(server).send(POLL)
    assert poll.answers == []
    uid = add(server)["uid"]
    (answer,) = poll.answers
    assert (answer.status, json.loads(answer.body)["uid"]) == (200, uid)


def test_a_claim_that_finds_a_job_does_not_wait(server: MemoryServer) -> None:
    uid = add(server)["uid"]
    assert _uids(waiting(server)) == [uid]


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


def _release(server: MemoryServer, uid: str) -> None:
    update(server, uid, "queued")


def _fail_with_attempts_left(server: MemoryServer, uid: str) -> None:
    change(server, uid, new_status="failed", error="x")


def _time_out(server: MemoryServer, _uid: str) -> None:
    server.clock.advance(20)


@pytest.mark.parametrize("back", [_release, _fail_with_attempts_left, _time_out])
def test_a_job_that_is_released_wakes_a_waiter(server: MemoryServer, back: Any) -> None:
    uid = add(server, max_attempts=2, timeout_seconds=20)["uid"]
    claim(server)
    answers = waiting(server)
    back(server, uid)
    server.pump()
    assert _uids(answers) == [uid]
    assert read(server, uid).json["attempts"] == 2


def test_the_end_of_a_delay_wakes_a_waiter(server: MemoryServer) -> None:
    uid = add(server, delay_seconds=10)["uid"]
    answers = waiting(server)
    server.clock.advance(9.999)
    server.pump()
    assert answers == []
    server.clock.advance(0.001)
    server.pump()
    assert _uids(answers) == [uid]


def test_the_end_of_a_pause_wakes_a_waiter(server: MemoryServer) -> None:
    set_up(server, paused=True)
    uid = add(server)["uid"]
    answers = waiting(server)
    assert answers == []
    set_up(server, paused=False)
    assert _uids(answers) == [uid]


def test_a_job_wakes_the_first_waiter_whose_tags_match(server: MemoryServer) -> None:
    picky, any_job = waiting(server, tags=["x"]), waiting(server)
    plain = add(server)["uid"]
    assert (picky, _uids(any_job)) == ([], [plain])
    tagged = add(server, tags=["x"])["uid"]
    assert _uids(picky) == [tagged]


def test_first_come_first_served_over_all_queues_named(server: MemoryServer) -> None:
    make_queue(server, "r")
    first, second, third = waiting(server, "q", "r"), waiting(server, "r"), waiting(server, "q")
    body = {"queue_name": "r", "job": {"content": {}}}
    in_r = [server.call("PUT", "/api/v1/job", body=body).json["uid"] for _ in range(2)]
    assert (_uids(first), _uids(second), third) == (in_r[:1], in_r[1:], [])
    in_q = add(server)["uid"]
    assert _uids(third) == [in_q]


def test_many_jobs_at_once_go_to_the_waiters_in_their_order(server: MemoryServer) -> None:
    one, two, none = waiting(server), waiting(server, count=5), waiting(server)
    body = {"queue_name": "q", "jobs": [{"content": {}} for _ in range(4)]}
    uids = [job["uid"] for job in server.call("PUT", "/api/v1/jobs", body=body).json["jobs"]]
    assert (_uids(one), _uids(two), none) == (uids[:1], uids[1:], [])


def test_a_client_that_has_gone_is_not_given_a_job(server: MemoryServer) -> None:
    gone = Connection(server).send(POLL)
    behind = waiting(server)
    gone.go()
    uid = add(server)["uid"]
    assert _uids(behind) == [uid]
    assert read(server, uid).json["attempts"] == 1


def test_the_job_stays_ready_if_all_waiters_have_disconnected(server: MemoryServer) -> None:
    for _ in range(3):
        Connection(server).send(POLL).go()
    uid = add(server)["uid"]
    shown = read(server, uid).json
    assert (shown["state"], "attempts" in shown) == ("queued", False)
    assert claim(server).json["uid"] == uid


@pytest.mark.parametrize("steps", range(4))
def test_a_client_that_goes_while_its_job_is_being_written_gives_it_back(
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


def test_waiters_for_a_queue_that_is_deleted_are_told(server: MemoryServer) -> None:
    answers = waiting(server)
    server.call("DELETE", "/api/v1/queue", query={"name": "q"})
    assert [answer.status for answer in answers] == [404]


def test_waiters_whose_key_is_revoked_are_told_and_get_nothing(server: MemoryServer) -> None:
    body = {"queue_name": "q", "role": "worker", "access_key": "w"}
    key_id = server.call("PUT", "/api/v1/queue/key", body=body).json["id"]
    answers: list[Any] = []
    ask = {"queue_names": ["q"], "wait": 30}
    server.ask("POST", "/api/v1/job/next", body=ask, key="w").addBoth(answers.append)
    server.pump()
    server.call("DELETE", "/api/v1/queue/key", query={"name": "q", "keyID": key_id})
    uid = add(server)["uid"]
    assert [answer.status for answer in answers] == [401]
    assert read(server, uid).json["state"] == "queued"


def test_waiters_with_an_old_owners_key_are_told(server: MemoryServer) -> None:
    answers = waiting(server)
    set_up(server, new_access_key="new")
    server.call("PUT", "/api/v1/job", body={"queue_name": "q", "job": {"content": {}}}, key="new")
    assert [answer.status for answer in answers] == [401]


def test_a_stopping_server_releases_its_waiters(server: MemoryServer) -> None:
    answers = waiting(server)
    server.stop()
    assert [answer.status for answer in answers] == [204]


def test_a_server_that_is_stopping_lets_no_command_wait(server: MemoryServer) -> None:
    unfinished = add(server, delay_seconds=1)
    server.engine.release()
    assert [answer.status for answer in waiting(server)] == [204]
    query = {"queueName": "q", "jobUID": unfinished["uid"], "wait": "30"}
    assert server.call("GET", "/api/v1/job", query=query).json == unfinished
    assert put(server, headers={"Prefer": "wait=30"}).json["state"] == "queued"
    assert server.call("GET", "/api/v1/events", query={"queueName": "q"}).body == b":\n\n"


def test_a_job_that_was_claimed_for_a_waiter_is_held_after_a_restart(server: MemoryServer) -> None:
    answers = waiting(server, worker="w")
    uid = add(server)["uid"]
    lease = answers[0].json["jobs"][0]["lease"]
    server.restart()
    assert change(server, uid, lease=lease, new_status="inprogress").json["worker"] == "w"


def test_nothing_is_left_of_former_waiters(server: MemoryServer) -> None:
    timed_out, served = waiting(server, wait=1), waiting(server)
    Connection(server).send(POLL).go()
    server.clock.advance(1)
    assert put(server).status == 201
    assert (timed_out[0].status, served[0].status) == (204, 200)
    assert waiters(server, "job") == 0
    assert len(page(server)["jobs"]) == 1
