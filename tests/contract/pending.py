"""A question to an engine in a world whose time goes by only when it is told to."""

from collections.abc import Awaitable
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

__all__ = ["Begun", "result_of"]


class _Settles(Protocol):
    def settle(self) -> None: ...


class Begun:
    """A question that is under way; see Pending."""

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
    """What came of it: the answer, or its exception."""
    try:
        return pending.answer
    except Exception as error:
        return error
