"""Leases: who sees them, what they allow, and what happens after one was lost."""

import json
from typing import Any

import pytest
from twisted.logger import LogEvent, eventAsText

from jobengine.daemon.logs import json_lines
from tests.doubles import Answer, MemoryServer
from tests.http.connection import Connection, request
from tests.web.asking import add, change, claim, hold, listed, page, peek, put, read, set_up, take, update


def _lost(answer: Answer) -> tuple[Any, ...]:
    """The members of a 409 about the holder of the job."""
    assert answer.status == 409
    return answer.json["state"], answer.json["worker"]


def test_each_claim_has_a_fresh_lease(server: MemoryServer) -> None:
    uid = add(server)["uid"]
    leases = set()
    for _ in range(5):
        leases.add(hold(server)["lease"])
        update(server, uid, "queued")
        leases.add(claim(server).json["lease"])
        update(server, uid, "queued")
    assert len(leases) == 10


def test_a_lease_is_shown_to_its_claimer_and_nowhere_else(server: MemoryServer, events: list[LogEvent]) -> None:
    stream = Connection(server).send(request("GET", "/api/v1/events?queueName=q", "X-Access-Key: key"))
    uid = add(server, max_attempts=3)["uid"]
    lease = hold(server, worker="w")["lease"]
    answers = [
        read(server, uid),
        change(server, uid, progress=1),
        change(server, uid, lease=lease, new_status="inprogress"),
        change(server, uid, lease="wrong", new_status="inprogress"),
        server.call("GET", "/api/v1/job/explain", query={"queueName": "q", "jobUID": uid}),
        server.call("GET", "/api/v1/queue/stats", query={"name": "q"}),
        server.call("GET", "/metrics"),
        change(server, uid, lease=lease, new_status="failed", error="x"),
        change(server, uid, lease=lease, new_status="failed"),
        take(server),
    ]
    shown = json.dumps([page(server), listed(server)]).encode() + b"".join(answer.body for answer in answers)
    assert lease.encode() not in shown + stream.sent
    assert all(lease not in eventAsText(event) + json_lines(event) for event in events)


def test_an_update_with_the_lease_of_its_holder_is_made(server: MemoryServer) -> None:
    uid = add(server)["uid"]
    lease = hold(server)["lease"]
    for fields in ({"progress": 5}, {"new_status": "INPROGRESS"}, {"new_status": "complete", "result": [1]}):
        assert change(server, uid, lease=lease, **fields).status == 200
    assert read(server, uid).json["result"] == [1]


def test_an_update_with_a_lost_lease_learns_who_holds_the_job(server: MemoryServer) -> None:
    uid = add(server, max_attempts=3, timeout_seconds=30)["uid"]
    lease = hold(server, worker="slow")["lease"]
    server.clock.advance(30)
    before = read(server, uid).json
    assert _lost(change(server, uid, lease=lease, new_status="complete")) == ("queued", None)
    assert read(server, uid).json == before
    hold(server, worker="quick")
    answer = change(server, uid, lease=lease, new_status="complete", result=1)
    assert _lost(answer) == ("inprogress", "quick")
    assert read(server, uid).json["state"] == "inprogress"
    update(server, uid, "queued")
    hold(server)
    assert _lost(change(server, uid, lease=lease, progress=1)) == ("inprogress", None)
    update(server, uid, "complete")
    assert _lost(change(server, uid, lease=lease, new_status="complete")) == ("complete", None)


def test_a_missing_job_comes_before_a_lost_lease(server: MemoryServer) -> None:
    uid = add(server)["uid"]
    lease = hold(server)["lease"]
    server.call("DELETE", "/api/v1/job", query={"queueName": "q", "jobUID": uid})
    assert change(server, uid, lease=lease, progress=1).status == 404


@pytest.mark.parametrize("lease", ["", 1, [], True])
def test_a_lease_that_is_no_text_is_refused(server: MemoryServer, lease: Any) -> None:
    uid = add(server)["uid"]
    hold(server)
    assert change(server, uid, lease=lease, progress=1).status == 400


def test_without_a_lease_anybody_may_update_as_in_v1(server: MemoryServer) -> None:
    uid = add(server)["uid"]
    lease = hold(server)["lease"]
    assert update(server, uid, "inprogress").status == 200
    assert change(server, uid, lease=lease, new_status="inprogress").status == 200
    assert update(server, uid, "complete").status == 200


def test_a_heartbeat_extends_the_lease(server: MemoryServer) -> None:
    uid = add(server, timeout_seconds=10)["uid"]
    lease = hold(server)["lease"]
    for _ in range(4):
        server.clock.advance(9)
        answer = change(server, uid, lease=lease, new_status="inprogress")
        assert answer.json["lease_expires"] == int(server.clock.seconds()) + 10
        assert answer.json["cancel_requested"] is False
    server.clock.advance(10)
    assert read(server, uid).json["state"] == "failed"
    assert _lost(change(server, uid, lease=lease, new_status="inprogress")) == ("failed", None)


def test_progress_alone_is_a_sign_of_life(server: MemoryServer) -> None:
    uid = add(server, timeout_seconds=10)["uid"]
    lease = hold(server)["lease"]
    server.clock.advance(9)
    assert change(server, uid, lease=lease, progress=50).json["progress"] == 50
    server.clock.advance(9)
    assert read(server, uid).json["state"] == "inprogress"


