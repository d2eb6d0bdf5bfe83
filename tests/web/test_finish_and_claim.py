"""Jobs are finished and the next are claimed by one request, in one commit."""

from typing import Any

import pytest

from tests.doubles import MemoryServer
from tests.web.asking import add, change, hold, listed, read, take, waiting

UID = "0b8c9e1c-4c1e-4a35-9d5c-5a6f0f0f8a11"


def _done(job: Any, **more: Any) -> dict[str, Any]:
    return {"queue_name": "q", "uid": job["uid"], "lease": job["lease"], "new_status": "complete", **more}


@pytest.mark.only_on_a_file("there are batches, and reads are in them")
def test_finishing_a_job_and_claiming_the_next_job_in_one_request_is_one_commit(server: MemoryServer) -> None:
    first, second = add(server)["uid"], add(server)["uid"]
    job = hold(server, worker="w")
    commits = server.engine.executor.totals["commits"]
    answer = take(server, worker="w", updates=[_done(job, result={"sum": 1.50})])
    assert answer.status == 200
    assert server.engine.executor.totals["commits"] == commits + 1
    ((result,), (following,)) = answer.json["results"], answer.json["jobs"]
    assert (result["uid"], result["status"], result["job"]) == (first, 200, read(server, first).json)
    assert (result["job"]["state"], "lease" in result["job"]) == ("complete", False)
    assert (following["uid"], following["worker"], following["queue_name"]) == (second, "w", "q")
    assert change(server, second, lease=following["lease"], progress=1).status == 200


@pytest.mark.parametrize("updates", [None, []])
def test_a_claim_without_updates_waits_for_a_job_as_usual(server: MemoryServer, updates: Any) -> None:
    answers = waiting(server, updates=updates)
    assert answers == []
    add(server)
    server.pump()
    assert [answer.json.keys() for answer in answers] == [{"jobs"}]


def test_failed_updates_in_a_claim_do_not_prevent_the_claim(server: MemoryServer) -> None:
    uids = [add(server)["uid"] for _ in range(3)]
    jobs = take(server, count=2).json["jobs"]
    updates = [{**_done(jobs[0]), "lease": "lost"}, {**_done(jobs[0]), "uid": UID}, _done(jobs[1])]
    answer = take(server, updates=updates).json
    assert [result["status"] for result in answer["results"]] == [409, 404, 200]
    assert [job["uid"] for job in answer["jobs"]] == [uids[2]]
    assert [job["state"] for job in listed(server)["jobs"]] == ["inprogress", "complete", "inprogress"]


def test_updates_in_a_claim_may_be_answered_with_minimal_results(server: MemoryServer) -> None:
    uid = add(server)["uid"]
    add(server, {"needed": 1})
    body = {"queue_names": ["q"], "updates": [_done(hold(server))]}
    answer = server.call("POST", "/api/v1/job/next", body=body, headers={"Prefer": "return=minimal"})
    assert answer.headers["Preference-Applied"] == "return=minimal"
    assert answer.json["results"] == [{"uid": uid, "status": 200}]
    assert [(job["content"], "lease" in job) for job in answer.json["jobs"]] == [({"needed": 1}, True)]


@pytest.mark.parametrize(
    "bad",
    [
        {"uid": UID, "new_status": "complete"},
        {"queue_name": "q", "new_status": "complete"},
        {"queue_name": "q", "uid": UID},
        {"queue_name": "q", "uid": UID, "new_status": "done"},
        {"queue_name": "q", "uid": UID, "progress": 101},
        {"queue_name": "q", "uid": UID, "new_status": "complete", "resut": 1},
        1,
    ],
)
def test_a_claim_with_a_malformed_update_is_refused_and_the_error_names_the_update(
    server: MemoryServer, bad: Any
) -> None:
    add(server)
    add(server)
    before = take(server).json["jobs"][0]
    state = listed(server)
    answer = take(server, updates=[_done(before), bad])
    assert (answer.status, "updates[1]" in answer.json["detail"]) == (400, True)
    assert listed(server) == state


def test_a_claim_has_at_most_1000_updates(server: MemoryServer) -> None:
    update = {"queue_name": "q", "uid": UID, "progress": 1}
    assert take(server, updates=[update] * 1001).status == 400
    assert len(take(server, updates=[update] * 1000).json["results"]) == 1000
