"""Leases: who sees them, what they allow, and what happens after one was lost."""

import json
from typing import Any

import pytest
from twisted.logger import LogEvent, eventAsText

from jobengine.daemon.logs import json_lines
from tests.doubles import Answer, MemoryServer
from tests.http.connection import Connection, request
from tests.web.asking import add, change, hold, listed, page, read, set_up, take, update


def _lost(answer: Answer) -> tuple[Any, ...]:
    """The members of a 409 about the holder of the job."""
    assert answer.status == 409
    return answer.json["state"], answer.json["worker"]


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


def test_an_update_with_a_lost_lease_returns_the_state_and_holder_of_the_job(server: MemoryServer) -> None:
    uid = add(server, max_attempts=3, timeout_seconds=30)["uid"]
    lease = hold(server, worker="slow")["lease"]
    server.clock.advance(30)
    assert _lost(change(server, uid, lease=lease, new_status="complete")) == ("queued", None)
    hold(server, worker="quick")
    assert _lost(change(server, uid, lease=lease, progress=1)) == ("inprogress", "quick")


@pytest.mark.parametrize("lease", ["", 1, [], True])
def test_a_lease_that_is_no_text_is_refused(server: MemoryServer, lease: Any) -> None:
    uid = add(server)["uid"]
    hold(server)
    assert change(server, uid, lease=lease, progress=1).status == 400


def test_a_job_without_a_timeout_has_no_lease_end(server: MemoryServer) -> None:
    add(server, timeout_seconds=0)
    job = hold(server)
    assert job["lease"]
    assert "lease_expires" not in job


def test_finishing_may_be_repeated_with_the_same_lease(server: MemoryServer) -> None:
    uid = add(server)["uid"]
    lease = hold(server)["lease"]
    first = change(server, uid, lease=lease, new_status="complete", result=1)
    server.restart()
    again = change(server, uid, lease=lease, new_status="complete", result=1)
    assert (first.status, again.status, again.json) == (200, 200, first.json)


def test_a_queue_may_require_the_lease(server: MemoryServer) -> None:
    uid = add(server)["uid"]
    set_up(server, require_lease=True)
    unclaimed = update(server, uid, "inprogress")
    assert (_lost(unclaimed), "only a claim gives one" in unclaimed.json["detail"]) == (("queued", None), True)
    hold(server, worker="w")
    answer = change(server, uid, new_status="complete")
    assert (_lost(answer), "lease" in answer.json["detail"]) == (("inprogress", "w"), True)


@pytest.mark.parametrize("fields", [{"new_status": "inprogress"}, {"progress": 5}])
def test_a_heartbeat_extends_the_lease_and_returns_whether_to_stop(server: MemoryServer, fields: Any) -> None:
    uid = add(server, timeout_seconds=10)["uid"]
    lease = hold(server)["lease"]
    server.clock.advance(9)
    job = change(server, uid, lease=lease, **fields).json
    assert (job["cancel_requested"], job["lease_expires"]) == (False, int(server.clock.seconds()) + 10)
    change(server, uid, cancel=True)
    assert change(server, uid, lease=lease, **fields).json["cancel_requested"] is True
