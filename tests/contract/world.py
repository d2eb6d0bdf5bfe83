"""An engine with a simulated clock, for the contract tests."""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.task import Clock

from jobengine.engine.door import Door
from tests.doubles import new_clock
from tests.pending import Pending


class World(ABC):
    """A running engine, and the time and the storage around it."""

    def __init__(self, clock: Clock | None = None) -> None:
        """Without a `clock` the world has its own."""
        self._clock = clock or new_clock()
        #: The seconds by which the wall clock was set forward.
        self._ahead = 0

    @property
    @abstractmethod
    def engine(self) -> Door:
        """The engine, without any queues."""

    @abstractmethod
    def settle(self) -> None:
        """Finish all work that can finish without time passing."""

    @abstractmethod
    def advance(self, seconds: float) -> None:
        """Advance the clock, and settle."""

    @abstractmethod
    def set_wall_clock(self, seconds: int) -> None:
        """Set the wall clock forward by this many seconds, or back if negative; no time passes."""

    @abstractmethod
    def reopen(self) -> None:
        """Stop the engine in good order, and start a new one on its storage."""

    @abstractmethod
    def pass_stopped(self, seconds: float) -> None:
        """Like `reopen`, but this time passes while the engine is stopped."""

    @property
    def now(self) -> int:
        """The time of the wall clock, in milliseconds."""
        return int((self._clock.seconds() + self._ahead) * 1000)

    def all_of(self, *asked: Awaitable[Any]) -> list[Any]:
        """Give all these commands at the same time; returns the result or exception of each."""
        pending = [self.begin(one, settle=False) for one in asked]
        self._run_until(lambda: all(one.answered for one in pending))
        return [_result_of(one) for one in pending]

    def begin(self, asked: Awaitable[Any], *, settle: bool = True) -> Pending:
        """Start a command, and settle, unless `settle` is false."""
        pending = Pending(asked, self.settle)
        if settle:
            self.settle()
        return pending

    def _run_until(self, done: Callable[[], bool]) -> None:
        for _ in range(1000):
            if done():
                return
            self.settle()
        raise AssertionError("it never came to an end")


def _result_of(pending: Pending) -> Any:
    try:
        return pending.answer
    except Exception as error:  # any: the caller compares or raises it
        return error
