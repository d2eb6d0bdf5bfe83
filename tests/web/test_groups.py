"""Groups over HTTP: their forms, bad input, and what their readers see."""

from typing import Any

import pytest

from jobengine.wire.time_text import time_text
from tests.doubles import Answer, MemoryServer
from tests.web.asking import NO_WORKER, add, change, each, explain, hold, put, read, set_up, stats, take, waiting

GROUP = {"group": "a", "queued": 0, "ready": 0, "held": 0, "in_progress": 0, "oldest_ready_seconds": None}


def _group(server: MemoryServer, **more: Any) -> Answer:
    return server.call("PUT", "/api/v1/group", body={"queue_name": "q", "group": "a", **more})


def _read(server: MemoryServer, method: str = "GET", **query: str) -> Answer:
    return server.call(method, "/api/v1/group", query={"queueName": "q", "group": "a", **query})


def test_the_settings_of_a_queue_show_its_limits(server: MemoryServer) -> None:
    limits = {"in_progress": 50, "rate": {"count": 100, "seconds": 1}}
    flow: dict[str, Any] = {
        "limits": limits,
        "group_limits": {"in_progress": 2},
        "group_order": "fair",
        "target_wait_seconds": 30,
    }
    assert flow.items() <= set_up(server, **flow).json.items()
    server.restart()
    assert flow.items() <= set_up(server).json.items()
    assert not {"limits", "group_limits", "target_wait_seconds"} & set(
        set_up(server, limits=None, group_limits=None, target_wait_seconds=None).json
    )


@pytest.mark.parametrize(
    "fields",
    [
        *[{name: value} for name in ("limits", "group_limits") for value in each(1, [], {"in_progress": 0})],
        *[{"limits": {"rate": value}} for value in each(1, {}, {"count": 0, "seconds": 1}, {"count": 1})],
        {"limits": {"rate": {"count": 1, "seconds": 86_401}}},
        {"limits": {"inprogress": 1}},
        *[{"group_order": value} for value in each("", "fifo", 1)],
        {"group_on_failure": "stop"},
        *[{"target_wait_seconds": value} for value in each(0, -1, "1")],
        {"held_until": -1},
        {"held_until": 600},
    ],
)
def test_a_malformed_limit_is_refused(server: MemoryServer, fields: dict[str, Any]) -> None:
    before = set_up(server).json
    assert set_up(server, **fields).status == 400
    assert set_up(server).json == before


@pytest.mark.parametrize(
    "fields",
    [
        {},
        *[{"group": value} for value in each("", "g" * 201, 1)],
        *[{"in_progress": value} for value in each(0, "2")],
        *[{"weight": value} for value in each(0, 1_001, 0.5)],
        {"paused": "yes"},
        {"limit": 2},
    ],
)
def test_a_malformed_setting_of_a_group_is_refused(server: MemoryServer, fields: dict[str, Any]) -> None:
    assert _group(server, **fields).status == 400
    assert _read(server).status == 404


def test_a_job_with_a_malformed_group_is_refused(server: MemoryServer) -> None:
    for group in each("", "g" * 201, 1, []):
        assert put(server, group=group).status == 400
    uid = add(server, group="a")["uid"]
    for changes in each({"hold_seconds": 5}, {"new_status": "complete", "hold_seconds": 5}, {"group": "g" * 201}):
        assert change(server, uid, **changes).status == 400


def test_settings_of_a_group_are_returned_and_reset(server: MemoryServer) -> None:
    own = {"in_progress": 5, "rate": {"count": 1, "seconds": 60}, "weight": 3, "paused": True}
    assert _group(server, **own).json == {**GROUP, "held_until": None, "own": own}
    assert _group(server, rate=None, paused=False).json["own"] == {"in_progress": 5, "weight": 3}
    server.restart()
    assert _read(server).json["own"] == {"in_progress": 5, "weight": 3}
    assert _read(server, "DELETE").status == 204
    assert _read(server).status == 404


def test_the_group_of_a_job_is_shown_and_changed(server: MemoryServer) -> None:
    uid = add(server, group="a")["uid"]
    assert read(server, uid).json["group"] == "a"
    assert change(server, uid, group="b").json["group"] == "b"
    assert hold(server)["group"] == "b"
    assert change(server, uid, group="c").status == 409
    assert change(server, uid, new_status="queued").status == 200
    assert "group" not in change(server, uid, group="").json


def test_groups_are_listed_page_by_page(server: MemoryServer) -> None:
    for name in "abbccc":
        add(server, group=name)
    first = server.call("GET", "/api/v1/groups", query={"queueName": "q", "limit": "2"})
    assert [(group["group"], group["queued"]) for group in first.json["groups"]] == [("c", 3), ("b", 2)]
    rest = {"queueName": "q", "limit": "2", "cursor": first.json["next_cursor"]}
    second = server.call("GET", "/api/v1/groups", query=rest)
    assert [group["group"] for group in second.json["groups"]] == ["a"]
    assert second.json["next_cursor"] is None
    assert server.call("GET", "/api/v1/groups", query={**rest, "sort": "oldest"}).status == 400
    assert server.call("GET", "/api/v1/groups", query={"queueName": "q", "sort": "size"}).status == 400


