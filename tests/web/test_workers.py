"""The workers that hold jobs of a queue, and the claims that wait for its jobs."""

from typing import Any

import pytest

from jobengine.engine import claimers
from tests.doubles import MemoryServer
from tests.http.connection import Connection, request
from tests.web.asking import add, claim, explain, hold, make_queue, read, stats, update, waiting


def _workers(server: MemoryServer, queue: str = "q") -> Any:
    answer = server.call("GET", "/api/v1/workers", query={"queueName": queue})
    assert answer.status == 200, answer
    return answer.json


def _take(server: MemoryServer, worker: str, count: int) -> None:
    body = {"queue_names": ["q"], "worker": worker, "count": count}
    assert len(server.call("POST", "/api/v1/job/next", body=body).json["jobs"]) == count


def test_the_workers_call_shows_job_count_oldest_claim_and_last_update_of_each_worker(server: MemoryServer) -> None:
    for _ in range(5):
        add(server)
    began = int(server.clock.seconds())
    held = hold(server, worker="a")
    server.clock.advance(5)
    _take(server, "b", 2)
    server.clock.advance(5)
    server.call("POST", "/api/v1/job", body={"queue_name": "q", "uid": held["uid"], "progress": 1})
    claim(server)
    assert _workers(server) == {
        "workers": [
            {"worker": "b", "jobs": 2, "oldest_claimed": began + 5, "last_updated": began + 5},
            {"worker": "a", "jobs": 1, "oldest_claimed": began, "last_updated": began + 10},
            {"worker": None, "jobs": 1, "oldest_claimed": began + 10, "last_updated": began + 10},
        ],
        "total": 3,
    }


def test_the_workers_call_counts_only_jobs_in_progress_in_the_queue(server: MemoryServer) -> None:
    make_queue(server, "other")
    for _ in range(3):
        add(server)
    update(server, hold(server, worker="a")["uid"], "complete")
    hold(server, worker="b")
    assert [one["worker"] for one in _workers(server)["workers"]] == ["b"]
    assert _workers(server, "other") == {"workers": [], "total": 0}


def test_a_job_set_to_inprogress_counts_as_claimed_at_that_time(server: MemoryServer) -> None:
    uid = add(server)["uid"]
    server.clock.advance(3)
    update(server, uid, "inprogress")
    (holder,) = _workers(server)["workers"]
    assert holder["oldest_claimed"] == read(server, uid).json["last_updated"]


def test_the_workers_call_counts_all_jobs_of_a_worker_with_more_jobs_than_a_page(server: MemoryServer) -> None:
    for _ in range(2):
        body = {"queue_name": "q", "jobs": [{"content": {}}] * 600}
        assert server.call("PUT", "/api/v1/jobs", body=body).status == 201
        _take(server, "w", 600)
    assert [(one["worker"], one["jobs"]) for one in _workers(server)["workers"]] == [("w", 1_200)]


def test_the_thousand_workers_with_the_most_jobs_are_listed_and_all_workers_are_counted(server: MemoryServer) -> None:
    for _ in range(2):
        body = {"queue_name": "q", "jobs": [{"content": {}}] * 501}
        assert server.call("PUT", "/api/v1/jobs", body=body).status == 201
    for number in range(1_001):
        hold(server, worker=f"w{number:04}")
    _take(server, "w1000", 1)
    shown = _workers(server)
    assert (len(shown["workers"]), shown["total"]) == (1_000, 1_001)
    assert shown["workers"][0]["worker"] == "w1000"
    assert "w0999" not in {one["worker"] for one in shown["workers"]}


def test_a_waiting_claim_is_listed_with_its_origin(server: MemoryServer) -> None:
    make_queue(server, "other")
    began = int(server.clock.seconds())
    waiting(server, queue_names=["other", "q"], worker="w", host="node-7", pid="4711", client="curl/8")
    claim(server)
    shown = {
        "worker": "w",
        "waiting": True,
        "since": began,
        "queues": ["other", "q"],
        "last_claim": began,
        "host": "node-7",
        "pid": "4711",
        "client": "curl/8",
    }
    for queue in ("q", "other"):
        assert _workers(server, queue) == {"workers": [shown], "total": 0}
    found = stats(server)
    assert (found["workers_waiting"], found["last_claim"]) == (1, began)


def test_the_tags_of_a_waiting_claim_are_listed_and_named_in_the_reason_of_a_job_without_them(
    server: MemoryServer,
) -> None:
    uid = add(server, tags=["gpu"])["uid"]
    reasons = []
    for tags in ["cpu"], ["cpu"], ["fast", "red"]:
        waiting(server, tags=tags)
        reasons.append(explain(server, uid)["reason"])
    can = "It can be claimed. It is the next. "
    assert reasons == [
        f"{can}1 worker waits, but only for jobs with the tag 'cpu'.",
        f"{can}2 workers wait, but only for jobs with the tag 'cpu'.",
        f"{can}3 workers wait, but only for jobs with the tag 'cpu' or the tags 'fast' and 'red'.",
    ]
    assert [one["tags"] for one in _workers(server)["workers"]] == [["cpu"], ["cpu"], ["fast", "red"]]


def test_a_waiting_claim_by_get_is_listed_with_its_origin(server: MemoryServer) -> None:
    query = "queueName=q&markQueued=true&wait=30&worker=w&host=node-7&client=curl"
    Connection(server).send(request("GET", f"/api/v1/job/next?{query}", "X-Access-Key: key"))
    (shown,) = _workers(server)["workers"]
    assert (shown["worker"], shown["host"], shown["client"], "pid" in shown) == ("w", "node-7", "curl", False)


def test_a_worker_that_holds_jobs_is_listed_with_the_origin_of_its_last_claim(server: MemoryServer) -> None:
    for host in ("a", "b"):
        add(server)
        hold(server, worker="w", host=host)
    add(server)
    hold(server, worker="x")
    assert [(one["worker"], one.get("host")) for one in _workers(server)["workers"]] == [("w", "b"), ("x", None)]


def test_at_most_1000_waiting_claims_are_listed_longest_wait_first(
    server: MemoryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claimers, "_LISTED", 2)
    for name in "abc":
        waiting(server, worker=name)
        server.clock.advance(1)
    assert [one["worker"] for one in _workers(server)["workers"]] == ["a", "b"]


@pytest.mark.parametrize("name", ["host", "pid", "client"])
def test_each_origin_field_of_a_claim_has_1_to_100_characters(server: MemoryServer, name: str) -> None:
    add(server)
    for bad in ("", "x" * 101, 7):
        body = {"queue_names": ["q"], name: bad}
        refused = server.call("POST", "/api/v1/job/next", body=body)
        assert (refused.status, name in refused.json["detail"]) == (400, True), refused
    for claims in ("true", "false"):
        refused = server.call(
            "GET", "/api/v1/job/next", query={"queueName": "q", "markQueued": claims, name: "x" * 101}
        )
        assert (refused.status, name in refused.json["detail"]) == (400, True), refused
    assert server.call("POST", "/api/v1/job/next", body={"queue_names": ["q"], name: "é" * 100}).status == 200
