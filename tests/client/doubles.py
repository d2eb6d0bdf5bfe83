"""A fake connection pool for tests of the client's upper parts, and a way to write tests as coroutines."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec

from jobengine.client import AsyncJobEngine, AsyncQueue, JobEngine, Queue
from jobengine.client._sync.transport import Pool
from jobengine.client.http_codec import Address, Request, Response

Reply = Response | Exception
#: The answers to requests: a function, or a list in their order.
Replies = Callable[[Request], Reply] | list[Any]
_Arguments = ParamSpec("_Arguments")

#: Seconds within which threads and tasks must reach the point that a test waits for.
PATIENCE = 20


def in_loop(test: Callable[_Arguments, Coroutine[Any, Any, None]]) -> Callable[_Arguments, None]:
    """Make a coroutine function a test that runs in an event loop of its own."""

    @wraps(test)
    def run(*arguments: _Arguments.args, **more: _Arguments.kwargs) -> None:
        asyncio.run(asyncio.wait_for(test(*arguments, **more), PATIENCE))

    return run


def answer(status: int, value: Any = None, **headers: str) -> Response:
    return Response(
        status, {name.replace("_", "-"): text for name, text in headers.items()}, json.dumps(value).encode()
    )


class FakePool(Pool):
    """Answers each request by a function, or by the next item of a list; raises an item that is an exception."""

    def __init__(self, replies: Replies) -> None:
        super().__init__(Address("http://server.example:6006"), lambda: None)
        self.requests: list[Request] = []
        self._replies = replies

    def exchange(self, request: Request) -> Response:
        self.requests.append(request)
        reply = self._replies.pop(0) if isinstance(self._replies, list) else self._replies(request)
        if isinstance(reply, Exception):
            raise reply
        return reply


class DefaultsServer:
    """Keeps the defaults of one queue as the server does: each change replaces all of them."""

    def __init__(self) -> None:
        self.defaults: dict[str, int] | None = None

    def __call__(self, request: Request) -> Response:
        """Read the defaults or, with a body, replace them."""
        if request.body is not None:
            sent = json.loads(request.body)
            if "defaults" in sent:
                its = sent["defaults"]
                self.defaults = {"max_attempts": 1, "retry_delay_seconds": 0, **its} if its else None
        return answer(200, {"name": "mail", "defaults": self.defaults})


def unconnected(replies: Replies, **settings: Any) -> tuple[JobEngine, FakePool]:
    """A client with these settings, and its pool, which gives these replies."""
    engine = JobEngine("http://server.example:6006", **settings)
    engine._caller.pool = pool = FakePool(replies)
    return engine, pool


def queue_with(replies: Replies, retry_for: float = 0) -> tuple[Queue, FakePool]:
    """The queue q of a client with a key, and the client's pool, which gives these replies."""
    engine, pool = unconnected(replies, access_key="k", retry_for=retry_for)
    return engine.queue("q"), pool


def body_of(request: Request) -> Any:
    """The JSON that was sent."""
    return json.loads(request.body or b"")


def async_queue_with(response: Response) -> AsyncQueue:
    """The queue q of a client for asyncio, for which each call gets this answer."""
    queue = AsyncJobEngine("http://server.example", access_key="k").queue("q")

    async def exchange(request: Request) -> Response:
        return response

    queue._caller.pool.exchange = exchange  # type: ignore[method-assign]  # instead of a connection
    return queue
