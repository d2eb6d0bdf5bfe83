"""The engines whose rates are checked: one on a file, and two on one PostgreSQL. The tests advance the clock."""

import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Final, Protocol

from attrs import define, field
from twisted.internet.task import Clock

from jobengine.core import commands as c
from jobengine.engine.door import Door
from tests.doubles import CountedIds, new_clock
from tests.engine.postgres.world import PostgresWorld
from tests.machine.local_driver import LocalDriver
from tests.pending import Pending
from tests.postgres import Database, is_installed, running

from .trials import NotHere

HOUR: Final = 3_600_000


class Engines(Protocol):
    """Engines on one database."""

    @property
    def clock(self) -> Clock:
        """The monotonic clock."""

    def engine(self) -> Door:
        """One of the engines."""

    def begin(self, question: Any) -> Pending:
        """Start a command, and run everything that is due now."""

    def leave(self, question: Any) -> None:
        """Start a command, and cancel it before its answer."""

    def advance(self, ms: int) -> None:
        """Let time go by."""

    def set_clock(self, window: int) -> None:
        """Set the wall clock forward or back; `window` is the rate's window, in milliseconds."""

    def restart(self, window: int) -> None:
        """Stop an engine, and start it again after some time."""

    def close(self) -> None:
        """Stop all engines."""


#: Makes the engines of a life, in a folder that does not exist.
MakeEngines = Callable[[Path], Engines]


@define
class OnFile:
    """An engine on a file. While the engine is down, the wall clock is only set back: see the module `rates`."""

    folder: Path
    chance: random.Random
    driver: LocalDriver = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.folder.mkdir()
        self.driver = LocalDriver(self.folder)

    @property
    def clock(self) -> Clock:
        return self.driver.clock

    def engine(self) -> Door:
        return self.driver.engine

    def begin(self, question: Any) -> Pending:
        pending = self.driver.start(question)
        self.driver.pump()
        return pending

    def leave(self, question: Any) -> None:
        self.driver.leave(self.driver.start(question))

    def advance(self, ms: int) -> None:
        self.driver.advance(ms)

    def set_clock(self, window: int) -> None:
        self.driver.step_clock(self.chance.choice([HOUR, -HOUR, window, -window, 300, -300]))
        # A request makes the server notice the new time, even if it is killed next.
        self.begin(self.driver.engine.ask(c.ListQueues(limit=1)))

    def restart(self, window: int) -> None:
        down = self.chance.randrange(self.chance.choice([1, window * 2]) + 1)
        step = self.chance.choice([0, 0, -window, -HOUR])
        self.driver.restart(kill=self.chance.random() < 0.5, step=step, down=down)

    def close(self) -> None:
        self.driver.close()


@define
class OnPostgres:
    """
    Two engines on one PostgreSQL, whose clock is set by steps of more than 2 seconds: engines take shorter steps for
    elapsed time.

    While one engine is down, the other notices a step. Both run for more than a minute before the first step: until
    then an engine trusts another one about the clock.
    """

    url: str
    chance: random.Random
    clock: Clock = field(factory=new_clock)
    worlds: list[PostgresWorld] = field(init=False)

    def __attrs_post_init__(self) -> None:
        new_id = CountedIds()
        self.worlds = [PostgresWorld(self.url, clock=self.clock, new_id=new_id) for _ in range(2)]
        self.advance(61_000)

    def engine(self) -> Door:
        return self.chance.choice(self.worlds).engine

    def begin(self, question: Any) -> Pending:
        return self.worlds[0].begin(question)

    def leave(self, question: Any) -> None:
        self.worlds[0].begin(question, settle=False).cancel()

    def advance(self, ms: int) -> None:
        self.worlds[0].advance(ms / 1000)

    def set_clock(self, window: int) -> None:
        self._set_clock(self.chance.choice(self.worlds))

    def _set_clock(self, first: PostgresWorld) -> None:
        """Set the clock; the engine of `first` notices the step first."""
        # Random steps, so that two steps seldom cancel out: an engine that missed both could not notice that.
        step = self.chance.choice([-1, 1]) * self.chance.randrange(3, 4_000)
        for world in self.worlds:
            # Each engine writes the same time.
            world.set_clock_of_database(step)
        first.begin(first.engine.ask(c.ListQueues(limit=1)))

    def restart(self, window: int) -> None:
        self.chance.shuffle(self.worlds)
        restarted, other = self.worlds
        down = self.chance.randrange(self.chance.choice([1, window * 2]) + 1)

        def meanwhile() -> None:
            other.advance(down / 1000)
            if self.chance.random() < 0.5:
                self._set_clock(other)

        restarted.reopen(meanwhile)

    def close(self) -> None:
        for world in self.worlds:
            world.close()


@contextmanager
def on_file(chance: random.Random) -> Iterator[MakeEngines]:
    """Engines on a file."""
    yield lambda folder: OnFile(folder, chance)


@contextmanager
def on_postgres(chance: random.Random) -> Iterator[MakeEngines]:
    """Engines on a PostgreSQL; raises NotHere."""
    if not is_installed():
        raise NotHere("PostgreSQL is not installed")
    with running() as cluster:
        database = Database.make(cluster, "rates")

        def make(folder: Path) -> OnPostgres:
            database.clear()
            return OnPostgres(database.url, chance)

        yield make


#: Returns the function that makes the engines; given the random numbers to use.
Place = Callable[[random.Random], AbstractContextManager[MakeEngines]]
