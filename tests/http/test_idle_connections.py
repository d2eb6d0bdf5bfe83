"""Idle connections share one timer, and no connection is idle during a request."""

from typing import Any

from twisted.internet.task import Clock

from jobengine.http.idle_connections import IdleConnections
from tests.doubles import MemoryServer
from tests.http.connection import Connection, request


def _idle(clock: Clock) -> tuple[IdleConnections[str], list[tuple[str, float]]]:
    ended: list[tuple[str, float]] = []
    return IdleConnections(60, clock, lambda one: ended.append((one, clock.seconds()))), ended


def test_each_connection_is_closed_after_60_idle_seconds() -> None:
    clock = Clock()
    idle, ended = _idle(clock)
    for name in "abc":
        idle.add(name)
        clock.advance(10)
    for _ in range(70):
        clock.advance(1)
    assert ended == [("a", 60), ("b", 70), ("c", 80)]
    assert clock.getDelayedCalls() == []


def test_a_request_restarts_the_idle_time() -> None:
    clock = Clock()
    idle, ended = _idle(clock)
    idle.add("a")
    idle.add("b")
    clock.advance(50)
    idle.discard("a")
    idle.add("a")
    clock.advance(10)
    assert ended == [("b", 60)]
    clock.advance(49)
    assert len(ended) == 1
    clock.advance(1)
    assert ended[1:] == [("a", 110)]


def test_idle_connections_share_one_timer_which_ends_with_the_last_connection() -> None:
    clock = Clock()
    idle, ended = _idle(clock)
    idle.discard("a")
    assert clock.getDelayedCalls() == []
    for name in "aab":
        idle.add(name)
    assert len(clock.getDelayedCalls()) == 1
    idle.discard("a")
    idle.discard("b")
    clock.advance(60)
    assert (ended, clock.getDelayedCalls()) == ([], [])
    idle.add("c")
    clock.advance(60)
    assert ended == [("c", 120)]


def test_a_connection_with_an_open_request_or_a_lost_connection_is_not_idle(server: MemoryServer) -> None:
    idle: Any = server.site.idle
    for channel in list(server.site.channels):
        channel.loseConnection()
    assert not idle._until
    waits, goes = Connection(server), Connection(server)
    for connection in (waits, goes):
        connection.send(request("GET", "/test"))
    assert len(idle._until) == 2
    waits.send(request("GET", "/api/v1/job/next?queueName=q&markQueued=true&wait=30", "X-Access-Key: key"))
    goes.go()
    assert not idle._until
