"""Dead-letter queues and moves over HTTP: their forms, bad input, and what their readers see."""

import json
from typing import Any
from uuid import UUID

import pytest

from jobengine.wire.time_text import time_text
from tests.doubles import START, Answer, MemoryServer
from tests.web.asking import add, add_key, each, explain, hold, make_queue, metrics, page, set_up, stats, take
from tests.web.watching import Watcher


def _with_dead_letters(server: MemoryServer, **more: Any) -> Answer:
    make_queue(server, "dead")
    return set_up(server, dead_letter={"queue_name": "dead", **more})


def _fail(server: MemoryServer, **job: Any) -> str:
    """Add a job and let it fail; returns its uid."""
    add(server, **job)
    held = hold(server)
    body = {"queue_name": "q", "uid": held["uid"], "lease": held["lease"], "new_status": "failed", "error": "e"}
    assert server.call("POST", "/api/v1/job", body=body).status == 200
    uid: str = held["uid"]
    return uid


def _change(server: MemoryServer, queue: str = "dead", key: str = "key", **body: Any) -> Answer:
    return server.call("POST", "/api/v1/jobs", body={"queue_name": queue, **body}, key=key)


def _read(server: MemoryServer, uid: str, queue: str = "q") -> Any:
    return server.call("GET", "/api/v1/job", query={"queueName": queue, "jobUID": uid}).json


def test_a_dead_letter_queue_is_set_changed_and_removed(server: MemoryServer) -> None:
    answer = _with_dead_letters(server)
    assert (answer.status, answer.json["dead_letter"]) == (200, {"queue_name": "dead", "keep_minutes": 20160})
    shorter = set_up(server, dead_letter={"queue_name": "dead", "keep_minutes": 5}).json["dead_letter"]
    assert shorter == {"queue_name": "dead", "keep_minutes": 5}
    assert set_up(server, paused=True).json["dead_letter"] == shorter
    server.restart()
    assert set_up(server, dead_letter={"queue_name": "dead"}).json["dead_letter"] == shorter
    assert "dead_letter" not in set_up(server, dead_letter=None).json


@pytest.mark.parametrize(
    "value",
    [
        *each(1, "dead", [], {}, {"queue_name": ""}, {"queue_name": 1}),
        *[{"queue_name": "dead", "keep_minutes": value} for value in each(-1, "1", 1.5)],
        *each({"queue_name": "dead", "missing": True}, {"queue_name": "q"}),
    ],
)
def test_a_malformed_dead_letter_queue_is_refused(server: MemoryServer, value: Any) -> None:
    make_queue(server, "dead")
    assert set_up(server, dead_letter=value).status == 400
    assert "dead_letter" not in set_up(server).json


def test_a_circular_dead_letter_queue_gets_400_an_unknown_one_404_and_a_wrong_key_401(server: MemoryServer) -> None:
    _with_dead_letters(server)
    make_queue(server, "closed", key="another")
    circle = set_up(server, "dead", dead_letter={"queue_name": "q"})
    assert (circle.status, "round in a circle" in circle.json["detail"]) == (400, True)
    assert set_up(server, dead_letter={"queue_name": "none"}).status == 404
    closed = set_up(server, dead_letter={"queue_name": "closed"})
    assert (closed.status, "'closed' in dead_letter" in closed.json["detail"]) == (401, True)


def test_a_moved_job_shows_its_former_queue(server: MemoryServer) -> None:
    _with_dead_letters(server)
    uid = _fail(server)
    job = _read(server, uid, "dead")
    assert (job["state"], job["error"]) == ("failed", "e")
    assert job["moved_from"] == {"queue_name": "q", "at": START}
    came = f"It came from the queue 'q' at {time_text(START)}"
    assert explain(server, uid, "dead")["reason"] == (
        "It is failed; set its state to queued to run it again in this queue. "
        f"{came}; to run it there, move it back with move_to."
    )
    again = server.call("PUT", "/api/v1/job", body={"queue_name": "q", "job": job})
    assert again.status == 201
    assert "moved_from" not in again.json


def test_explain_does_not_advise_to_move_a_job_back_into_the_dead_letter_queue(server: MemoryServer) -> None:
    _with_dead_letters(server)
    uid = _fail(server)
    _change(server, all=True, move_to="q")
    set_up(server, "dead", draining=True)
    held = hold(server)
    body = {"queue_name": "q", "uid": uid, "lease": held["lease"], "new_status": "failed"}
    assert server.call("POST", "/api/v1/job", body=body).status == 200
    reason = explain(server, uid)["reason"]
    assert "It came from the queue 'dead'" in reason
    assert "move it back" not in reason


def test_a_failed_job_that_was_not_moved_shows_the_reason(server: MemoryServer) -> None:
    _with_dead_letters(server)
    set_up(server, "dead", max_jobs=1)
    _fail(server)
    watcher = Watcher(server)
    uid = _fail(server)
    assert _read(server, uid)["not_moved"] == "full"
    fields = [json.loads(event["data"]) for event in watcher.events]
    assert [(one["state"], one.get("not_moved")) for one in fields][-2:] == [("failed", None), ("failed", "full")]
    assert "not moved into the dead-letter queue: the queue 'dead' is full." in explain(server, uid)["reason"]


