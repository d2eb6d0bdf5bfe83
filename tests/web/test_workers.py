"""The workers that hold jobs of a queue."""

from typing import Any

from tests.doubles import MemoryServer
from tests.web.asking import add, claim, hold, make_queue, read, update


def _workers(server: MemoryServer, queue: str = "q") -> Any:
    answer = server.call("GET", "/api/v1/workers", query={"queueName": queue})
    assert answer.status == 200, answer
    return answer.json


def _take(server: MemoryServer, worker: str, count: int) -> None:
    body = {"queue_names": ["q"], "worker": worker, "count": count}
    assert len(server.call("POST", "/api/v1/job/next", body=body).json["jobs"]) == count


def test_each_worker_has_its_jobs_its_oldest_claim_and_its_last_sign_of_life(server: MemoryServer) -> None:
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


def test_only_jobs_in_progress_and_those_of_the_queue_are_counted(server: MemoryServer) -> None:
    make_queue(server, "other")
    for _ in range(3):
        add(server)
    update(server, hold(server, worker="a")["uid"], "complete")
    hold(server, worker="b")
    assert [one["worker"] for one in _workers(server)["workers"]] == ["b"]
    assert _workers(server, "other") == {"workers": [], "total": 0}


def test_a_job_that_was_put_in_progress_is_held_since_then(server: MemoryServer) -> None:
    uid = add(server)["uid"]
    server.clock.advance(3)
    update(server, uid, "inprogress")
    (holder,) = _workers(server)["workers"]
    assert holder["oldest_claimed"] == read(server, uid).json["last_updated"]


def test_jobs_of_many_pages_are_counted(server: MemoryServer) -> None:
    for _ in range(2):
        body = {"queue_name": "q", "jobs": [{"content": {}}] * 600}
        assert server.call("PUT", "/api/v1/jobs", body=body).status == 201
        _take(server, "w", 600)
    assert [(one["worker"], one["jobs"]) for one in _workers(server)["workers"]] == [("w", 1_200)]


def test_the_thousand_that_hold_most_are_named_and_all_are_counted(server: MemoryServer) -> None:
    for number in range(1_001):
        add(server)
        hold(server, worker=f"w{number:04}")
    add(server)
    _take(server, "w1000", 1)
    shown = _workers(server)
    assert (len(shown["workers"]), shown["total"]) == (1_000, 1_001)
    assert shown["workers"][0]["worker"] == "w1000"
    assert "w0999" not in {one["worker"] for one in shown["workers"]}
