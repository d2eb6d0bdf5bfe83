"""Order, time-outs, retention and expiry as a client sees them; and claims."""

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.task import Clock

from tests.doubles import MemoryServer, Stepped, new_clock
from tests.web.asking import add, claim, listed, peek, read, update, v1
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


def test_jobs_go_by_priority_and_then_by_arrival(server: MemoryServer) -> None:
    added = [(priority, add(server, priority=priority)["uid"]) for priority in (0, 5, -3, 5, 0, 1 << 40)]
    order = [uid for _, uid in sorted(added, key=lambda job: -job[0])]
    assert [job["uid"] for job in listed(server)["jobs"]] == order
    assert [claim(server).json["uid"] for _ in order] == order
    assert claim(server).status == 204


def test_a_list_has_every_state_in_execution_order_and_its_size(server: MemoryServer) -> None:
    uids = [add(server)["uid"] for _ in range(4)]
    for uid, state in zip(uids, ("failed", "queued", "complete", "inprogress"), strict=True):
        update(server, uid, state)
    shown = listed(server)
    assert (shown["name"], shown["size"]) == ("q", 4)
    assert [job["uid"] for job in shown["jobs"]] == uids
    assert [job["state"] for job in shown["jobs"]] == ["failed", "queued", "complete", "inprogress"]


def test_a_job_that_is_queued_again_keeps_its_place(server: MemoryServer) -> None:
    first, second = add(server)["uid"], add(server)["uid"]
    assert claim(server).json["uid"] == first
    assert peek(server).json["uid"] == second
    update(server, first, "queued")
    assert claim(server).json["uid"] == first


@pytest.mark.parametrize("source", ["queued", "inprogress", "complete", "failed"])
@pytest.mark.parametrize("target", ["queued", "inprogress", "complete", "failed"])
def test_any_state_may_follow_any_and_each_update_is_noted(server: MemoryServer, source: str, target: str) -> None:
    added = add(server)
    update(server, added["uid"], source)
    server.clock.advance(7)
    assert update(server, added["uid"], target).status == 200
    shown = read(server, added["uid"]).json
    assert v1(shown) == {**v1(added), "state": target, "last_updated": added["created"] + 7}
    assert (claim(server).status == 200) == (target == "queued")


def test_claiming_is_an_update(server: MemoryServer) -> None:
    added = add(server)
    server.clock.advance(3)
    assert v1(claim(server).json) == {**v1(added), "state": "inprogress", "last_updated": added["created"] + 3}


def test_a_job_without_an_update_fails_when_its_minutes_are_over(server: MemoryServer) -> None:
    uid = add(server, timeout_minutes=2)["uid"]
    claim(server)
    server.clock.advance(2 * MINUTE - 0.001)
    assert read(server, uid).json["state"] == "inprogress"
    server.clock.advance(0.001)
    shown = read(server, uid).json
    assert shown["state"] == "failed"
    assert shown["last_updated"] == int(server.clock.seconds())


def test_an_update_restarts_the_time_out(server: MemoryServer) -> None:
    uid = add(server, timeout_minutes=2)["uid"]
    claim(server)
    for _ in range(5):
        server.clock.advance(1.9 * MINUTE)
        assert update(server, uid, "inprogress").status == 200
    server.clock.advance(2 * MINUTE)
    assert read(server, uid).json["state"] == "failed"


def test_a_time_out_of_zero_never_comes(server: MemoryServer) -> None:
    uid = add(server, timeout_minutes=0)["uid"]
    claim(server)
    server.clock.advance(1e9)
    assert read(server, uid).json["state"] == "inprogress"


@pytest.mark.parametrize("state", ["complete", "failed"])
def test_a_finished_job_is_kept_its_minutes_and_then_removed(server: MemoryServer, state: str) -> None:
    uid = add(server, keep_minutes=3)["uid"]
    update(server, uid, state)
    server.clock.advance(3 * MINUTE - 0.001)
    assert read(server, uid).status == 200
    server.clock.advance(0.001)
    assert read(server, uid).status == 404
    assert listed(server)["jobs"] == []