def test_a_job_that_never_times_out_has_no_end_of_its_lease(server: MemoryServer) -> None:
    add(server, timeout_seconds=0)
    job = hold(server)
    assert job["lease"]
    assert "lease_expires" not in job


@pytest.mark.parametrize("status", ["complete", "failed"])
def test_a_finish_may_be_repeated_with_the_same_lease(server: MemoryServer, status: str) -> None:
    uid = add(server)["uid"]
    lease = hold(server)["lease"]
    first = change(server, uid, lease=lease, new_status=status, error="e")
    server.clock.advance(5)
    again = change(server, uid, lease=lease, new_status=status, error="e")
    assert (first.status, again.status, again.json) == (200, 200, first.json)
    server.restart()
    assert change(server, uid, lease=lease, new_status=status, error="e").json == first.json
    other = "complete" if status == "failed" else "failed"
    assert _lost(change(server, uid, lease=lease, new_status=other)) == (status, None)
    assert _lost(change(server, uid, lease="wrong", new_status=status)) == (status, None)


def test_a_failure_that_was_queued_again_is_not_repeated(server: MemoryServer) -> None:
    uid = add(server, max_attempts=2)["uid"]
    lease = hold(server)["lease"]
    assert change(server, uid, lease=lease, new_status="failed").json["state"] == "queued"
    assert _lost(change(server, uid, lease=lease, new_status="failed")) == ("queued", None)
    assert hold(server)["attempts"] == 2


def test_a_queue_may_demand_the_lease(server: MemoryServer) -> None:
    uid = add(server)["uid"]
    assert set_up(server, require_lease=True).json["require_lease"] is True
    assert update(server, uid, "queued").status == 200
    lease = hold(server, worker="w")["lease"]
    for fields in ({"new_status": "complete"}, {"new_status": "inprogress"}, {"progress": 1}, {"new_status": "queued"}):
        answer = change(server, uid, **fields)
        assert _lost(answer) == ("inprogress", "w")
        assert "lease" in answer.json["detail"]
    assert change(server, uid, cancel=True).status == 200
    assert change(server, uid, lease=lease, new_status="complete").status == 200
    assert update(server, uid, "queued").status == 200


def test_a_queue_that_demands_leases_has_jobs_claimed_and_not_said_to_be_in_progress(server: MemoryServer) -> None:
    uid = add(server)["uid"]
    set_up(server, require_lease=True)
    answers = [
        update(server, uid, "inprogress"),
        change(server, uid, new_status="inprogress", progress=1),
        server.call("POST", "/api/v1/jobs", body={"queue_name": "q", "all": True, "new_status": "inprogress"}),
    ]
    for answer in answers:
        assert (answer.status, answer.json["state"], "only a claim gives one" in answer.json["detail"]) == (
            409,
            "queued",
            True,
        )
    body = {"queue_name": "q", "updates": [{"uid": uid, "new_status": "inprogress"}]}
    (result,) = server.call("POST", "/api/v1/jobs", body=body).json["results"]
    assert (result["status"], "only a claim gives one" in result["error"]) == (409, True)
    job = hold(server)
    assert change(server, uid, lease=job["lease"], new_status="inprogress").status == 200


def test_a_job_without_a_lease_can_be_updated_without_one(server: MemoryServer) -> None:
    uid = add(server)["uid"]
    update(server, uid, "inprogress")
    set_up(server, require_lease=True)
    assert change(server, uid, new_status="inprogress", progress=1).status == 200
    assert update(server, uid, "complete").status == 200


def test_releasing_a_job_restores_its_attempt(server: MemoryServer) -> None:
    uid = add(server, max_attempts=2)["uid"]
    for _ in range(3):
        job = hold(server, worker="w")
        assert job["attempts"] == 1
        released = change(server, uid, lease=job["lease"], new_status="queued").json
        assert (released["state"], released.get("attempts", 0)) == ("queued", 0)
    assert [(attempt["outcome"], attempt["times"]) for attempt in released["history"]] == [("released", 3)]
    server.restart()
    assert hold(server)["attempts"] == 1


def test_queueing_a_job_again_without_its_lease_does_not_restore_the_attempt(server: MemoryServer) -> None:
    uid = add(server)["uid"]
    hold(server)
    update(server, uid, "queued")
    assert read(server, uid).json["attempts"] == 1


@pytest.mark.parametrize("fields", [{"new_status": "inprogress"}, {"progress": 5}])
def test_a_heartbeat_says_whether_to_stop(server: MemoryServer, fields: Any) -> None:
    uid = add(server)["uid"]
    lease = hold(server)["lease"]
    assert change(server, uid, lease=lease, **fields).json["cancel_requested"] is False
    change(server, uid, cancel=True)
    assert change(server, uid, lease=lease, **fields).json["cancel_requested"] is True


def test_a_lease_survives_a_restart(server: MemoryServer) -> None:
    add(server)
    job = hold(server, worker="w")
    server.restart()
    assert {**read(server, job["uid"]).json, "lease": job["lease"], "queue_name": "q"} == job
    assert change(server, job["uid"], lease=job["lease"], new_status="complete").status == 200


def test_a_job_put_in_progress_by_hand_has_no_lease_to_show(server: MemoryServer) -> None:
    uid = put(server).json["uid"]
    update(server, uid, "inprogress")
    assert _lost(change(server, uid, lease="any", progress=1)) == ("inprogress", None)
    assert peek(server).status == 204
