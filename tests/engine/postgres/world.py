"""The engine on PostgreSQL, with clocks that only the test moves."""

import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from jobengine.engine.door import Door
from jobengine.engine.ids import ordered_uuid
from jobengine.engine.postgres.batch.begin import Machine
from jobengine.engine.postgres.batch.session import Session
from jobengine.engine.postgres.database.connection import connected
from jobengine.engine.postgres.database.rows import Rows
from jobengine.engine.postgres.database.schema import opened
from jobengine.engine.postgres.engine import PostgresEngine
from jobengine.engine.postgres.stats import ServerActivity
from tests.contract.world import World
from tests.doubles import SECRET, AtOnce, CountedIds
from tests.postgres import PRETENDED, Database, Pretended

R = TypeVar("R")


def session_on(url: str, **parts: Any) -> Session:
    """A session on a database, with its own encryption."""
    with connected(url) as connection:
        seal = opened(connection, SECRET)
    return Session(
        url=url,
        interval=True,
        activity=ServerActivity(),
        **{"rows": Rows(seal), "steady": time.monotonic, "new_id": ordered_uuid, **parts},
    )


class Held(AtOnce):
    """A thread that holds back the results of its calls while `holds` is true."""

    def __init__(self) -> None:
        self.holds = False
        self.kept: list[tuple[Deferred[Any], Any]] = []

    def __call__(self, call: Callable[[], R], /) -> "Deferred[R]":
        if not self.holds:
            return super().__call__(call)
        later: Deferred[R] = Deferred()
        self.kept.append((later, call()))
        return later

    def let_go(self) -> None:
        self.holds = False
        kept, self.kept = self.kept, []
        for later, result in kept:
            later.callback(result)


class PostgresWorld(World):
    """A PostgresEngine whose database has a simulated clock."""

    def __init__(self, url: str, *, through: str | None = None, clock: Clock | None = None, **parts: Any) -> None:
        """
        The engine reaches the database `through` another URL, if one is given, and has these `parts`. Several worlds
        may share a clock.
        """
        super().__init__(clock)
        self._url = through or url
        self._parts = parts
        self._new_id = CountedIds()
        self._pretended = Pretended(url)
        self.control = self._pretended.connection
        self._set_time()
        self._start()

    def _start(self) -> None:
        self._postgres = PostgresEngine(
            secret=lambda: SECRET,
            clock=self._clock,
            time=PRETENDED,
            interval=True,
            url=self._url,
            machine=Machine(lambda: int(self._clock.seconds() * 1000), f"machine {id(self)}"),
            **{"thread": lambda _name: AtOnce(), "new_id": self._new_id, **self._parts},
        )
        self._postgres.open()
        Deferred.fromCoroutine(self._postgres.start())
        self.settle()

    @property
    def engine(self) -> Door:
        return self._postgres

    @property
    def url(self) -> str:
        """The database."""
        return self._url

    def figure(self, name: str) -> float:
        """The value of one of the engine's metrics."""
        asked = self.begin(self.engine.figures())
        (value,) = [one.value for one in asked.answer if one.name == name]
        # This is the value that /metrics shows.
        assert not isinstance(value, bool)
        return value

    def figure_of(self, name: str, **labels: str) -> float:
        """The value of the engine's metric with this name and these labels."""
        asked = self.begin(self.engine.figures())
        (value,) = [one.value for one in asked.answer if (one.name, one.labels) == (name, labels)]
        return float(value)

    def settle(self) -> None:
        for _ in range(5):
            self._clock.advance(0)

    def advance(self, seconds: float) -> None:
        self._clock.rightNow += seconds
        self._set_time()
        self.settle()

    def set_wall_clock(self, seconds: int) -> None:
        self.set_clock_of_database(seconds)
        self._postgres.wall_clock_was_set()
        self.settle()

    def set_clock_of_database(self, seconds: int) -> None:
        """Set the clock of the database, which is on another machine: connections read it only when they are used."""
        self._ahead += seconds
        self._set_time()

    def _set_time(self) -> None:
        self._pretended.tell(self.now / 1000)

    def reopen(self, meanwhile: Callable[[], object] = int) -> None:
        """Stop the engine, do something, and start a new one."""
        self._stop()
        meanwhile()
        self._start()

    def pass_stopped(self, seconds: float) -> None:
        self._stop()
        self._clock.rightNow += seconds
        self._set_time()
        self._start()

    def close(self) -> None:
        self._stop()
        self.control.close()

    def _stop(self) -> None:
        stopped = Deferred.fromCoroutine(self._postgres.stop())
        self._run_until(lambda: bool(stopped.called))


@pytest.fixture
def world(database: Database) -> Iterator[PostgresWorld]:
    """An engine alone on its PostgreSQL, for modules that have no world of their own."""
    database.clear()
    world = PostgresWorld(database.url)
    yield world
    world.close()
