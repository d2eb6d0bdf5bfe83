"""GET /api/v1/failures, and fingerprints in jobs, filters, updates and explanations."""

from typing import Any

import pytest

from jobengine.core.fingerprints import fingerprint
from jobengine.wire.time_text import time_text
from tests.doubles import Answer, MemoryServer
from tests.web.asking import add, change, explain, hold, read

REFUSED = "ConnectionRefusedError: [Errno 111] no answer from 10.0.0.7:25"


def _failures(server: MemoryServer, **query: Any) -> Answer:
    return server.call("GET", "/api/v1/failures", query={"queueName": "q", **query})


def _fail(server: MemoryServer, error: str | None = REFUSED, **changes: Any) -> Any:
    """A job that has failed with this error."""
    add(server)
    job = hold(server)
    sent = {} if error is None else {"error": error}
    return change(server, job["uid"], new_status="failed", lease=job["lease"], **sent, **changes).json


def _fingerprints(job: Any) -> list[str | None]:
    """The fingerprints of a job and of its attempts."""
    return [one.get("fingerprint") for one in (job, *job["history"])]


def test_a_failed_job_and_each_of_its_failed_attempts_show_a_fingerprint(server: MemoryServer) -> None:
    job = read(server, _fail(server)["uid"]).json
    assert _fingerprints(job) == [fingerprint(REFUSED), fingerprint(REFUSED)]


def test_the_answer_to_a_report_has_only_a_fingerprint_that_the_worker_sent(server: MemoryServer) -> None:
    assert _fingerprints(_fail(server)) == [None, None]
    assert _fingerprints(_fail(server, fingerprint="smtp:refused")) == ["smtp:refused"] * 2
    add(server)
    reports = [{"uid": hold(server)["uid"], "new_status": "failed", "error": REFUSED}]
    answer = server.call("POST", "/api/v1/jobs", body={"queue_name": "q", "updates": reports}).json
    assert _fingerprints(answer["results"][0]["job"]) == [None, None]


def test_failures_are_listed_by_fingerprint_with_the_largest_group_first(server: MemoryServer) -> None:
    jobs = [_fail(server), _fail(server)]
    other = _fail(server, "KeyError: 'name'")
    answer = _failures(server).json
    first, second = answer["failures"]
    assert first == {
        "fingerprint": fingerprint(REFUSED),
        "error": REFUSED,
        "count": 2,
        "first": jobs[0]["last_updated"],
        "last": jobs[1]["last_updated"],
        "uids": sorted((job["uid"] for job in jobs), reverse=True),
        "minutes": [*[0] * 59, 2],
    }
    assert (second["error"], second["uids"]) == ("KeyError: 'name'", [other["uid"]])
    assert (answer["next_cursor"], answer["dropped"]) == (None, 0)


def test_a_page_of_failure_groups_links_to_the_next_page(server: MemoryServer) -> None:
    for number in range(3):
        _fail(server, fingerprint=f"kind-{number}")
    page = _failures(server, limit=2)
    assert page.headers["Link"].startswith("</api/v1/failures?")
    rest = _failures(server, limit=2, cursor=page.json["next_cursor"])
    found = [group["fingerprint"] for group in [*page.json["failures"], *rest.json["failures"]]]
    assert (sorted(found), rest.json["next_cursor"]) == (["kind-0", "kind-1", "kind-2"], None)


@pytest.mark.parametrize("cursor", ["x", "W10", "WyJhIiwxXQ"])
def test_a_list_of_failures_refuses_the_cursor_of_another_list(server: MemoryServer, cursor: str) -> None:
    answer = _failures(server, cursor=cursor)
    assert (answer.status, "cursor" in answer.json["detail"]) == (400, True)


@pytest.mark.parametrize("limit", ["0", "101", "x"])
def test_a_list_of_failures_refuses_a_limit_out_of_bounds(server: MemoryServer, limit: str) -> None:
    assert _failures(server, limit=limit).status == 400


@pytest.mark.parametrize("own", ["a", "SmtpError:mail.send", "A-z_0:9.".replace("_", "-"), "x" * 64])
def test_a_worker_may_choose_the_fingerprint(server: MemoryServer, own: str) -> None:
    assert _fail(server, fingerprint=own)["fingerprint"] == own
    assert _failures(server).json["failures"][0]["fingerprint"] == own


@pytest.mark.parametrize("own", ["", "two words", "a/b", "ü", "x" * 65, "a\n", 7])
def test_a_fingerprint_with_other_characters_is_refused(server: MemoryServer, own: Any) -> None:
    add(server)
    answer = change(server, hold(server)["uid"], new_status="failed", fingerprint=own)
    assert (answer.status, "fingerprint" in answer.json["detail"]) == (400, True)


def test_the_error_for_a_malformed_fingerprint_names_the_update(server: MemoryServer) -> None:
    updates = [{"uid": add(server)["uid"], "new_status": "failed", "fingerprint": own} for own in ("a", "b c")]
    answer = server.call("POST", "/api/v1/jobs", body={"queue_name": "q", "updates": updates})
    assert (answer.status, "updates[1].fingerprint" in answer.json["detail"]) == (400, True)


def test_a_filter_selects_the_jobs_of_a_fingerprint(server: MemoryServer) -> None:
    job, other = _fail(server), _fail(server, "KeyError: 'name'")
    query = {"queueName": "q", "fingerprint": fingerprint(REFUSED)}
    (found,) = server.call("GET", "/api/v1/jobs", query=query).json["jobs"]
    assert found["uid"] == job["uid"]
    body = {"queue_name": "q", "filter": {"fingerprint": fingerprint(REFUSED)}, "new_status": "queued"}
    assert server.call("POST", "/api/v1/jobs", body=body).json == {"matched": 1}
    assert [read(server, one["uid"]).json["state"] for one in (job, other)] == ["queued", "failed"]


def test_explain_of_a_failed_job_counts_jobs_that_failed_with_the_same_fingerprint(server: MemoryServer) -> None:
    first, second = _fail(server), _fail(server)
    explained = explain(server, second["uid"])
    since = first["last_updated"]
    assert explained["reason"].startswith(f"It failed like 1 other since {time_text(since)}. It is failed")
    assert (explained["failed_alike"], explained["failed_alike_since"]) == (2, since)
    assert "failed_alike_at_least" not in explained
    assert explained["fingerprint"] == fingerprint(REFUSED)


def test_an_explanation_has_no_count_if_no_other_job_has_the_same_fingerprint(server: MemoryServer) -> None:
    assert explain(server, _fail(server)["uid"])["reason"] == "It is failed; set its state to queued to run it again."