@pytest.mark.parametrize("state", ["complete", "failed"])
def test_a_job_to_be_kept_no_minutes_is_removed_at_once(server: MemoryServer, state: str) -> None:
    uid = add(server, keep_minutes=0)["uid"]
    assert update(server, uid, state).status == 200
    assert read(server, uid).status == 404


def test_a_job_that_times_out_and_is_not_kept_is_gone_in_one_go(server: MemoryServer) -> None:
    uid = add(server, keep_minutes=0, timeout_minutes=1)["uid"]
    claim(server)
    server.clock.advance(MINUTE)
    assert read(server, uid).status == 404


def test_a_queued_job_is_removed_when_its_time_has_come(server: MemoryServer) -> None:
    due = int(server.clock.seconds()) + 100
    uid = add(server, timeout_time=due)["uid"]
    assert read(server, uid).json["timeout_time"] == due
    server.clock.advance(99.999)
    assert peek(server).json["uid"] == uid
    server.clock.advance(0.001)
    assert (peek(server).status, claim(server).status, read(server, uid).status) == (204, 204, 404)


def test_a_claimed_job_does_not_expire_until_it_is_queued_again(server: MemoryServer) -> None:
    uid = add(server, timeout_time=int(server.clock.seconds()) + 100)["uid"]
    claim(server)
    server.clock.advance(200)
    assert read(server, uid).json["state"] == "inprogress"
    assert update(server, uid, "queued").status == 200
    assert read(server, uid).status == 404


def test_a_job_that_is_past_its_time_when_it_is_added_is_gone(server: MemoryServer) -> None:
    assert read(server, add(server, timeout_time=1)["uid"]).status == 404


def test_all_changes_of_time_happen_on_time_without_any_request(server: MemoryServer) -> None:
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


def test_a_job_past_its_time_is_never_shown_in_its_old_state_even_if_the_timer_is_late(
    start: Callable[..., MemoryServer],
) -> None:
    clock = new_clock()
    server = start(clock=clock, engine_parts={"clock": _Late(clock)})
    uid = add(server, timeout_minutes=1)["uid"]
    claim(server)
    clock.advance(MINUTE)
    assert read(server, uid).json["state"] == "failed"


def test_expiry_without_a_request_is_on_disk(server: MemoryServer) -> None:
    uid = add(server, timeout_minutes=1)["uid"]
    claim(server)
    server.clock.advance(MINUTE)
    timed_out = int(server.clock.seconds())
    server.pump()
    server.clock.advance(MINUTE)
    server.restart()
    shown = read(server, uid).json
    assert (shown["state"], shown["last_updated"]) == ("failed", timed_out)


def test_jobs_that_expired_while_the_server_was_stopped_are_expired_at_the_first_answer(server: MemoryServer) -> None:
    uid = add(server, timeout_minutes=1)["uid"]
    claim(server)
    server.stop()
    server.clock.advance(MINUTE)
    server.start()
    assert read(server, uid).json["state"] == "failed"


@pytest.mark.only_on_a_file("a server sweeps each second")
def test_an_idle_server_sets_no_timers(server: MemoryServer) -> None:
    add(server)
    server.pump()
    # One timer, which keeps what was counted; it is not set again.
    (keeping,) = server.clock.getDelayedCalls()
    server.clock.advance(keeping.getTime() - server.clock.seconds())
    server.pump()
    assert server.clock.getDelayedCalls() == []


def test_claims_that_come_at_once_never_get_the_same_job(start: Callable[..., MemoryServer], stepped: Stepped) -> None:
    server = start(engine_parts={"thread": stepped})
    answers: list[Any] = []

    def settle() -> None:
        server.pump()
        while stepped.waiting:
            stepped.step()
            server.pump()

    for number in range(20):
        body = {"queue_name": "q", "job": {"content": {"n": number}}}
        server.ask("PUT", "/api/v1/job", body=body).addBoth(answers.append)
    settle()
    added = [answer.json["uid"] for answer in answers]
    answers.clear()
    for _ in range(30):
        query = {"queueName": "q", "markQueued": "true"}
        server.ask("GET", "/api/v1/job/next", query=query).addBoth(answers.append)
    settle()
    claimed = [answer.json["uid"] for answer in answers if answer.status == 200]
    assert sorted(claimed) == sorted(added)
    assert [answer.status for answer in answers].count(204) == 10
