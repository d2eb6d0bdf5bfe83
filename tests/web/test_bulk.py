"""Many jobs in one call: all or nothing when they are added, item by item when they are changed."""

import json
from typing import Any

import pytest

from jobengine.http.limits import Limits
from tests.doubles import Answer, MemoryServer
from tests.http.connection import Connection, request
from tests.schema import check_answer
from tests.web.asking import add, listed, page, read, set_up, take, update

UID = "0b8c9e1c-4c1e-4a35-9d5c-5a6f0f0f8a11"


def _add_many(server: MemoryServer, *jobs: Any, key: str = "key", **headers: Any) -> Answer:
    jobs_in = [{"content": {}, **job} if isinstance(job, dict) else job for job in jobs]
    return server.call("PUT", "/api/v1/jobs", body={"queue_name": "q", "jobs": jobs_in}, key=key, headers=headers)


def _add_once(server: MemoryServer, once: Any, *jobs: Any, **headers: str) -> Answer:
    return _add_many(server, *jobs, **{"Idempotency-Key": once}, **headers)


def _update_many(server: MemoryServer, *updates: Any) -> Answer:
    return server.call("POST", "/api/v1/jobs", body={"queue_name": "q", "updates": updates})


def _sweep(server: MemoryServer, wanted: Any, **changes: Any) -> Answer:
    """A change of the jobs that match a filter, or of all without one."""
    which = {"filter": wanted} if wanted else {"all": True}
    return server.call("POST", "/api/v1/jobs", body={"queue_name": "q", **which, **changes})


def _remove(server: MemoryServer, **query: str) -> Answer:
    which = {} if query.keys() - {"dry_run"} else {"all": "true"}
    return server.call("DELETE", "/api/v1/jobs", query={"queueName": "q", **which, **query})


# Adding


@pytest.mark.only_on_a_file("there are batches, and reads are in them")
def test_jobs_are_added_in_the_order_in_which_they_were_sent_and_in_one_commit(server: MemoryServer) -> None:
    before = server.engine.executor.totals["commits"]
    answer = _add_many(server, {"priority": 1}, {"content": {"b": 2}}, {"priority": 2})
    assert answer.status == 201
    jobs = answer.json["jobs"]
    assert [job["priority"] for job in jobs] == [1, 0, 2]
    assert server.engine.executor.totals["commits"] == before + 1
    assert listed(server)["jobs"] == [jobs[2], jobs[0], jobs[1]]


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        ({"content": []}, "jobs[2].content"),
        ({"content": None}, "jobs[2].content"),
        ({"priority": "1"}, "jobs[2]"),
        ({"timeout_minutes": 1, "timeout_seconds": 61}, "jobs[2]"),
        ("no job", "jobs[2]"),
    ],
)
def test_a_malformed_job_is_named_by_the_400_and_no_job_is_added(server: MemoryServer, bad: Any, named: str) -> None:
    answer = _add_many(server, {}, {}, bad, {})
    assert (answer.status, named in answer.json["detail"], answer.json["index"]) == (400, True, 2)
    assert listed(server)["size"] == 0


def test_a_bulk_add_refused_by_its_queue_has_the_index_of_the_first_refused_job(server: MemoryServer) -> None:
    set_up(server, max_jobs=2)
    answer = _add_many(server, {}, {}, {})
    assert (answer.status, answer.json["index"], answer.headers["Retry-After"]) == (429, 2, "5")
    assert listed(server)["size"] == 0
    assert _add_many(server, {}, {}).status == 201
    set_up(server, draining=True, max_jobs=0)
    answer = _add_many(server, {})
    assert (answer.status, answer.json["index"]) == (409, 0)


