"""Connections on which nothing happens: one timer for all, and none while there are none."""

from twisted.internet.task import Clock

from jobengine.http.idle import Idle
from tests.doubles import MemoryServer
from tests.http.connection import Connection, request


def _idle(clock: Clock) -> tuple[Idle[str], list[tuple[str, float]]]:
    ended: list[tuple[str, float]] = []
    return Idle(60, clock, lambda one: ended.append((one, clock.seconds()))), ended


def test_each_is_ended_when_it_was_idle_for_long_enough_and_there_is_one_timer() -> None:
    clock = Clock()
    idle, ended = _idle(clock)
    for name in "abc":
        idle.add(name)
        clock.advance(10)
    assert len(clock.getDelayedCalls()) == 1
    for _ in range(70):
        clock.advance(1)
    assert ended == [("a", 60), ("b", 70), ("c", 80)]
    assert clock.getDelayedCalls() == []


def test_who_does_something_in_between_has_all_its_time_again() -> None:
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


def test_without_idle_connections_there_is_no_timer() -> None:
    clock = Clock()
    idle, _ = _idle(clock)
    idle.discard("a")
    idle.add("a")
    idle.add("b")
    idle.discard("a")
    assert len(clock.getDelayedCalls()) == 1
    idle.discard("b")
    assert clock.getDelayedCalls() == []


def test_who_waits_for_an_answer_and_who_has_gone_has_no_timer(server: MemoryServer) -> None:
    reactor = server.site.reactor
    for channel in list(server.site.channels):
        channel.loseConnection()
    assert reactor.getDelayedCalls() == []
    waits, goes = Connection(server), Connection(server)
    for connection in (waits, goes):
        connection.send(request("GET", "/test"))
    assert len(reactor.getDelayedCalls()) == 1
    waits.send(request("GET", "/api/v1/job/next?queueName=q&markQueued=true&wait=30", "X-Access-Key: key"))
    goes.go()
    assert reactor.getDelayedCalls() == []
