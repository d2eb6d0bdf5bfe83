# Made from _async/queue_calls.py by tests/client/twin.py: edit that one and run it again.
"""The calls about one queue."""

from typing import Any, TypeVar

from .. import calls
from ..answers import Answer
from ..secret import Secret
from .caller import Caller
from .transport import Stream

A = TypeVar("A", bound=Answer)
T = TypeVar("T")

#: The most items of a list that one request reads.
_PAGE = 500


class QueueCalls:
    """Makes the calls about one queue, with its key. The queue and its parts, such as its schedules, use it."""

    def __init__(self, name: str, key: Secret | None, caller: Caller) -> None:
        #: The queue's name.
        self.name = name
        #: The queue's key; None stands for the admin key.
        self._key = key
        self._caller = caller

    def _ask(self, call: calls.Call[T], **more: Any) -> T:
        """Make a call with the queue's key, and return its result."""
        return self._caller.call(call, key=self._key, **more)

    def _pages(
        self, call: calls.Call[tuple[list[A], str | None]], query: dict[str, str], limit: int | None, most: int = _PAGE
    ) -> Stream[A]:
        """The items of a list, at most `limit`, and at most `most` in a request."""
        while limit is None or limit > 0:
            query["limit"] = str(most if limit is None else min(limit, most))
            page, cursor = self._ask(call, query=query)
            for item in page:
                yield item
            if cursor is None:
                return
            query["cursor"] = cursor
            limit = None if limit is None else limit - len(page)
