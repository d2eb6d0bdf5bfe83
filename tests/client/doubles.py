"""A pool without connections, for the parts of the client above it."""

import json
from collections.abc import Callable
from typing import Any

from jobengine.client._sync.transport import Pool
from jobengine.client.http_codec import Address, Request, Response

Reply = Response | Exception


def answer(status: int, value: Any = None, **headers: str) -> Response:
    """An answer of the server."""
    return Response(
        status, {name.replace("_", "-"): text for name, text in headers.items()}, json.dumps(value).encode()
    )


class FakePool(Pool):
    """Answers each request by a function, or by the next item of a list; raises an item that is an exception."""

    def __init__(self, replies: "Callable[[Request], Reply] | list[Reply]") -> None:
        super().__init__(Address("http://server.example:6006"), lambda: None)
        self.requests: list[Request] = []
        self._replies = replies

    def exchange(self, request: Request) -> Response:
        """Answer at once."""
        self.requests.append(request)
        reply = self._replies.pop(0) if isinstance(self._replies, list) else self._replies(request)
        if isinstance(reply, Exception):
            raise reply
        return reply
