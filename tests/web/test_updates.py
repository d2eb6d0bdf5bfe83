"""Updates of every field, cancelling, and refusals."""

from typing import Any

import pytest

from tests.doubles import MemoryServer
from tests.web.asking import add, change, claim, each, hold, listed, page, peek, put, read, take, update


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("progress", 0),
        ("progress", 100),
        ("result", {"any": [1, None]}),
        ("result", None),
        ("result", False),
        ("result", 0),
        ("result", ""),
        ("result", []),
        ("error", "went wrong \u00fc"),
        ("error", ""),
        ("priority", -7),
        ("content", {"new": 1}),
        ("content", {}),
        ("tags", ["x", "y"]),
        ("timeout_time", 4_000_000_000),
        ("timeout_time", 0),
    ],
)
def test_a_field_is_changed_and_nothing_else(server: MemoryServer, name: str, value: Any) -> None:
    added = add(server, content={"old": 1}, tags=["old"], priority=1)
    server.clock.advance(3)
    answer = change(server, added["uid"], **{name: value})
    expected = {**added, name: value, "last_updated": int(server.clock.seconds())}
    assert (answer.status, answer.json) == (200, expected)
    server.restart()
    assert read(server, added["uid"]).json == expected


def test_several_fields_are_changed_at_once_with_the_state(server: MemoryServer) -> None:
    uid = add(server)["uid"]
    hold(server)
    job = change(server, uid, new_status="Failed", error="e", progress=40, result=[1], tags=["t"], priority=2).json
    shown = {name: job[name] for name in ("state", "error", "progress", "result", "tags", "priority")}
    assert shown == {"state": "failed", "error": "e", "progress": 40, "result": [1], "tags": ["t"], "priority": 2}


def test_an_empty_list_of_tags_removes_all_tags(server: MemoryServer) -> None:
    uid = add(server, tags=["t"])["uid"]
    assert "tags" not in change(server, uid, tags=[]).json
    assert take(server, tags=["t"]).status == 204


def test_a_result_is_given_back_byte_for_byte(server: MemoryServer) -> None:
    uid = add(server)["uid"]
    raw = b'{"queue_name":"q","uid":"%s","result": {"b" : 1.0, "a":[ ]} }' % uid.encode()
    answer = server.call("POST", "/api/v1/job", raw=raw)
    assert b'"result":{"b" : 1.0, "a":[ ]}' in answer.body
    assert b'"result":{"b" : 1.0, "a":[ ]}' in read(server, uid).body


def test_a_new_priority_changes_the_place_and_new_tags_can_be_claimed_by(server: MemoryServer) -> None:
    first, second = add(server)["uid"], add(server)["uid"]
    change(server, second, priority=1, tags=["t"])
    assert [job["uid"] for job in listed(server)["jobs"]] == [second, first]
    assert hold(server, tags=["t"])["uid"] == second


def test_a_queued_job_is_delayed_and_made_ready_again(server: MemoryServer) -> None:
    uid = add(server)["uid"]
    assert change(server, uid, delay_seconds=10).json["not_before"] == int(server.clock.seconds()) + 10
    assert claim(server).status == 204
    assert "not_before" not in change(server, uid, delay_seconds=0).json
    assert claim(server).json["uid"] == uid


def test_a_job_is_released_for_later(server: MemoryServer) -> None:
    uid = add(server)["uid"]
    lease = hold(server)["lease"]
    assert change(server, uid, lease=lease, new_status="queued", delay_seconds=10).json["state"] == "queued"
    assert claim(server).status == 204
    server.clock.advance(10)
    assert claim(server).json["uid"] == uid


def test_a_queued_job_expires_by_its_new_time(server: MemoryServer) -> None:
    uid = add(server)["uid"]
    change(server, uid, timeout_time=int(server.clock.seconds()) + 5)
    server.clock.advance(5)
    assert read(server, uid).status == 404