def test_stats_show_that_the_dead_letter_queue_was_deleted(server: MemoryServer) -> None:
    _with_dead_letters(server)
    server.call("DELETE", "/api/v1/queue", query={"name": "dead"})
    uid = _fail(server)
    assert stats(server)["dead_letter"] == {"queue_name": "dead", "keep_minutes": 20160, "missing": True}
    assert "there is no queue 'dead'" in explain(server, uid)["reason"]


def test_a_move_with_a_filter_moves_matching_jobs_back(server: MemoryServer) -> None:
    _with_dead_letters(server)
    uids = [_fail(server, tags=[tag]) for tag in ("a", "b", "a")]
    count = _change(server, filter={"tag": "a"}, move_to="q", dry_run=True)
    assert (count.status, count.json, page(server)["jobs"]) == (200, {"matched": 2, "moved": 2}, [])
    assert _change(server, filter={"tag": "a"}, move_to="q").json == {"matched": 2, "moved": 2}
    jobs = page(server)["jobs"]
    assert [job["uid"] for job in jobs] == [uids[0], uids[2]]
    assert {(job["state"], job["moved_from"]["queue_name"]) for job in jobs} == {("queued", "dead")}


def test_a_move_by_uid_moves_each_job_once_and_counts_unknown_uids(server: MemoryServer) -> None:
    _with_dead_letters(server)
    first, second, third = (_fail(server) for _ in range(3))
    wanted = [third, first, third, str(UUID(int=7000))]
    expected = {"matched": 2, "moved": 2, "not_moved": {"not_found": 1}}
    count = _change(server, uids=wanted, move_to="q", dry_run=True)
    assert (count.status, count.json, page(server)["jobs"]) == (200, expected, [])
    assert _change(server, uids=wanted, move_to="q", per_second=0.5).json == expected
    moved = [(job["uid"], job.get("not_before")) for job in page(server)["jobs"]]
    assert moved == [(third, None), (first, START + 2)]
    assert _read(server, second, "dead")["state"] == "failed"
    assert _change(server, uids=wanted, move_to="q").json == {"matched": 0, "moved": 0, "not_moved": {"not_found": 3}}


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({}, "uids can be sent instead"),
        ({"uids": []}, "uids must not be empty"),
        ({"uids": [str(UUID(int=at)) for at in range(1001)]}, "uids must have at most 1000 items"),
        *[({"uids": value}, "uids must be a list") for value in each(str(UUID(int=1)), 1, {})],
        *[({"uids": [str(UUID(int=1)), value]}, "uids[1] must be a") for value in each("", "u", 1, None, [])],
        *[({"uids": [str(UUID(int=1))], **more}, "in one way") for more in each({"all": True}, {"filter": {}})],
        ({"uids": [str(UUID(int=1))], "priority": 1}, "can't be combined with changes"),
        ({"uids": [str(UUID(int=1))], "move_to": None, "new_status": "queued"}, "send updates"),
        (
            {"uids": [str(UUID(int=1))], "move_to": None, "updates": [{"uid": "u", "priority": 1}]},
            "can't be combined with updates",
        ),
        ({"uid": str(UUID(int=1))}, 'send POST /api/v1/jobs with {"uids": [UID], "move_to": QUEUE}'),
    ],
)
def test_a_malformed_move_by_uid_is_refused_and_moves_nothing(server: MemoryServer, more: Any, says: str) -> None:
    make_queue(server, "other")
    uid = add(server, uid=str(UUID(int=1)))["uid"]
    answer = _change(server, "q", **{"move_to": "other", **more})
    assert (answer.status, says in answer.json["detail"]) == (400, True)
    assert [job["uid"] for job in page(server)["jobs"]] == [uid]


def test_a_filter_selects_the_jobs_that_came_from_a_queue(server: MemoryServer) -> None:
    _with_dead_letters(server)
    make_queue(server, "other")
    set_up(server, "other", dead_letter={"queue_name": "dead"})
    uid = _fail(server)
    server.call("PUT", "/api/v1/job", body={"queue_name": "other", "job": {"content": {}}})
    server.call("POST", "/api/v1/jobs", body={"queue_name": "other", "all": True, "new_status": "failed"})
    query = {"queueName": "dead", "moved_from": "q"}
    assert [job["uid"] for job in server.call("GET", "/api/v1/jobs", query=query).json["jobs"]] == [uid]
    assert _change(server, filter={"moved_from": "q"}, move_to="q").json == {"matched": 1, "moved": 1}
    assert len(server.call("GET", "/api/v1/jobs", query={"queueName": "dead"}).json["jobs"]) == 1


def test_a_move_counts_the_jobs_that_stay_by_reason(server: MemoryServer) -> None:
    make_queue(server, "dead")
    add(server)
    hold(server)
    answer = _change(server, "q", all=True, move_to="dead")
    assert answer.json == {"matched": 1, "moved": 0, "not_moved": {"inprogress": 1}}


