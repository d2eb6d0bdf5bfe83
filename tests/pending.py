"""A command, or a request, that is under way."""

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure


class Pending:
    """A command that is under way; `settle`, after `cancel`, lets everything happen that needs no time."""

    def __init__(self, question: Awaitable[Any], settle: Callable[[], None] = lambda: None) -> None:
        self._settle = settle
        self._results: list[Any] = []
        self.deferred: Deferred[Any] = Deferred.fromCoroutine(_awaited(question))
        self.deferred.addBoth(self._results.append)

    @property
    def answered(self) -> bool:
        """Whether the command has its answer, or its error."""
        return bool(self._results)

    @property
    def answer(self) -> Any:
        """The answer; raises the error."""
        (result,) = self._results
        if isinstance(result, Failure):
            result.raiseException()
        return result

    @property
    def error(self) -> type[BaseException] | None:
        """The type of the error, if there is one."""
        return self._results[0].type if self._results and isinstance(self._results[0], Failure) else None

    def cancel(self) -> None:
        """Cancel the command, as a client that disconnects before the answer."""
        self.deferred.cancel()
        self._settle()


async def _awaited(question: Awaitable[Any]) -> Any:
    return await question