def test_an_update_as_in_v1_is_answered_with_nothing_and_any_other_with_the_job(server: MemoryServer) -> None:
    uid = add(server)["uid"]
    assert update(server, uid, "inprogress").body == b""
    assert change(server, uid, new_status="inprogress", retry=True).json["uid"] == uid
    assert change(server, uid, progress=1).json["progress"] == 1


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"new_status": None},
        {"retry": True},
        {"cancel": False},
        {"cancel": True, "new_status": "failed"},
        {"new_status": "done", "progress": 1},
        *[{"progress": value} for value in each(-1, 101, 1.5, "1", True)],
        *[{"error": value} for value in each(1, ["x"], {})],
        *[{"content": value} for value in each(None, [], "{}", 1)],
        *[{"priority": value} for value in each("1", 1 << 63, 0.5)],
        *[{"tags": value} for value in each("t", [""], ["t"] * 21, [1])],
        *[{name: value} for name in ("timeout_time", "delay_seconds") for value in each(-1, "1", 1 << 63)],
        *[{name: value, "progress": 1} for name in ("retry", "cancel") for value in each(1, "true", [])],
    ],
)
def test_an_update_with_nothing_or_a_bad_field_is_refused_and_changes_nothing(
    server: MemoryServer, changes: Any
) -> None:
    added = add(server)
    assert change(server, added["uid"], **changes).status == 400
    assert read(server, added["uid"]).json == added


def test_null_changes_nothing(server: MemoryServer) -> None:
    added = add(server, priority=3, tags=["t"])
    names = ["new_status", "retry", "cancel", "error", "priority", "tags", "timeout_time", "delay_seconds", "lease"]
    assert change(server, added["uid"], **dict.fromkeys(names), progress=7).json == {**added, "progress": 7}


# Cancelling


def test_a_queued_job_that_is_cancelled_has_failed(server: MemoryServer) -> None:
    uid = add(server, max_attempts=5)["uid"]
    job = change(server, uid, cancel=True).json
    assert (job["state"], job["error"]) == ("failed", "cancelled")
    assert peek(server).status == 204


def test_the_worker_of_a_cancelled_job_learns_it_from_its_next_heartbeat(server: MemoryServer) -> None:
    uid = add(server, max_attempts=5)["uid"]
    lease = hold(server)["lease"]
    assert change(server, uid, lease=lease, new_status="inprogress").json["cancel_requested"] is False
    assert change(server, uid, cancel=True).json["cancel_requested"] is True
    server.restart()
    job = change(server, uid, lease=lease, new_status="inprogress").json
    assert (job["state"], job["cancel_requested"]) == ("inprogress", True)
    ended = change(server, uid, lease=lease, new_status="failed", error="stopped").json
    assert (ended["state"], ended["error"], "cancel_requested" in ended) == ("failed", "stopped", False)


def test_a_cancelled_job_may_still_be_completed(server: MemoryServer) -> None:
    uid = add(server)["uid"]
    lease = hold(server)["lease"]
    change(server, uid, cancel=True)
    assert change(server, uid, lease=lease, new_status="complete").json["state"] == "complete"


def test_cancelling_does_not_extend_the_lease(server: MemoryServer) -> None:
    uid = add(server, timeout_seconds=10, max_attempts=5)["uid"]
    hold(server)
    server.clock.advance(6)
    assert change(server, uid, cancel=True).json["lease_expires"] == int(server.clock.seconds()) + 4
    server.clock.advance(4)
    assert read(server, uid).json["state"] == "failed"


@pytest.mark.parametrize("state", ["complete", "failed"])
def test_cancelling_a_finished_job_changes_nothing(server: MemoryServer, state: str) -> None:
    uid = add(server)["uid"]
    update(server, uid, state)
    before = read(server, uid).json
    server.clock.advance(5)
    assert change(server, uid, cancel=True).json == before


def test_a_job_that_was_cancelled_can_be_queued_again(server: MemoryServer) -> None:
    uid = add(server, max_attempts=2)["uid"]
    hold(server)
    change(server, uid, cancel=True)
    update(server, uid, "queued")
    released = read(server, uid).json
    assert (released["state"], released["error"]) == ("failed", "cancelled")
    update(server, uid, "queued")
    assert hold(server)["cancel_requested"] is False
    assert put(server).status == 201
    assert len(page(server)["jobs"]) == 2
