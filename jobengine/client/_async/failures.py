"""The call about the failures of a queue; see AsyncQueue."""

from abc import ABC, abstractmethod
from typing import Any

from .. import calls
from ..failures import FailureGroup
from .transport import Stream

#: Groups per request.
_PAGE = 100


class AsyncFailures(ABC):
    """The part of a queue that lists its failures."""

    name: str

    @abstractmethod
    def _pages(self, call: calls.Call[Any], query: dict[str, str], limit: int | None, most: int = 0) -> Stream[Any]:
        """The items of a list, at most `limit`, and at most `most` in a request."""

    async def failures(self, *, limit: int | None = None) -> Stream[FailureGroup]:
        """
        The failures of the queue by fingerprint, the most frequent first, at most `limit`; read while you iterate.

        A group has the jobs that have failed without being cancelled, and those that are tried again after a failure.
        Select them with `fingerprint`: `queue.retry(fingerprint=group.fingerprint)`. Only the 1,000 largest are listed.
        """
        async for group in self._pages(calls.LIST_FAILURES, {"queueName": self.name}, limit, _PAGE):
            yield group
