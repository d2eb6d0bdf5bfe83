"""Updates of every field, cancelling, and refusals."""

from typing import Any

import pytest

from jobengine.core.fingerprints import fingerprint
from tests.doubles import MemoryServer
from tests.schema import schema
from tests.web.asking import add, change, each, hold, read, update


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("progress", 0), ("progress", 100), ("result", {"any": [1, None]}), ("result", None), ("result", False)],
        *[("result", 0), ("result", ""), ("result", []), ("error", "went wrong \u00fc"), ("error", "")],
        *[("error", "x" * 4096), ("priority", -7), ("content", {"new": 1}), ("content", {}), ("tags", ["x", "y"])],
        *[("timeout_time", 4_000_000_000), ("timeout_time", 0)],
    ],
)
def test_an_update_of_one_field_changes_no_other_field(server: MemoryServer, name: str, value: Any) -> None:
    added = add(server, content={"old": 1}, tags=["old"], priority=1)
    server.clock.advance(3)
    answer = change(server, added["uid"], **{name: value})
    expected = {**added, name: value, "last_updated": int(server.clock.seconds())}
    assert (answer.status, answer.json) == (200, expected)
    server.restart()
    # A read shows the error's fingerprint too, which the answer to an update leaves out.
    if name == "error":
        expected["fingerprint"] = fingerprint(value)
    assert read(server, added["uid"]).json == expected


def test_a_result_is_returned_byte_for_byte(server: MemoryServer) -> None:
    uid = add(server)["uid"]
    raw = b'{"queue_name":"q","uid":"%s","result": {"b" : 1.0, "a":[ ]} }' % uid.encode()
    answer = server.call("POST", "/api/v1/job", raw=raw)
    assert b'"result":{"b" : 1.0, "a":[ ]}' in answer.body
    assert b'"result":{"b" : 1.0, "a":[ ]}' in read(server, uid).body


def test_an_update_returns_the_job_only_if_it_has_a_field_newer_than_api_version_1(server: MemoryServer) -> None:
    uid = add(server)["uid"]
    assert update(server, uid, "inprogress").body == b""
    assert change(server, uid, new_status="inprogress", retry=True).json["uid"] == uid
    assert change(server, uid, progress=1).json["progress"] == 1


@pytest.mark.parametrize(("name", "empty"), [("done", False), ("version_1", True)])
def test_the_version_1_update_in_the_schema_gets_an_empty_answer_and_the_newer_one_the_job(
    server: MemoryServer, name: str, empty: bool
) -> None:
    examples = schema()["paths"]["/api/v1/job"]["post"]["requestBody"]["content"]["application/json"]["examples"]
    assert next(iter(examples)) == "done"
    add(server)
    held = hold(server)
    mine = {"queue_name": "q", "uid": held["uid"], "lease": held["lease"]}
    body = {field: mine.get(field, value) for field, value in examples[name]["value"].items()}
    answer = server.call("POST", "/api/v1/job", body=body)
    assert (answer.status, answer.body == b"") == (200, empty)
    assert read(server, held["uid"]).json["state"] == "complete"


def test_a_worker_may_fail_a_job_without_further_attempts(server: MemoryServer) -> None:
    uid = add(server, max_attempts=9)["uid"]
    lease = hold(server)["lease"]
    assert change(server, uid, lease=lease, new_status="failed", retry=False).json["state"] == "failed"


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"new_status": None},
        {"retry": True},
        {"cancel": False},
        *[
            {"cancel": True, **more}
            for more in each({"new_status": "failed"}, {"progress": 9}, {"result": 1}, {"content": {}})
        ],
        *[{"new_status": value} for value in each("", "done", "in progress", " failed", "queued\n", 1, ["queued"])],
        {"new_status": "done", "progress": 1},
        *[{"progress": value} for value in each(-1, 101, 1.5, "1", True)],
        *[{"error": value} for value in each(1, ["x"], {}, "x" * 4097)],
        *[{"lease": value, "progress": 1} for value in each("", 1, [], True)],
        *[{"content": value} for value in each(None, [], "{}", 1)],
        *[{"priority": value} for value in each("1", 1 << 63, 0.5)],
        *[{"tags": value} for value in each("t", [""], ["t"] * 21, [1])],
        {"delay_seconds": 31_536_000_001},
        *[{name: value} for name in ("timeout_time", "delay_seconds") for value in each(-1, "1", 1 << 63)],
        {"timeout_time": 3_600},
        *[{name: value, "progress": 1} for name in ("retry", "cancel") for value in each(1, "true", [])],
    ],
)
def test_an_update_without_fields_or_with_a_bad_field_is_refused_and_changes_nothing(
    server: MemoryServer, changes: Any
) -> None:
    added = add(server)
    assert change(server, added["uid"], **changes).status == 400
    assert read(server, added["uid"]).json == added


def test_null_fields_of_an_update_change_nothing(server: MemoryServer) -> None:
    added = add(server, priority=3, tags=["t"])
    names = ["new_status", "retry", "cancel", "error", "priority", "tags", "timeout_time", "delay_seconds", "lease"]
    assert change(server, added["uid"], **dict.fromkeys(names), progress=7).json == {**added, "progress": 7}


def _explain(server: MemoryServer, uid: str) -> Any:
    return server.call("GET", "/api/v1/job/explain", query={"queueName": "q", "jobUID": uid}).json


def test_explain_shows_that_a_queued_job_was_cancelled(server: MemoryServer) -> None:
    uid = add(server)["uid"]
    assert not {"cancelled", "cancel_requested"} & set(_explain(server, uid))
    change(server, uid, cancel=True)
    explained = _explain(server, uid)
    assert (explained["cancelled"], "cancel_requested" in explained) == (True, False)
    assert explained["reason"] == "It was cancelled; set its state to queued to run it again."


def test_explain_shows_a_requested_cancellation_and_who_held_the_job(server: MemoryServer) -> None:
    add(server)
    uid = hold(server, worker="w1")["uid"]
    change(server, uid, cancel=True)
    explained = _explain(server, uid)
    assert (explained["cancel_requested"], "cancelled" in explained) == (True, False)
    learns = "Its cancellation was requested; its worker learns of that from its next update."
    assert explained["reason"].endswith(f" if it is not updated. {learns}")
    change(server, uid, new_status="failed", error="stopped half-way")
    explained = _explain(server, uid)
    assert (explained["cancelled"], explained["error"]) == (True, "stopped half-way")
    assert explained["reason"] == "It was cancelled while held by 'w1'; set its state to queued to run it again."
    change(server, uid, new_status="queued")
    assert not {"cancelled", "cancel_requested"} & set(_explain(server, uid))