def test_a_bulk_add_repeated_with_its_idempotency_key_gets_the_current_jobs(server: MemoryServer) -> None:
    jobs = {"content": {"a": 1}}, {"uid": UID}, {"content": {"a": 1}}
    first = _add_once(server, "order-1 \u00fc", *jobs)
    uids = [job["uid"] for job in first.json["jobs"]]
    assert (first.status, uids[1], len({*uids})) == (201, UID, 3)
    update(server, uids[0], "complete")
    server.restart()
    again = _add_once(server, "order-1 \u00fc", *jobs)
    assert [job["uid"] for job in again.json["jobs"]] == uids
    assert again.json["jobs"][0]["state"] == "complete"
    brief = _add_once(server, "order-1 \u00fc", *jobs, {}, Prefer="return=minimal")
    assert [one["status"] for one in brief.json["jobs"]] == [200, 200, 200, 201]
    assert listed(server)["size"] == 4


def test_a_bulk_add_with_the_idempotency_key_of_other_jobs_is_refused(server: MemoryServer) -> None:
    _add_once(server, "k", {"priority": 1}, {"priority": 2})
    answer = _add_once(server, "k", {"priority": 1}, {"priority": 3})
    assert (answer.status, answer.json["index"]) == (409, 1)
    assert listed(server)["size"] == 2


def test_the_idempotency_key_of_a_bulk_add_names_no_job_of_another_request(server: MemoryServer) -> None:
    for key in ("k", "k0", "k/0", "k\\n0"):
        headers = {"Idempotency-Key": key}
        body = {"queue_name": "q", "job": {"content": {}}}
        assert server.call("PUT", "/api/v1/job", body=body, headers=headers).status == 201
        brief = _add_once(server, key, {}, Prefer="return=minimal")
        assert [one["status"] for one in brief.json["jobs"]] == [201]


@pytest.mark.parametrize("keys", [[""], ["k" * 257], ["a", "a"]])
def test_a_bulk_add_with_a_bad_idempotency_key_is_refused(server: MemoryServer, keys: list[str]) -> None:
    assert _add_once(server, keys, {}).status == 400
    assert listed(server)["size"] == 0


@pytest.mark.parametrize("jobs", [None, [], {}, "x"])
def test_a_list_of_jobs_must_not_be_empty(server: MemoryServer, jobs: Any) -> None:
    body = {"queue_name": "q", "jobs": jobs}
    assert server.call("PUT", "/api/v1/jobs", body=body, key="wrong").status == 400


@pytest.mark.slow
def test_a_call_adds_or_updates_at_most_10000_jobs(server: MemoryServer) -> None:
    assert _add_many(server, *[{}] * 10_001).status == 400
    answer = _add_many(server, *[{}] * 10_000)
    assert (answer.status, len(answer.json["jobs"])) == (201, 10_000)
    assert listed(server)["size"] == 10_000
    uids = [job["uid"] for job in answer.json["jobs"]]
    assert _update_many(server, *[{"uid": uid, "progress": 1} for uid in [*uids, UID]]).status == 400
    changed = _update_many(server, *[{"uid": uid, "progress": 1} for uid in uids])
    assert {(result["status"], result["job"]["progress"]) for result in changed.json["results"]} == {(200, 1)}


def test_a_bulk_add_that_names_its_queue_in_the_query_may_have_a_longer_body(start: Any) -> None:
    server = start(limits=Limits(body_bytes=1000, bulk_body_bytes=3000))
    job = {"content": {"x": "y" * 1500}}
    for query, path, body, status in (
        ("", "/api/v1/job", {"queue_name": "q", "job": job}, 413),
        ("", "/api/v1/jobs", {"queue_name": "q", "jobs": [job]}, 413),
        ("?queueName=q", "/api/v1/jobs", {"queue_name": "q", "jobs": [job]}, 201),
        ("?queueName=q", "/api/v1/jobs", {"queue_name": "q", "jobs": [job, job]}, 413),
    ):
        headers = ("Content-Type: application/json", "X-Access-Key: key")
        asked = request("PUT", path + query, *headers, body=json.dumps(body).encode())
        (answer,) = Connection(server).send(asked).answers
        check_answer("PUT", path, answer.status, answer.headers, answer.body)
        assert answer.status == status


