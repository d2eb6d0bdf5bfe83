"""Batches over HTTP: their JSON, bad input, and what keys with fewer rights see."""

from typing import Any
from uuid import UUID

import pytest

from tests.doubles import START, Answer, MemoryServer
from tests.web.asking import add, add_key, change, each, hold, page, put, read, take, update

A, B = (str(UUID(int=number)) for number in (0xA, 0xB))
EMPTY: dict[str, Any] = {
    "queue_name": "q",
    "name": "import",
    "open": True,
    **dict.fromkeys(("total", "queued", "inprogress", "complete", "failed"), 0),
    "created": START,
}


def _put(server: MemoryServer, name: str = "import", key: str = "key", **more: Any) -> Answer:
    return server.call("PUT", "/api/v1/batch", body={"queue_name": "q", "name": name, **more}, key=key)


def _post(server: MemoryServer, name: str = "import", key: str = "key", **more: Any) -> Answer:
    return server.call("POST", "/api/v1/batch", body={"queue_name": "q", "name": name, **more}, key=key)


def _read(server: MemoryServer, name: str = "import", key: str = "key") -> Answer:
    return server.call("GET", "/api/v1/batch", query={"queueName": "q", "name": name}, key=key)


def _list(server: MemoryServer, **query: str) -> Answer:
    return server.call("GET", "/api/v1/batches", query={"queueName": "q", **query})


def _counts(server: MemoryServer) -> tuple[int, ...]:
    batch = _read(server).json
    return tuple(batch[name] for name in ("total", "queued", "inprogress", "complete", "failed"))


def test_a_repeated_creation_of_a_batch_changes_nothing_and_returns_the_batch(server: MemoryServer) -> None:
    created = _put(server)
    assert (created.status, created.json) == (201, EMPTY)
    again = _put(server, then={"content": {}})
    assert (again.status, again.json) == (200, EMPTY)
    server.restart()
    assert _read(server).json == EMPTY
    assert _read(server, "other").status == 404
    assert page(server)["jobs"] == []


def test_a_closed_batch_ends_with_its_jobs_and_releases_the_job_at_its_end(server: MemoryServer) -> None:
    then = _put(server, then={"content": {"then": 1}}).json["then"]
    assert (read(server, then).json["waiting"], "depends_on" in read(server, then).json) == (True, False)
    uid = add(server, batch="import")["uid"]
    assert read(server, uid).json["batch"] == "import"
    assert _counts(server) == (1, 1, 0, 0, 0)
    closed = _post(server, open=False)
    assert (closed.status, closed.json) == (200, {**EMPTY, "open": False, "then": then, "total": 1, "queued": 1})
    hold(server)
    assert _counts(server) == (1, 0, 1, 0, 0)
    server.clock.advance(5)
    update(server, uid, "complete")
    batch = _read(server).json
    assert (batch["complete"], batch["ended"], batch["succeeded"]) == (1, START + 5, True)
    assert hold(server)["uid"] == then


def test_the_batch_of_a_bulk_add_applies_to_jobs_that_name_no_batch(server: MemoryServer) -> None:
    for name in ("import", "other"):
        _put(server, name)
    body = {"queue_name": "q", "batch": "import", "jobs": [{"content": {}}, {"content": {}, "batch": "other"}]}
    jobs = server.call("PUT", "/api/v1/jobs", body=body).json["jobs"]
    assert [job["batch"] for job in jobs] == ["import", "other"]
    long = {"content": {"text": "x" * 1_000}}
    assert server.call("PUT", "/api/v1/jobs", body={**body, "jobs": [long] * 300}).status == 201
    assert _counts(server)[0] == 301
    assert server.call("PUT", "/api/v1/jobs", body={**body, "batch": "none"}).json["index"] == 0


def test_a_batch_that_does_not_exist_or_has_ended_takes_no_jobs(server: MemoryServer) -> None:
    assert put(server, batch="import").status == 404
    _put(server)
    _post(server, open=False)
    answer = put(server, batch="import")
    assert (answer.status, "has ended" in answer.json["detail"]) == (409, True)


def test_a_batch_is_cancelled_and_retried(server: MemoryServer) -> None:
    then = _put(server, then={"content": {}}, then_on="finish").json["then"]
    done, _, held = (add(server, batch="import", priority=number)["uid"] for number in (2, 0, 1))
    change(server, done, new_status="complete")
    hold(server)
    other = add(server)["uid"]
    cancelled = _post(server, cancel=True)
    assert (cancelled.status, cancelled.json["open"], cancelled.json["matched"]) == (200, False, 2)
    assert _counts(server) == (3, 0, 1, 1, 1)
    assert read(server, held).json["cancel_requested"]
    assert read(server, other).json["state"] == "queued"
    change(server, held, new_status="failed")
    assert (_read(server).json["succeeded"], "waiting" in read(server, then).json) == (False, False)
    retried = _post(server, retry=True)
    assert (retried.json["matched"], retried.json["queued"], "ended" in retried.json) == (2, 2, False)
    assert "matched" not in _read(server).json


