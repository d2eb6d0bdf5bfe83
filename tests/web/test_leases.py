"""Leases: who sees them, what they allow, and what happens after a lease was lost."""

import json
from typing import Any

from twisted.logger import LogEvent, eventAsText

from jobengine.daemon.logs import json_lines
from tests.doubles import Answer, MemoryServer
from tests.http.connection import Connection, request
from tests.web.asking import add, change, hold, listed, page, put, read, set_up, take


def _lost(answer: Answer) -> tuple[Any, ...]:
    """The members about the job's holder in the problem of a 409."""
    assert answer.status == 409
    return answer.json["state"], answer.json["worker"]


def test_a_lease_is_shown_only_in_the_answer_to_its_claim(server: MemoryServer, events: list[LogEvent]) -> None:
    stream = Connection(server).send(request("GET", "/api/v1/events?queueName=q", "X-Access-Key: key"))
    uid = add(server, max_attempts=3, unique_key="k")["uid"]
    lease = hold(server, worker="w")["lease"]
    answers = [
        put(server, unique_key="k"),
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


def test_a_required_lease_protects_jobs_in_progress_and_not_queued_or_finished_ones(server: MemoryServer) -> None:
    set_up(server, require_lease=True)
    uid = add(server)["uid"]
    assert change(server, uid, new_status="inprogress").status == 409
    assert change(server, uid, priority=1).status == 200
    lease = hold(server)["lease"]
    assert change(server, uid, new_status="complete").status == 409
    assert change(server, uid, lease=lease, new_status="complete").status == 200
    assert change(server, uid, new_status="failed").status == 200
    assert read(server, uid).json["state"] == "failed"
