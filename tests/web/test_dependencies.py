"""Dependencies over HTTP: their forms, bad input, and what their readers see."""

from typing import Any
from uuid import UUID

import pytest

from tests.doubles import Answer, MemoryServer
from tests.web.asking import add, change, each, hold, make_queue, metrics, page, put, read, stats, take, update


def _uid(number: int) -> str:
    return str(UUID(int=number))


A, B, C = (_uid(number) for number in (0xA, 0xB, 0xC))


def _add_many(server: MemoryServer, *jobs: dict[str, Any], **more: Any) -> Answer:
    body = {"queue_name": "q", "jobs": [{"content": {}, **job} for job in jobs], **more}
    return server.call("PUT", "/api/v1/jobs", body=body)


def test_a_job_waits_for_its_dependencies(server: MemoryServer) -> None:
    make_queue(server, "other")
    body = {"queue_name": "other", "job": {"content": {}, "uid": B}}
    assert server.call("PUT", "/api/v1/job", body=body).status == 201
    add(server, uid=A)
    on = [A, {"queue_name": "other", "uid": B}]
    job = add(server, depends_on=[A, {"name": "other", "uid": B}], on_dependency_failure="run")
    assert (job["state"], job["depends_on"], job["on_dependency_failure"], job["waiting"]) == (
        "queued",
        on,
        "run",
        True,
    )
    server.restart()
    assert read(server, job["uid"]).json == job
    update(server, A, "complete")
    assert take(server).status == 204
    done = {"queue_name": "other", "uid": B, "new_status": "failed"}
    assert server.call("POST", "/api/v1/job", body=done).status == 200
    claimed = hold(server)
    assert (claimed["uid"], claimed["depends_on"], "waiting" in claimed) == (job["uid"], on, False)


def test_a_dependency_sent_with_the_name_of_the_same_queue_is_shown_as_a_plain_uid(server: MemoryServer) -> None:
    add(server, uid=A)
    job = add(server, depends_on=[{"queue_name": "q", "uid": A}])
    assert (job["depends_on"], "on_dependency_failure" in job) == ([A], False)


def test_a_job_without_dependencies_shows_no_fields_of_dependencies(server: MemoryServer) -> None:
    job = add(server, depends_on=[], on_dependency_failure="wait")
    assert not {"depends_on", "on_dependency_failure", "batch", "waiting"} & job.keys()


def test_the_error_for_circular_dependencies_has_the_uids_of_the_circle(server: MemoryServer) -> None:
    answer = _add_many(
        server, {"uid": A, "depends_on": [C]}, {"uid": B, "depends_on": [A]}, {"uid": C, "depends_on": [B]}
    )
    assert answer.status == 400
    assert f"{A} → {C} → {B} → {A}" in answer.json["detail"]
    assert put(server, uid=A, depends_on=[A]).status == 400
    assert page(server)["jobs"] == []


def test_an_unknown_dependency_is_a_conflict_that_names_the_job(server: MemoryServer) -> None:
    alone, many = put(server, depends_on=[A]), _add_many(server, {}, {"depends_on": [A]})
    assert (alone.status, many.status, many.json["index"]) == (409, 409, 1)
    assert f"names the job {A}" in alone.json["detail"]
    assert many.json["detail"].startswith("jobs[1]: depends_on names")
    assert page(server)["jobs"] == []


def test_a_dependency_on_another_queue_needs_a_key_for_both_queues(server: MemoryServer) -> None:
    make_queue(server, "other", "another")
    refused = put(server, depends_on=[{"queue_name": "other", "uid": A}])
    advice = "send one that opens both, or the admin key."
    detail = f"The access key does not open the queue 'other' in depends_on; {advice}"
    assert (refused.status, refused.json["detail"]) == (401, detail)
    assert put(server, depends_on=[{"queue_name": "none", "uid": A}]).status == 404


