"""The settings of a queue, their effects, and its statistics."""

from collections.abc import Callable
from typing import Any

import pytest

from jobengine.core.model import Defaults
from tests.doubles import MemoryServer
from tests.web.asking import add, each, hold, listed, set_up, stats, take, update

PLAIN = {"paused": False, "draining": False, "require_lease": False, "max_jobs": 0, "defaults": None}
DEFAULTS = {
    "keep_minutes": 1,
    "keep_failed_minutes": 5,
    "timeout_seconds": 2,
    "max_attempts": 3,
    "retry_delay_seconds": 4,
}


def test_a_change_of_a_queue_returns_all_its_settings(server: MemoryServer) -> None:
    created = int(server.clock.seconds())
    assert set_up(server).json == {"name": "q", "created": created, **PLAIN}
    server.clock.advance(5)
    given: dict[str, Any] = {
        "paused": True,
        "draining": True,
        "require_lease": True,
        "max_jobs": 7,
        "defaults": DEFAULTS,
    }
    expected = {"name": "q", "created": created, **given}
    nothing: dict[str, Any] = dict.fromkeys([*(given.keys() - {"max_jobs", "defaults"}), "new_access_key"])
    assert set_up(server, **given).json == expected
    assert set_up(server, **nothing).json == expected
    server.restart()
    assert set_up(server).json == expected
    assert set_up(server, paused=False).json == {**expected, "paused": False}
    assert set_up(server, max_jobs=None).json["max_jobs"] == 0


@pytest.mark.parametrize("nothing", [None, {}, {"keep_minutes": None}])
def test_removing_the_defaults_of_a_queue_restores_the_defaults_of_the_server(
    server: MemoryServer, nothing: Any
) -> None:
    assert set_up(server, defaults={"keep_minutes": 7}).json["defaults"]["keep_minutes"] == 7
    assert set_up(server, defaults=nothing).json["defaults"] is None


@pytest.mark.parametrize(
    "fields",
    [
        {"name": ""},
        {"name": None},
        *[{flag: value} for flag in ("paused", "draining", "require_lease") for value in each(1, "true", [])],
        *[{"max_jobs": value} for value in each(-1, "1", 1.5, True, 1 << 63)],
        *[{"defaults": value} for value in each(1, [], "x")],
        *[{"defaults": {name: value}} for name in DEFAULTS for value in each(-1, "1", 1 << 63)],
        {"defaults": {"max_attempts": 0}},
        *[{"new_access_key": value} for value in each("", " k", "k\n", "k" * 1025, 1)],
    ],
)
def test_a_malformed_field_gets_400_whatever_the_key(server: MemoryServer, fields: Any) -> None:
    for key in ("key", "wrong"):
        assert server.call("POST", "/api/v1/queue", body={"name": "q", **fields}, key=key).status == 400
    assert set_up(server).json == {"name": "q", "created": int(server.clock.seconds()), **PLAIN}


def test_defaults_that_a_queue_does_not_set_come_from_the_server(start: Callable[..., MemoryServer]) -> None:
    server = start(defaults=Defaults(keep_minutes=77))
    assert set_up(server, defaults={"max_attempts": 2}).json["defaults"] == {
        "keep_minutes": 77,
        "keep_failed_minutes": 4_320,
        "timeout_seconds": 600,
        "max_attempts": 2,
        "retry_delay_seconds": 0,
    }


def _status(server: MemoryServer, key: str) -> int:
    return server.call("GET", "/api/v1/queue", query={"name": "q"}, key=key).status


def test_old_key_seconds_keeps_the_replaced_owner_key_valid_for_that_time(server: MemoryServer) -> None:
    answer = set_up(server, new_access_key="new \u00fc", old_key_seconds=60)
    assert (answer.status, "new" in answer.body.decode()) == (200, False)
    server.clock.advance(59)
    server.restart()
    assert set_up(server, key="key", max_jobs=5).status == 200
    assert [_status(server, key) for key in ("key", "new \u00fc", "other")] == [200, 200, 401]
    server.clock.advance(1)
    assert [_status(server, key) for key in ("key", "new \u00fc")] == [401, 200]


@pytest.mark.parametrize(
    "fields",
    [
        {"old_key_seconds": 5},
        *[{"new_access_key": "n", "old_key_seconds": value} for value in each(-1, 2_592_001, "5", 1.5, True)],
    ],
)
def test_old_key_seconds_needs_a_new_key(server: MemoryServer, fields: Any) -> None:
    assert set_up(server, **fields).status == 400
    assert _status(server, "key") == 200