def test_the_job_at_the_batch_end_fails_if_a_job_of_the_batch_failed_or_was_removed(server: MemoryServer) -> None:
    then = _put(server, then={"content": {}}).json["then"]
    uid = add(server, batch="import")["uid"]
    _post(server, open=False)
    server.call("DELETE", "/api/v1/job", query={"queueName": "q", "jobUID": uid})
    batch = _read(server).json
    assert (batch["lost"], batch["total"], batch["succeeded"]) == (1, 0, False)
    assert read(server, then).json["error"] == "jobs of the batch import failed"


def test_the_job_at_the_batch_end_may_also_depend_on_other_jobs(server: MemoryServer) -> None:
    add(server, uid=A)
    then = _put(server, then={"content": {}, "uid": B, "depends_on": [A], "on_dependency_failure": "wait"}).json["then"]
    assert then == B
    assert (read(server, B).json["depends_on"], read(server, B).json["on_dependency_failure"]) == ([A], "wait")


@pytest.mark.parametrize(
    ("fields", "detail"),
    [
        ({"name": ""}, "name must not be empty."),
        ({"name": "b" * 201}, "name must have at most 200 characters."),
        ({"then": {}}, "then.content is missing."),
        ({"then": {"content": 1}}, "then.content must be a JSON object."),
        ({"then": {"content": {}, "batch": "import"}}, "then.batch must be another batch"),
        ({"then": {"content": {}, "depends_on": [str(UUID(int=n)) for n in range(100)]}}, "then.depends_on must have"),
        ({"then": {"content": {}}, "then_on": "failure"}, "then_on must be one of success, finish."),
        ({"then_on": "finish"}, "then_on requires 'then'"),
        ({"jobs": []}, "To add jobs to a batch, send PUT /api/v1/jobs"),
        ({"content": {}}, "belong in then"),
    ],
)
def test_a_malformed_batch_is_refused(server: MemoryServer, fields: dict[str, Any], detail: str) -> None:
    answer = _put(server, **fields)
    assert (answer.status, detail in answer.json["detail"]) == (400, True)
    assert _list(server).json["batches"] == []


def test_a_batch_whose_end_job_can_not_be_added_is_not_created(server: MemoryServer) -> None:
    assert _put(server, then={"content": {}, "depends_on": [A]}).status == 409
    assert _put(server, then={"content": {}, "batch": "none"}).status == 404
    assert _read(server).status == 404


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"open": True},
        {"cancel": False},
        {"open": False, "cancel": True},
        {"cancel": True, "retry": True},
        {"open": "no"},
        {"closed": True},
    ],
)
def test_a_malformed_change_of_a_batch_is_refused(server: MemoryServer, fields: dict[str, Any]) -> None:
    _put(server)
    assert _post(server, **fields).status == 400
    assert _read(server).json == EMPTY


def test_a_change_of_an_unknown_batch_is_not_found(server: MemoryServer) -> None:
    for changes in each({"open": False}, {"cancel": True}, {"retry": True}):
        assert _post(server, **changes).status == 404


def test_batches_are_listed_by_name_page_by_page(server: MemoryServer) -> None:
    for name in ("c", "a", "ü", "b"):
        _put(server, name)
    names: list[str] = []
    cursor: dict[str, Any] = {}
    for size in (3, 1):
        answer = _list(server, limit="3", **cursor)
        names += [one["name"] for one in answer.json["batches"]]
        assert len(answer.json["batches"]) == size
        cursor = {"cursor": answer.json["next_cursor"]}
        assert ("Link" in answer.headers) is (size == 3)
    assert (names, cursor["cursor"]) == (["a", "b", "c", "ü"], None)
    assert _list(server, cursor="x").status == 400
    assert _read(server, "b" * 201).status == 400


def test_jobs_are_listed_changed_and_deleted_by_their_batch(server: MemoryServer) -> None:
    _put(server)
    uids = [add(server, batch=batch)["uid"] for batch in each("import", None, "import")]
    assert [job["uid"] for job in page(server, batch="import")["jobs"]] == [uids[0], uids[2]]
    body = {"queue_name": "q", "filter": {"batch": "import"}, "priority": 3}
    assert server.call("POST", "/api/v1/jobs", body=body).json == {"matched": 2}
    query = {"queueName": "q", "batch": "import"}
    assert server.call("DELETE", "/api/v1/jobs", query=query).json == {"matched": 2}
    assert [job["uid"] for job in page(server)["jobs"]] == [uids[1]]


def test_each_role_may_make_only_its_calls_about_batches(server: MemoryServer) -> None:
    producer, worker, viewer = roles = ("producer", "worker", "viewer")
    for role in roles:
        add_key(server, role, role)
    _put(server)
    add(server, batch="import")
    assert [_read(server, key=key).status for key in (producer, worker, viewer)] == [200, 200, 200]
    assert [_put(server, "b", key=key).status for key in (producer, worker, viewer)] == [201, 403, 403]
    for changes in each({"cancel": True}, {"retry": True}):
        assert [_post(server, key=key, **changes).status for key in (producer, worker, viewer)] == [403, 403, 403]
    assert (_read(server).json["open"], _counts(server)) == (True, (1, 1, 0, 0, 0))
    assert [_post(server, key=key, open=False).status for key in (producer, worker, viewer)] == [200, 403, 403]
    assert len(take(server, key=worker).json["jobs"]) == 1