@pytest.mark.parametrize(
    ("fields", "detail"),
    [
        ({"depends_on": A}, "job.depends_on must be a list, not a text."),
        ({"dependencies": [A]}, "job.dependencies is only in answers. Did you mean 'depends_on'?"),
        ({"depends_on": [1]}, "job.depends_on[0] must be a text or an object, not a whole number."),
        ({"depends_on": ["x"]}, "job.depends_on[0] must be a UUID in lower case."),
        ({"depends_on": [{"uid": A}]}, "job.depends_on[0].queue_name is missing."),
        ({"depends_on": [{"queue_name": "q"}]}, "job.depends_on[0].uid is missing."),
        ({"depends_on": [A, B, A]}, f"job.depends_on[2] repeats the job {A}: name each job once."),
        (
            {"depends_on": [A, {"queue_name": "q", "uid": A}]},
            f"job.depends_on[1] repeats the job {A}: name each job once.",
        ),
        ({"depends_on": [_uid(n) for n in range(101)]}, "job.depends_on must have at most 100 items."),
        ({"on_dependency_failure": "stop"}, "job.on_dependency_failure must be one of fail, run, wait."),
        ({"batch": ""}, "job.batch must not be empty."),
        ({"batch": "b" * 201}, "job.batch must have at most 200 characters."),
    ],
)
def test_a_malformed_dependency_is_refused(server: MemoryServer, fields: dict[str, Any], detail: str) -> None:
    answer = put(server, **fields)
    assert (answer.status, answer.json["detail"]) == (400, detail)
    assert page(server)["jobs"] == []


def test_the_error_for_a_malformed_dependency_in_a_bulk_add_names_the_job(server: MemoryServer) -> None:
    answer = _add_many(server, {}, {"depends_on": [A, A]})
    assert (answer.status, answer.json["detail"]) == (
        400,
        f"jobs[1].depends_on[1] repeats the job {A}: name each job once.",
    )


def test_a_repeated_add_with_dependencies_gets_the_first_job(server: MemoryServer) -> None:
    add(server, uid=A)
    job = add(server, uid=B, depends_on=[A])
    again = put(server, uid=B, depends_on=[A])
    assert (again.status, again.json) == (200, job)
    assert put(server, uid=B).status == 409
    del job["uid"]
    copied = put(server, **job).json
    assert (copied["depends_on"], copied["waiting"]) == ([A], True)


@pytest.mark.parametrize("many", [False, True])
def test_an_update_with_an_empty_list_drops_the_dependencies(server: MemoryServer, many: bool) -> None:
    add(server, uid=A)
    uid = add(server, depends_on=[A])["uid"]
    if many:
        body = {"queue_name": "q", "updates": [{"uid": uid, "depends_on": []}]}
        changed = server.call("POST", "/api/v1/jobs", body=body).json["results"][0]["job"]
    else:
        changed = change(server, uid, depends_on=[]).json
    assert not {"depends_on", "waiting"} & changed.keys()
    assert [job["uid"] for job in take(server, count=2).json["jobs"]] == [A, uid]


def test_an_update_with_dependencies_is_refused(server: MemoryServer) -> None:
    add(server, uid=A)
    answer = change(server, A, depends_on=[B])
    assert answer.status == 400
    assert answer.json["detail"] == "depends_on must be an empty list: dependencies can only be removed."


def test_stats_and_metrics_count_waiting_jobs(server: MemoryServer) -> None:
    add(server, uid=A)
    _add_many(server, {"depends_on": [A], "group": "g"}, {"depends_on": [A], "delay_seconds": 60})
    found = stats(server)
    assert (found["ready"], found["held"], found["delayed"], found["waiting"]) == (1, 0, 0, 2)
    assert found["counts"]["queued"] == 3
    assert 'jobengine_jobs_waiting{queue="q"} 2\n' in metrics(server)
    groups = server.call("GET", "/api/v1/groups", query={"queueName": "q"}).json["groups"]
    assert [(one["group"], one["queued"], one["ready"]) for one in groups] == [("g", 1, 0)]
    update(server, A, "complete")
    found = stats(server)
    assert (found["ready"], found["delayed"], found["waiting"]) == (1, 1, 0)


# Children of a running job


def _wait_for(server: MemoryServer, job: Any, *children: Any, **more: Any) -> Answer:
    fields = {"lease": job["lease"], "new_status": "queued", "wait_for": list(children), **more}
    return change(server, job["uid"], **fields)