def test_a_job_in_a_bulk_add_may_be_no_larger_than_in_a_single_add(server: MemoryServer) -> None:
    body = {"queue_name": "q", "jobs": [{"content": {"text": "x" * (1 << 20)}}]}
    answer = server.call("PUT", "/api/v1/jobs", query={"queueName": "q"}, body=body)
    assert (answer.status, "jobs[0].content" in answer.json["detail"]) == (400, True)


# Changing one by one


def test_each_update_has_its_own_result(server: MemoryServer) -> None:
    plain, lost, held = [add(server, max_attempts=2)["uid"] for _ in range(3)]
    old = take(server, count=2).json["jobs"][1]["lease"]
    update(server, plain, "queued")
    update(server, lost, "queued")
    leases = {job["uid"]: job["lease"] for job in take(server, count=3, worker="w").json["jobs"]}
    answer = _update_many(
        server,
        {"uid": plain, "new_status": "complete", "result": 1},
        {"uid": lost, "lease": old, "new_status": "complete"},
        {"uid": "no uid", "new_status": "complete"},
        {"uid": held, "lease": leases[held], "new_status": "failed", "error": "e", "fingerprint": "e"},
    )
    assert answer.status == 200
    results = answer.json["results"]
    assert [(result["uid"], result["status"]) for result in results] == [
        (plain, 200),
        (lost, 409),
        ("no uid", 404),
        (held, 200),
    ]
    assert [result["job"] for result in (results[0], results[3])] == [read(server, uid).json for uid in (plain, held)]
    assert (results[1]["state"], results[1]["worker"]) == ("inprogress", "w")
    assert not any(lease in answer.body.decode() for lease in leases.values())


@pytest.mark.only_on_a_file("there are batches, and reads are in them")
def test_updates_are_applied_in_the_order_sent_and_in_one_commit(server: MemoryServer) -> None:
    uid = add(server)["uid"]
    before = server.engine.executor.totals["commits"]
    answer = _update_many(server, {"uid": uid, "new_status": "inprogress"}, {"uid": uid, "new_status": "failed"})
    assert [result["job"]["state"] for result in answer.json["results"]] == ["inprogress", "failed"]
    assert server.engine.executor.totals["commits"] == before + 1


@pytest.mark.parametrize(
    "bad", [{}, {"uid": ""}, {"uid": UID}, {"uid": UID, "new_status": "done"}, {"uid": UID, "progress": 101}, 1]
)
def test_a_malformed_update_is_named_by_the_400_and_no_update_is_applied(server: MemoryServer, bad: Any) -> None:
    added = add(server)
    answer = _update_many(server, {"uid": added["uid"], "progress": 1}, bad)
    assert (answer.status, "updates[1]" in answer.json["detail"], answer.json["index"]) == (400, True, 1)
    assert read(server, added["uid"]).json == added


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"new_status": "queued"},
        {"updates": []},
        {"updates": [{"uid": UID, "progress": 1}], "filter": {}},
        {"updates": [{"uid": UID, "progress": 1}], "filter": {"tag": "a"}},
        {"updates": [{"uid": UID, "progress": 1}], "all": True},
        {"updates": [{"uid": UID, "progress": 1}], "dry_run": True},
        {"updates": [{"uid": UID, "progress": 1}], "priority": 1},
        {"updates": [{"uid": UID, "progress": 1}], "content": []},
        {"all": True},
        {"all": True, "dry_run": True},
        {"new_status": "failed"},
        {"filter": {}, "new_status": "failed"},
        {"filter": {"state": None}, "new_status": "failed"},
        {"filter": {}, "new_status": "failed", "dry_run": True},
        {"all": False, "new_status": "failed"},
        {"all": True, "filter": {"state": "queued"}, "new_status": "failed"},
        {"filter": [], "new_status": "queued"},
        {"filter": {"state": "done"}, "new_status": "queued"},
        {"filter": {"tag": ""}, "new_status": "queued"},
        {"filter": {"q": 1}, "new_status": "queued"},
        {"all": True, "new_status": "queued", "dry_run": "yes"},
        {"all": "true", "new_status": "queued"},
    ],
)
def test_a_bulk_change_needs_either_updates_or_a_filter(server: MemoryServer, body: Any) -> None:
    added = add(server)
    assert server.call("POST", "/api/v1/jobs", body={"queue_name": "q", **body}).status == 400
    assert listed(server)["jobs"] == [added]


