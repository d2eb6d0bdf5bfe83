"""A server stops within seconds if its database does not answer."""

from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred

from tests.doubles import AtOnce
from tests.engine.postgres.world import PostgresWorld
from tests.postgres import Database

R = TypeVar("R")


class _Thread(AtOnce):
    """A thread whose calls never end once `hangs` is true."""

    def __init__(self) -> None:
        self.hangs = self.ended = False

    def stop(self) -> None:
        self.ended = True

    def __call__(self, call: Callable[[], R], /) -> "Deferred[R]":
        return Deferred() if self.hangs else super().__call__(call)


def _stopped(database: Database, *, hangs: bool) -> tuple[_Thread, int]:
    """The thread after a stop, and the seconds that the stop took."""
    thread = _Thread()
    world = PostgresWorld(database.url, thread=lambda _name: thread)
    thread.hangs = hangs
    took, stop = 0, world.begin(world.engine.stop())
    while not stop.answered and took < 10:
        world._clock.advance(1)
        took += 1
    world.control.close()
    return thread, took


def test_a_stop_closes_the_connections_and_ends_the_threads(database: Database, events: list[Any]) -> None:
    thread, took = _stopped(database, hangs=False)
    assert (took, thread.ended) == (0, True)
    assert not any("closing" in event.get("log_format", "") for event in events)


def test_a_stop_waits_5_seconds_for_a_database_that_does_not_answer(database: Database, events: list[Any]) -> None:
    thread, took = _stopped(database, hangs=True)
    assert (took, thread.ended) == (5, False)
    assert [event["log_level"].name for event in events if "closing" in event.get("log_format", "")] == ["warn"]
