"""Claiming: several queues, many jobs, tags and names of workers."""

from typing import Any

import pytest

from tests.doubles import MemoryServer
from tests.web.asking import add, add_key, claim, hold, make_queue, peek, read, take


def test_a_claim_without_a_count_gets_one_job_with_its_queue_and_lease(server: MemoryServer) -> None:
    uid = add(server)["uid"]
    add(server)
    server.clock.advance(3)
    (job,) = take(server, worker="w1").json["jobs"]
    now = int(server.clock.seconds())
    assert job.pop("lease")
    assert job == {
        "queue_name": "q",
        **read(server, uid).json,
        "state": "inprogress",
        "last_updated": now,
        "attempts": 1,
        "worker": "w1",
        "lease_expires": now + 600,
        "started": now,
        "cancel_requested": False,
    }


def test_a_claim_that_names_a_queue_twice_claims_from_it_once(server: MemoryServer) -> None:
    add(server)
    assert len(take(server, "q", "q", count=5).json["jobs"]) == 1


def test_the_error_of_a_claim_names_the_queue_that_refused_it(server: MemoryServer) -> None:
    make_queue(server, "other")
    add_key(server, "producer", "p", "other")
    make_queue(server, "third", "another key")
    for names, key, status, start in (
        (("q", "none"), "key", 404, "There is no queue named 'none'; "),
        (("q", "third"), "key", 401, "The access key does not open the queue 'third'; "),
        (("other", "q"), "p", 403, "A key with the role producer may not do this in the queue 'other'; "),
    ):
        answer = take(server, *names, key=key)
        assert (answer.status, answer.json["detail"].startswith(start)) == (status, True)


def test_only_jobs_with_all_of_the_tags_are_claimed(server: MemoryServer) -> None:
    add(server)
    both = add(server, tags=["b", "a", "b"])
    assert both["tags"] == ["b", "a"]
    assert take(server, tags=["a", "none"]).status == 204
    assert hold(server, tags=["a", "b"])["uid"] == both["uid"]
    assert "tags" not in hold(server, tags=[])


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"queue_names": None},
        {"queue_names": []},
        {"queue_names": "q"},
        {"queue_names": [""]},
        {"queue_names": [1]},
        {"queue_names": ["q"] * 101},
        *[{"queue_names": ["q"], "count": count} for count in (0, -1, 1001, "1", 1.5, True)],
        *[{"queue_names": ["q"], "wait": wait} for wait in (-1, 60.1, 61, "1", True)],
        *[{"queue_names": ["q"], "worker": worker} for worker in ("", 1, "w" * 257)],
        *[{"queue_names": ["q"], "tags": tags} for tags in ("a", [1], [""], ["t"] * 21, ["t" * 257])],
    ],
)
def test_a_claim_with_a_malformed_field_gets_400_whatever_the_key(server: MemoryServer, body: Any) -> None:
    add(server)
    for key in ("key", "wrong"):
        assert server.call("POST", "/api/v1/job/next", body=body, key=key).status == 400
    assert peek(server).json["state"] == "queued"


def test_a_null_field_of_a_claim_counts_as_absent(server: MemoryServer) -> None:
    add(server)
    add(server)
    assert "worker" not in hold(server, count=None, wait=None, worker=None, tags=None)


def test_a_claim_by_get_returns_a_lease_and_no_queue_name(server: MemoryServer) -> None:
    add(server)
    job = claim(server).json
    assert job["lease"]
    assert "queue_name" not in job


@pytest.mark.parametrize("wait", ["-1", "60.001", "61", "x", "", "1e2", "nan", "+1", " 1"])
def test_an_invalid_wait_is_refused(server: MemoryServer, wait: str) -> None:
    uid = add(server)["uid"]
    for path, query in (("/api/v1/job", {"jobUID": uid}), ("/api/v1/job/next", {"markQueued": "true"})):
        assert server.call("GET", path, query={"queueName": "q", "wait": wait, **query}).status == 400
    assert peek(server).status == 200


@pytest.mark.parametrize("wait", ["0", "-0.0", "5e-324", "0.30000000000000004", "1E1", "60"])
def test_a_wait_is_accepted_in_any_number_format(server: MemoryServer, wait: str) -> None:
    add(server)
    assert server.call("GET", "/api/v1/job/next", query={"queueName": "q", "wait": wait}).status == 200