def test_explain_and_stats_show_held_jobs(server: MemoryServer) -> None:
    set_up(server, group_limits={"in_progress": 1}, target_wait_seconds=60)
    add(server, group="a")
    uid = add(server, group="a")["uid"]
    held = hold(server, worker="w")
    explained = explain(server, uid)
    expires = held["lease_expires"]
    assert (explained["group"], explained["held_by"], explained["ahead_in_group"]) == ("a", "group_limit", 0)
    assert explained["holders"] == [
        {"uid": held["uid"], "state": "inprogress", "worker": "w", "lease_expires": expires}
    ]
    assert explained["reason"] == (
        f"The group 'a' has 1 of 1 jobs in progress. In progress: {held['uid']} at worker w until {time_text(expires)}."
    )
    found = stats(server)
    assert (found["ready"], found["held"], found["delayed"], found["workers_wanted"]) == (0, 1, 0, 1)


def test_explain_says_whether_a_worker_waits_for_the_queue(server: MemoryServer) -> None:
    uid = add(server, tags=["t"])["uid"]
    can = "It can be claimed. It is the next."
    assert explain(server, uid)["reason"] == can + NO_WORKER
    answers = waiting(server, tags=["other"])
    assert explain(server, uid)["reason"] == f"{can} 1 worker waits, but only for jobs with the tag 'other'."
    server.clock.advance(31)
    server.pump()
    assert answers[0].status == 204
    take(server, tags=["other"])
    assert explain(server, uid)["reason"] == can
    server.clock.advance(11)
    assert explain(server, uid)["reason"] == can + NO_WORKER
    set_up(server, paused=True)
    assert explain(server, uid)["reason"] == "The queue is paused. It is the next."


def test_explain_of_a_job_behind_a_limit_that_is_not_reached_says_that_no_worker_waits(server: MemoryServer) -> None:
    set_up(server, limits={"in_progress": 2})
    last = [add(server)["uid"] for _ in range(4)][-1]
    reason = f"3 jobs are before it, and at most 2 run at once; 0 run now.{NO_WORKER}"
    assert (explain(server, last)["held_by"], explain(server, last)["reason"]) == ("queue_limit", reason)
    held = hold(server, worker="w")
    server.clock.advance(11)
    assert explain(server, last)["reason"] == (
        f"2 jobs are before it, and at most 2 run at once; 1 runs now.{NO_WORKER} "
        f"In progress: {held['uid']} at worker w until {time_text(held['lease_expires'])}."
    )
    take(server)
    server.clock.advance(11)
    assert NO_WORKER not in explain(server, last)["reason"]


def test_a_held_queue_shows_the_end_of_its_hold_and_can_be_released(server: MemoryServer) -> None:
    add(server)
    held = hold(server)
    until = int(server.clock.seconds()) + 30
    change(server, held["uid"], lease=held["lease"], new_status="queued", hold_seconds=30)
    assert stats(server)["held_until"] == until
    assert take(server).status == 204
    set_up(server, held_until=0)
    assert take(server).status == 200


def test_explain_of_a_delayed_job_shows_a_hold_that_outlasts_the_delay(server: MemoryServer) -> None:
    uid = add(server, group="a", delay_seconds=20)["uid"]
    loose = add(server, delay_seconds=20)["uid"]
    now = int(server.clock.seconds())
    delayed = f"It can't be claimed before {time_text(explain(server, uid)['not_before'])}."
    _group(server, held_until=now + 10)
    assert explain(server, uid)["reason"] == delayed
    assert "held_by" not in explain(server, uid)
    _group(server, held_until=now + 600)
    held = explain(server, uid)
    assert held["reason"] == f"{delayed} The group 'a' is held until {time_text(now + 600)}."
    assert (held["held_by"], held["opens"]) == ("hold", now + 600)
    _group(server, paused=True)
    paused = explain(server, uid)
    assert paused["reason"] == f"{delayed} The group 'a' is paused."
    assert (paused["held_by"], "opens" in paused) == ("hold", False)
    set_up(server, held_until=now + 300, paused=True)
    held = explain(server, loose)
    assert held["reason"] == f"The queue is paused. {delayed} The queue is held until {time_text(now + 300)}."
    assert (held["held_by"], held["opens"]) == ("hold", now + 300)


def test_explain_of_a_delayed_retry_also_names_a_hold_that_outlasts_the_delay(
    server: MemoryServer,
) -> None:
    uid = add(server, group="a", max_attempts=2)["uid"]
    held = hold(server)
    change(server, uid, lease=held["lease"], new_status="failed", delay_seconds=1, hold_seconds=60)
    found = explain(server, uid)
    assert (found["held_by"], found["opens"] - found["not_before"]) == ("hold", 59)
    assert found["reason"] == (
        f"It can't be claimed before {time_text(found['not_before'])}. It waits for its retry, after attempt 1 of 2. "
        f"The group 'a' is held until {time_text(found['opens'])}."
    )