# All that match


def _some_jobs(server: MemoryServer) -> list[str]:
    jobs = [{"tags": ["a"]}, {"content": {"to": "Ada"}}, {"tags": ["a"], "content": {"to": "ADA"}}, {}]
    return [job["uid"] for job in _add_many(server, *jobs).json["jobs"]]


@pytest.mark.parametrize(
    ("wanted", "matched"),
    [
        ({}, [0, 1, 2, 3]),
        ({"tag": "a"}, [0, 2]),
        ({"q": "ada"}, [1, 2]),
        ({"tag": "a", "q": "ada", "state": "queued"}, [2]),
        ({"state": "complete"}, []),
    ],
)
def test_a_bulk_change_or_deletion_with_a_filter_affects_exactly_the_listed_jobs(
    server: MemoryServer, wanted: Any, matched: list[int]
) -> None:
    uids = _some_jobs(server)
    chosen = [uids[index] for index in matched]
    assert [job["uid"] for job in page(server, **wanted)["jobs"]] == chosen
    assert _sweep(server, wanted, progress=9).json == {"matched": len(matched)}
    assert [job["uid"] for job in listed(server)["jobs"] if "progress" in job] == chosen
    assert _remove(server, **wanted, dry_run="TRUE").json == {"matched": len(matched)}
    assert listed(server)["size"] == 4
    assert _remove(server, **wanted, dry_run="false").json == {"matched": len(matched)}
    assert [job["uid"] for job in listed(server)["jobs"]] == [uid for uid in uids if uid not in chosen]


@pytest.mark.only_on_a_file("there are rows instead of records")
@pytest.mark.parametrize("priority", [-5, 1, 5])
def test_a_bulk_change_of_priority_writes_one_record_for_each_job(server: MemoryServer, priority: int) -> None:
    _add_many(server, *[{"priority": number % 3} for number in range(1100)])
    before = server.engine.executor.totals["records"]
    _sweep(server, {}, priority=priority, progress=1)
    assert server.engine.executor.totals["records"] == before + 1100


@pytest.mark.parametrize(
    "query",
    [
        *["dry_run=yes&all=true", "dry_run=&all=true", "dry_run&all=true", "all=true;dry_run", "all=true&dryRun=true"],
        *["state=done", "tag=a&tag=b", "state=", "tag=", "q=", "tags=a", "State=queued", "tag=a;b"],
        *["", "dry_run=true", "all=false", "all=", "all", "all=1", "all=true&tag=a", "all=true&all=true"],
    ],
)
def test_a_bad_parameter_deletes_no_job(server: MemoryServer, query: str) -> None:
    add(server)
    for key in ("key", "wrong"):
        assert server.call("DELETE", f"/api/v1/jobs?queueName=q&{query}", key=key).status == 400
    assert json.dumps(listed(server)["size"]) == "1"


@pytest.mark.parametrize("body", [{"dry_run": True}, {"filter": {"state": "failed"}}, {}])
def test_a_bulk_deletion_with_a_body_is_refused_and_deletes_nothing(server: MemoryServer, body: Any) -> None:
    add(server)
    for query in ("state=queued", "all=true"):
        answer = server.call("DELETE", f"/api/v1/jobs?queueName=q&{query}", body=body)
        assert (answer.status, "in the query" in answer.json["detail"]) == (400, True)
    assert listed(server)["size"] == 1
