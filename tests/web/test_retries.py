"""Attempts, the delays between them, and their history."""

from typing import Any

import pytest

from tests.doubles import MemoryServer
from tests.web.asking import add, change, claim, hold, peek, read, set_up, take, update

DAY = 86_400


def _fail(server: MemoryServer, uid: str, **more: Any) -> Any:
    assert change(server, uid, new_status="failed", **more).status == 200
    return read(server, uid).json


def test_a_failure_is_final_unless_attempts_are_left(server: MemoryServer) -> None:
    uid = add(server)["uid"]
    hold(server)
    assert _fail(server, uid, error="e")["state"] == "failed"


def test_a_job_is_tried_as_often_as_it_may(server: MemoryServer) -> None:
    uid = add(server, max_attempts=3)["uid"]
    states = []
    for attempt in (1, 2, 3):
        assert hold(server)["attempts"] == attempt
        states.append(_fail(server, uid)["state"])
    assert states == ["queued", "queued", "failed"]
    assert take(server).status == 204


def test_the_delay_doubles_at_each_attempt_up_to_a_day(server: MemoryServer) -> None:
    uid = add(server, max_attempts=30, retry_delay_seconds=1000, timeout_minutes=0)["uid"]
    delays = []
    for _ in range(10):
        hold(server)
        failed = _fail(server, uid)
        delays.append(failed["not_before"] - server.clock.seconds())
        server.clock.advance(delays[-1] - 1.001)
        assert peek(server).status == 204
        server.clock.advance(1.001)
    doubled = [1000, 2000, 4000, 8000, 16000, 32000, 64000, DAY, DAY, DAY]
    assert all(one * 0.9 <= delay <= one * 1.1 + 1 for one, delay in zip(doubled, delays, strict=True))
    assert max(delays) <= DAY + 1
    assert [round(delay) for delay in delays] != doubled


def test_a_job_of_a_dead_worker_is_back_within_seconds(server: MemoryServer) -> None:
    uid = add(server, max_attempts=2, timeout_seconds=2)["uid"]
    hold(server, worker="dead")
    server.clock.advance(2)
    shown = read(server, uid).json
    assert (shown["state"], shown["error"], shown["attempts"]) == ("queued", "timed out", 1)
    assert "worker" not in shown
    assert hold(server, worker="alive")["attempts"] == 2
    server.clock.advance(2)
    assert read(server, uid).json["state"] == "failed"


def test_a_time_out_waits_for_the_delay_as_well(server: MemoryServer) -> None:
    uid = add(server, max_attempts=2, timeout_seconds=2, retry_delay_seconds=50)["uid"]
    hold(server)
    server.clock.advance(2)
    assert 44 <= read(server, uid).json["not_before"] - server.clock.seconds() <= 56
    server.clock.advance(44)
    assert take(server).status == 204
    server.clock.advance(12)
    assert hold(server)["uid"] == uid


def test_a_worker_may_fail_a_job_without_further_attempts(server: MemoryServer) -> None:
    uid = add(server, max_attempts=9)["uid"]
    lease = hold(server)["lease"]
    assert _fail(server, uid, lease=lease, retry=False, error="no such address")["state"] == "failed"


def test_only_a_job_in_progress_is_tried_again(server: MemoryServer) -> None:
    uid = add(server, max_attempts=9)["uid"]
    assert _fail(server, uid)["state"] == "failed"


def test_history_has_the_worker_the_time_and_the_outcome_of_each_attempt(server: MemoryServer) -> None:
    uid = add(server, max_attempts=4, timeout_seconds=10)["uid"]
    start = int(server.clock.seconds())
    hold(server, worker="a")
    server.clock.advance(1)
    _fail(server, uid, error="e")
    hold(server, worker="b")
    server.clock.advance(10)
    hold(server)
    server.clock.advance(1)
    update(server, uid, "queued")
    hold(server, worker="d")
    server.clock.advance(1)
    update(server, uid, "complete")
    history = [
        {"worker": "a", "started": start, "ended": start + 1, "outcome": "failed", "error": "e"},
        {"worker": "b", "started": start + 1, "ended": start + 11, "outcome": "timeout", "error": "timed out"},
        {"started": start + 11, "ended": start + 12, "outcome": "released"},
        {"worker": "d", "started": start + 12, "ended": start + 13, "outcome": "complete"},
    ]
    assert read(server, uid).json["history"] == history
    server.restart()
    assert read(server, uid).json["history"] == history


def test_history_keeps_the_last_20(server: MemoryServer) -> None:
    uid = add(server, max_attempts=100)["uid"]
    for number in range(25):
        hold(server)
        _fail(server, uid, error=str(number))
    assert [attempt["error"] for attempt in read(server, uid).json["history"]] == [str(n) for n in range(5, 25)]
    hold(server)
    update(server, uid, "complete")
    history = read(server, uid).json["history"]
    assert (len(history), history[-1]["outcome"], history[0]["error"]) == (20, "complete", "6")


@pytest.mark.parametrize("state", ["complete", "failed"])
def test_a_finished_job_that_is_queued_again_starts_afresh_and_keeps_its_history(
    server: MemoryServer, state: str
) -> None:
    uid = add(server)["uid"]
    hold(server)
    update(server, uid, state)
    update(server, uid, "queued")
    shown = read(server, uid).json
    assert ("attempts" in shown, shown["history"][0]["outcome"]) == (False, state)
    assert hold(server)["attempts"] == 1


def test_a_job_that_is_queued_again_without_its_lease_has_spent_an_attempt(server: MemoryServer) -> None:
    uid = add(server, max_attempts=2)["uid"]
    hold(server)
    update(server, uid, "queued")
    assert hold(server)["attempts"] == 2
    assert _fail(server, uid)["state"] == "failed"


def test_the_error_of_an_earlier_attempt_does_not_stay_with_a_complete_job(server: MemoryServer) -> None:
    uid = add(server, max_attempts=2)["uid"]
    hold(server)
    _fail(server, uid, error="e")
    assert hold(server)["error"] == "e"
    shown = change(server, uid, new_status="complete", result=1).json
    assert ("error" in shown, shown["history"][0]["error"]) == (False, "e")


def test_a_retry_keeps_its_place_in_line(server: MemoryServer) -> None:
    uid = add(server, max_attempts=2)["uid"]
    add(server)
    hold(server)
    _fail(server, uid)
    assert claim(server).json["uid"] == uid


def test_a_queue_may_set_attempts_for_all_its_jobs(server: MemoryServer) -> None:
    set_up(server, defaults={"max_attempts": 4, "retry_delay_seconds": 7})
    added = add(server)
    assert (added["max_attempts"], added["retry_delay_seconds"]) == (4, 7)
    assert "max_attempts" not in add(server, max_attempts=1)
