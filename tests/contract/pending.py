"""A command to an engine in a world whose time passes only when a test says so, and the base of such worlds."""

from abc import abstractmethod
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from tests.doubles import new_clock


class _Settles(Protocol):
    def settle(self) -> None: ...


class Begun:
    """A command that is under way; see Pending."""

    def __init__(self, world: _Settles, question: Awaitable[Any]) -> None:
        self._world = world
        self._results: list[Any] = []
        self._deferred: Deferred[Any] = Deferred.fromCoroutine(_awaited(question))
        self._deferred.addBoth(self._results.append)

    @property
    def answered(self) -> bool:
        return bool(self._results)

    @property
    def answer(self) -> Any:
        (result,) = self._results
        if isinstance(result, Failure):
            result.raiseException()
        return result

    def cancel(self) -> None:
        self._deferred.cancel()
        self._world.settle()


async def _awaited(question: Awaitable[Any]) -> Any:
    return await question


def result_of(pending: Begun) -> Any:
    """Its answer, or its exception."""
    try:
        return pending.answer
    except Exception as error:
        return error


class ToldWorld:
    """A world in which things happen only when a test says so."""

    def __init__(self) -> None:
        self._clock = new_clock()
        #: By how many seconds the wall clock was set.
        self._ahead = 0

    @abstractmethod
    def settle(self) -> None: ...

    @property
    def now(self) -> int:
        return int((self._clock.seconds() + self._ahead) * 1000)

    def all_of(self, *asked: Awaitable[Any]) -> list[Any]:
        pending = [self.begin(one, settle=False) for one in asked]
        self._run_until(lambda: all(one.answered for one in pending))
        return [result_of(one) for one in pending]

    def begin(self, asked: Awaitable[Any], *, settle: bool = True) -> Begun:
        pending = Begun(self, asked)
        if settle:
            self.settle()
        return pending

    def _run_until(self, done: Callable[[], bool]) -> None:
        """Let things happen that need no time, until it is done."""
        for _ in range(1000):
            if done():
                return
            self.settle()
        raise AssertionError("it never came to an end")