def test_jobs_are_retried_and_moved_at_a_pace(server: MemoryServer) -> None:
    _with_dead_letters(server)
    for _ in range(3):
        _fail(server)
    retried = _change(server, filter={"state": "failed"}, new_status="queued", per_second=0.5)
    assert (retried.status, retried.json) == (200, {"matched": 3})
    moved = _change(server, all=True, move_to="q", per_second=0.25)
    assert moved.json == {"matched": 3, "moved": 3}
    assert [job.get("not_before") for job in page(server)["jobs"]] == [None, START + 4, START + 8]


@pytest.mark.parametrize(
    "body",
    [
        {"move_to": "q"},
        {"move_to": "dead", "all": True},
        *[{"all": True, "move_to": value} for value in each("", 1, [])],
        *[{"all": True, "move_to": "q", "per_second": value} for value in each(0, -1, "1", 1e7, True)],
        {"all": True, "move_to": "q", "new_status": "queued"},
        {"all": True, "move_to": "q", "priority": 1},
        {"all": True, "new_status": "failed", "per_second": 1},
        {"all": True, "priority": 1, "per_second": 1},
        {"all": True, "new_status": "queued", "delay_seconds": 1, "per_second": 1},
        {"updates": [{"uid": "u", "new_status": "queued"}], "per_second": 1},
        {"updates": [{"uid": "u", "new_status": "queued"}], "move_to": "q"},
    ],
)
def test_a_malformed_move_is_refused(server: MemoryServer, body: Any) -> None:
    make_queue(server, "dead")
    assert _change(server, **body).status == 400


def test_a_move_needs_two_existing_queues_and_a_key_that_owns_both(server: MemoryServer) -> None:
    make_queue(server, "dead", key="another")
    add_key(server, "worker", "worker")
    for chosen in ({"all": True}, {"uids": [add(server)["uid"]]}):
        assert _change(server, "q", **chosen, move_to="none").status == 404
        assert _change(server, "q", **chosen, move_to="dead").status == 401
        assert _change(server, "q", key="worker", **chosen, move_to="dead").status == 403


def test_metrics_count_moves_and_show_a_missing_dead_letter_queue(server: MemoryServer) -> None:
    assert "jobengine_dead_letter_missing{" not in metrics(server)
    _with_dead_letters(server)
    _fail(server)
    _fail(server)
    found = metrics(server)
    assert 'jobengine_jobs_dead_lettered_total{queue="q"} 2' in found
    assert 'jobengine_dead_letter_missing{queue="q"} 0' in found
    server.call("DELETE", "/api/v1/queue", query={"name": "dead"})
    _fail(server)
    found = metrics(server)
    assert 'jobengine_jobs_dead_lettered_total{queue="q"} 2' in found
    assert 'jobengine_dead_letter_missing{queue="q"} 1' in found


# Reports whose answer was lost


def _report(server: MemoryServer, form: str, update: dict[str, Any]) -> Answer:
    """A report of a failure: alone, in bulk, or before a claim."""
    if form == "one":
        return server.call("POST", "/api/v1/job", body={"queue_name": "q", **update})
    if form == "many":
        return server.call("POST", "/api/v1/jobs", body={"queue_name": "q", "updates": [update]})
    return take(server, updates=[{"queue_name": "q", **update}])


def _outcome(answer: Answer) -> tuple[int, Any]:
    """The status of the report, and the job."""
    (result,) = answer.json.get("results", [{"status": answer.status, "job": answer.json}])
    return result["status"], result.get("job")


@pytest.mark.parametrize("form", ["one", "many", "claim"])
def test_a_worker_may_repeat_the_failure_report_that_moved_its_job(server: MemoryServer, form: str) -> None:
    _with_dead_letters(server)
    add(server)
    held = hold(server)
    update = {"uid": held["uid"], "lease": held["lease"], "new_status": "failed", "error": "e"}
    assert _outcome(_report(server, form, update))[0] == 200
    for _ in range(2):
        status, job = _outcome(_report(server, form, update))
        assert (status, job["state"], job["error"], job["moved_from"]["queue_name"]) == (200, "failed", "e", "q")
        server.restart()
    other = str(UUID(int=7))
    for wrong in ({"lease": other}, {"lease": None}, {"new_status": "complete"}, {"uid": other}):
        assert _outcome(_report(server, form, {**update, **wrong}))[0] == 404


def test_a_failure_report_repeated_in_an_unrelated_queue_does_not_find_the_moved_job(server: MemoryServer) -> None:
    _with_dead_letters(server)
    make_queue(server, "other")
    set_up(server, "other", dead_letter={"queue_name": "dead"})
    add(server)
    held = hold(server)
    update = {"uid": held["uid"], "lease": held["lease"], "new_status": "failed"}
    assert _outcome(_report(server, "one", update))[0] == 200
    assert server.call("POST", "/api/v1/job", body={"queue_name": "other", **update}).status == 404