def test_the_number_of_queues_is_limited_for_callers_without_the_admin_key(start: Callable[..., MemoryServer]) -> None:
    server = start(wire_parts={"max_queues": 2})
    statuses = []
    for name in ("a", "a", "b"):
        answer = server.call("PUT", "/api/v1/queue", body={"name": name, "access_key": "k"}, key=None)
        statuses.append(answer.status)
    assert statuses == [201, 409, 429]
    assert "MAX_QUEUES" in answer.json["detail"]
    assert server.call("DELETE", "/api/v1/queue", query={"name": "a"}, key="k").status == 204
    assert server.call("PUT", "/api/v1/queue", body={"name": "b", "access_key": "k"}, key=None).status == 201


def test_the_admin_may_create_any_number_of_queues(start: Callable[..., MemoryServer]) -> None:
    server = start(wire_parts={"max_queues": 1}, admin_key=b"admin")
    body, headers = {"name": "a", "access_key": "k"}, {"X-Admin-Key": "admin"}
    assert server.call("PUT", "/api/v1/queue", body=body, key=None, headers=headers).status == 201


def test_a_list_of_jobs_shows_no_settings_of_the_queue(server: MemoryServer) -> None:
    set_up(server, paused=True)
    assert listed(server) == {"name": "q", "jobs": [], "size": 0}


# Numbers


def test_the_stats_of_an_empty_queue_are_zero_or_null(server: MemoryServer) -> None:
    none = {"p50": None, "p90": None, "p99": None}
    zero = {"added": 0, "claimed": 0, "complete": 0, "failed": 0, "attempts_failed": 0, "cancelled": 0}
    assert stats(server) == {
        "name": "q",
        "created": int(server.clock.seconds()),
        **PLAIN,
        "size": 0,
        "counts": {"queued": 0, "inprogress": 0, "complete": 0, "failed": 0},
        "ready": 0,
        "delayed": 0,
        "held": 0,
        "waiting": 0,
        "retrying": 0,
        "cancelled": 0,
        "oldest_ready_seconds": None,
        "last_minute": zero,
        "last_hour": zero,
        "minutes": {what: [0] * 60 for what in zero},
        "wait_seconds": none,
        "run_seconds": none,
        "workers_waiting": 0,
        "last_claim": None,
        "workers_wanted": None,
        "held_until": None,
    }


def test_jobs_are_counted_by_state_and_as_ready_or_delayed(server: MemoryServer) -> None:
    for state in ("complete", "failed", "failed", "inprogress"):
        update(server, add(server)["uid"], state)
    add(server, priority=5)
    server.clock.advance(2)
    add(server, priority=9)
    add(server, delay_seconds=60)
    shown = stats(server)
    assert shown["counts"] == {"queued": 3, "inprogress": 1, "complete": 1, "failed": 2}
    assert (shown["size"], shown["ready"], shown["delayed"], shown["oldest_ready_seconds"]) == (7, 2, 1, 2)
    set_up(server, paused=True)
    assert (stats(server)["paused"], stats(server)["ready"]) == (True, 2)


def test_events_of_the_last_minute_and_hour_are_counted(server: MemoryServer) -> None:
    uids = [add(server)["uid"] for _ in range(3)]
    take(server, count=2)
    update(server, uids[0], "complete")
    update(server, uids[1], "failed")
    counted = {"added": 3, "claimed": 2, "complete": 1, "failed": 1, "attempts_failed": 1, "cancelled": 0}
    assert (stats(server)["last_minute"], stats(server)["last_hour"]) == (counted, counted)
    server.clock.advance(61)
    shown = stats(server)
    assert (set(shown["last_minute"].values()), shown["last_hour"]) == ({0}, counted)


def test_stats_have_percentiles_of_wait_and_run_times(server: MemoryServer) -> None:
    for seconds in range(1, 11):
        uid = add(server)["uid"]
        server.clock.advance(seconds)
        hold(server)
        server.clock.advance(seconds / 10)
        update(server, uid, "complete")
    shown = stats(server)
    assert shown["wait_seconds"] == {"p50": 6, "p90": 10, "p99": 10}
    assert shown["run_seconds"] == {"p50": 0.6, "p90": 1, "p99": 1}
