"""
Runs the coroutine of a request.

Deferred.fromCoroutine does the same for any coroutine, and makes a Deferred of its result. Nobody asks for the result
of a request, and without that Deferred it takes half the time (docs/performance.md).
"""

from collections.abc import Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure


class Running:
    """A coroutine that awaits Deferreds. It is begun at once, and must not raise."""

    __slots__ = ("_awaited", "_coroutine")

    def __init__(self, coroutine: "Coroutine[Deferred[Any], Any, None]") -> None:
        self._coroutine = coroutine
        #: What it waits for.
        self._awaited: Deferred[Any] | None = None
        self._go_on(None)

    @property
    def ended(self) -> bool:
        """Whether it has ended."""
        return self._awaited is None

    def cancel(self) -> None:
        """Cancel what it waits for, so that it gets a CancelledError."""
        if self._awaited is not None:
            self._awaited.cancel()

    def _go_on(self, result: object) -> None:
        """Run the coroutine until it waits or ends. It takes a result from the Deferred that it awaits."""
        try:
            awaited = self._awaited = (
                result.throwExceptionIntoGenerator(self._coroutine)
                if isinstance(result, Failure)
                else self._coroutine.send(None)
            )
        except StopIteration:
            self._awaited = None
        else:
            awaited.addBoth(self._go_on)
