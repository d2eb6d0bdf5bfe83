"""Order, attempts and their history, time-outs and expiry as a client sees them."""

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.task import Clock

from tests.doubles import MemoryServer, new_clock
from tests.web.asking import add, change, claim, hold, listed, read, update
from tests.web.watching import Watcher

MINUTE = 60


class _Late(Clock):
    """Has the time of another clock, but never makes calls that are scheduled."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def seconds(self) -> float:
        return self._clock.seconds()

    def callLater(self, delay: float, callable: Any, *args: object, **kw: object) -> Any:  # noqa: A002  # Twisted's name
        if delay:
            return super().callLater(delay, callable, *args, **kw)
        return self._clock.callLater(delay, callable, *args, **kw)


def test_a_list_has_jobs_of_every_state_in_execution_order_and_its_size(server: MemoryServer) -> None:
    uids = [add(server)["uid"] for _ in range(4)]
    for uid, state in zip(uids, ("failed", "queued", "complete", "inprogress"), strict=True):
        update(server, uid, state)
    shown = listed(server)
    assert (shown["name"], shown["size"]) == ("q", 4)
    assert [job["uid"] for job in shown["jobs"]] == uids
    assert [job["state"] for job in shown["jobs"]] == ["failed", "queued", "complete", "inprogress"]


def test_timed_changes_of_jobs_happen_on_time_without_any_request(server: MemoryServer) -> None:
    first = add(server, timeout_minutes=1, keep_minutes=1)["uid"]
    claim(server)
    second = add(server, timeout_time=int(server.clock.seconds()) + 30)["uid"]
    watcher = Watcher(server)
    told = []
    for seconds in (29.999, 0.001, 29.999, 0.001, 59.999, 0.001):
        server.clock.advance(seconds)
        server.pump()
        told.append(watcher.changes)
    gone, failed, removed = (second, "queued", None), (first, "inprogress", "failed"), (first, "failed", None)
    assert told == [[], [gone], [gone], [gone, failed], [gone, failed], [gone, failed, removed]]


def test_a_due_job_is_never_shown_in_its_old_state_even_if_the_timer_is_late(
    start: Callable[..., MemoryServer],
) -> None:
    clock = new_clock()
    server = start(clock=clock, engine_parts={"clock": _Late(clock)})
    uid = add(server, timeout_minutes=1)["uid"]
    claim(server)
    clock.advance(MINUTE)
    assert read(server, uid).json["state"] == "failed"


def test_a_time_out_without_a_request_survives_a_restart(server: MemoryServer) -> None:
    uid = add(server, timeout_minutes=1)["uid"]
    claim(server)
    server.clock.advance(MINUTE)
    timed_out = int(server.clock.seconds())
    server.pump()
    server.clock.advance(MINUTE)
    server.restart()
    shown = read(server, uid).json
    assert (shown["state"], shown["last_updated"]) == ("failed", timed_out)


@pytest.mark.only_on_a_file("a server sweeps each second")
def test_an_idle_server_sets_no_timers(server: MemoryServer) -> None:
    add(server)
    server.pump()
    # One timer, which keeps what was counted; it is not set again.
    (keeping,) = server.clock.getDelayedCalls()
    server.clock.advance(keeping.getTime() - server.clock.seconds())
    server.pump()
    assert server.clock.getDelayedCalls() == []


def _fail(server: MemoryServer, uid: str, **more: Any) -> Any:
    assert change(server, uid, new_status="failed", **more).status == 200
    return read(server, uid).json


def test_a_worker_may_fail_a_job_without_further_attempts(server: MemoryServer) -> None:
    uid = add(server, max_attempts=9)["uid"]
    lease = hold(server)["lease"]
    assert _fail(server, uid, lease=lease, retry=False, error="no such address")["state"] == "failed"


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