def test_a_running_job_adds_jobs_and_waits_for_them(server: MemoryServer) -> None:
    uid = add(server)["uid"]
    waiting = _wait_for(server, hold(server), {"content": {"n": 1}, "uid": A}, {"content": {}, "priority": -1})
    assert waiting.status == 200
    assert (waiting.json["state"], waiting.json["waiting"], len(waiting.json["depends_on"])) == ("queued", True, 2)
    assert (waiting.json["depends_on"][0], waiting.json["history"][0]["outcome"]) == (A, "released")
    for job in take(server, count=3).json["jobs"]:
        change(server, job["uid"], lease=job["lease"], new_status="complete", result=1)
    again = hold(server)
    assert (again["uid"], again["attempts"]) == (uid, 1)


def test_on_dependency_failure_of_wait_for_decides_what_happens_to_a_job_whose_child_failed(
    server: MemoryServer,
) -> None:
    uid = add(server)["uid"]
    answer = _wait_for(server, hold(server), {"content": {}, "uid": A}, on_dependency_failure="run")
    assert answer.json["on_dependency_failure"] == "run"
    update(server, A, "failed")
    assert hold(server)["uid"] == uid


@pytest.mark.parametrize(
    ("changes", "detail"),
    [
        ({"wait_for": []}, "wait_for must not be empty."),
        ({"wait_for": {}}, "wait_for must be a list, not an object."),
        ({"wait_for": [{}]}, "wait_for[0].content is missing."),
        ({"wait_for": [{"content": {}}, {"content": []}]}, "wait_for[1].content must be a JSON object."),
        ({"wait_for": [{"content": {}}] * 101}, "wait_for must have at most 100 items."),
        *[
            (
                {"wait_for": [{"content": {}}], **more},
                "wait_for can be sent only with new_status queued, and without other changes.",
            )
            for more in each(
                {"new_status": "failed"}, {"new_status": None}, {"priority": 1}, {"hold_seconds": 1}, {"cancel": True}
            )
        ],
        (
            {"wait_for": None, "on_dependency_failure": "run"},
            "on_dependency_failure can be sent only with wait_for, or with a new job.",
        ),
        (
            {"wait_for": [{"content": {}}], "on_dependency_failure": "no"},
            "on_dependency_failure must be one of fail, run, wait.",
        ),
    ],
)
def test_malformed_children_are_refused(server: MemoryServer, changes: dict[str, Any], detail: str) -> None:
    add(server)
    job = hold(server)
    answer = change(server, job["uid"], **{"lease": job["lease"], "new_status": "queued", **changes})
    assert (answer.status, answer.json["detail"]) == (400, detail)
    assert read(server, job["uid"]).json["state"] == "inprogress"


def test_children_that_can_not_be_awaited_are_a_conflict(server: MemoryServer) -> None:
    uid = add(server)["uid"]
    job = hold(server)
    parent = add(server, depends_on=[uid])["uid"]
    refused = _wait_for(server, job, {"content": {}, "depends_on": [parent]})
    assert (refused.status, "neither could ever run" in refused.json["detail"]) == (409, True)
    assert _wait_for(server, {**job, "lease": "x"}, {"content": {}}).json["state"] == "inprogress"
    assert _wait_for(server, job, {"content": {}, "batch": "none"}).status == 404
    assert _wait_for(server, job, {"content": {}}).status == 200
    queued = change(server, uid, new_status="queued", wait_for=[{"content": {}}])
    assert (queued.status, queued.json["state"], queued.json["worker"]) == (409, "queued", None)
    assert "Only a job in progress" in queued.json["detail"]


def test_the_field_wait_for_is_refused_in_a_list_of_updates(server: MemoryServer) -> None:
    one = {"uid": A, "new_status": "queued", "wait_for": [{"content": {}}]}
    for path, body in each(
        ("/api/v1/jobs", {"queue_name": "q", "updates": [one]}),
        ("/api/v1/job/next", {"queue_names": ["q"], "updates": [{"queue_name": "q", **one}]}),
    ):
        answer = server.call("POST", path, body=body)
        assert (answer.status, "'wait_for'" in answer.json["detail"]) == (400, True)
