"""Connections in an event loop, for asyncio."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import suppress
from typing import Any, Final, TypeVar

from ..http_codec import (
    Address,
    Broken,
    NotConnected,
    Request,
    Response,
    ResponseParser,
    closed_without_answer,
    not_connected,
)

#: Seconds after which an idle connection is no longer used; the server closes it after 60.
_IDLE: Final = 30.0
#: Seconds for making a connection.
_CONNECTING: Final = 10.0
#: Seconds to wait for the answer to a cancelled claim, in order to release the jobs in it.
_RESCUE: Final = 0.1
#: The most connections for ordinary requests; long polls may use more.
_MOST: Final = 100

T = TypeVar("T")
#: An asynchronous generator of T.
Stream = AsyncGenerator[T, None]

sleep = asyncio.sleep
#: Runs a blocking call in a thread.
blocking = asyncio.to_thread
monotonic = time.monotonic


class Pool:
    """One connection for each request in flight; idle connections are kept and used again."""

    def __init__(self, address: Address, tls: Callable[[], Any]) -> None:
        self.address = address
        self._tls = tls
        self.closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self.after_fork()

    def after_fork(self) -> None:
        """Forget all connections: they belong to the parent process or to another loop."""
        self._idle: list[_Connection] = []
        self._used: set[_Connection] = set()
        self._rescues: set[asyncio.Task[None]] = set()
        self._turns = asyncio.Semaphore(_MOST)

    async def close(self) -> None:
        """Close all connections; open calls raise Broken."""
        if self._rescues:
            await asyncio.wait(self._rescues)
        self.closed = True
        for connection in [*self._idle, *self._used]:
            connection.abort()
        self._idle.clear()

    async def exchange(self, request: Request) -> Response:
        """Send a request and return the answer; raises NotConnected or Broken."""
        self._check()
        if request.waits:
            return await self.finish(request, await self.begin(request))
        async with self._turns:
            return await self.finish(request, await self.begin(request))

    async def begin(self, request: Request) -> "_Connection":
        """Send a request; `finish` returns its answer. Raises NotConnected or Broken."""
        self._check()
        connection = self._free() or await self._connect(min(request.seconds, _CONNECTING))
        self._used.add(connection)
        try:
            connection.send(request)
        except BaseException:
            self.drop(connection)
            raise
        return connection

    async def finish(self, request: Request, connection: "_Connection") -> Response:
        """The answer to a request from `begin`; raises Broken."""
        try:
            response = await connection.receive()
        except Broken:
            self.drop(connection)
            raise
        except BaseException:
            self._abandon(request, connection)
            raise
        self._keep(connection)
        return response

    def drop(self, connection: "_Connection") -> None:
        """Close a connection whose answer can't arrive, or is not needed any more."""
        self._used.discard(connection)
        connection.abort()

    async def stream(self, request: Request, silence: float) -> Stream[Response | bytes]:
        """Yield the head of an answer, then parts of its body; raises Broken after `silence` seconds without data."""
        connection = await self.begin(request)
        connection.parser.streamed = True
        try:
            async for part in connection.parts(silence):
                yield part
        finally:
            self.drop(connection)

    def _check(self) -> None:
        if self.closed:
            raise NotConnected("the client was closed")
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self.after_fork()
            self._loop = loop

    def _free(self) -> "_Connection | None":
        while self._idle:
            connection = self._idle.pop()
            if connection.usable():
                return connection
            connection.abort()
        return None

    async def _connect(self, seconds: float) -> "_Connection":
        address = self.address
        options = {"ssl": self._tls(), "server_hostname": address.host} if address.tls else {}
        loop = asyncio.get_running_loop()
        making = loop.create_connection(lambda: _Connection(address, loop), address.host, address.port, **options)
        try:
            _, connection = await asyncio.wait_for(making, seconds)
        except TimeoutError:
            raise NotConnected("no connection was made in time") from None
        except OSError as error:
            raise not_connected(error) from None
        return connection

    def _keep(self, connection: "_Connection") -> None:
        self._used.discard(connection)
        if connection.parser.reusable and not self.closed:
            connection.idle_since = monotonic()
            self._idle.append(connection)
        else:
            connection.abort()

    def _abandon(self, request: Request, connection: "_Connection") -> None:
        """After the caller was cancelled, start a task that releases any jobs in the answer."""
        if request.abandoned is None:
            self.drop(connection)
            return
        task = asyncio.get_running_loop().create_task(self._rescue(request, connection))
        self._rescues.add(task)
        task.add_done_callback(self._rescues.discard)

    async def _rescue(self, request: Request, connection: "_Connection") -> None:
        response = None
        try:
            with suppress(Broken):
                response = await connection.receive(_RESCUE)
        finally:
            self.drop(connection)  # so the server sees that this client is gone
        giving_back = None if response is None or request.abandoned is None else request.abandoned(response)
        if isinstance(giving_back, Coroutine):
            await giving_back


class _Connection(asyncio.Protocol):
    """A connection, with at most one request in flight."""

    def __init__(self, address: Address, loop: asyncio.AbstractEventLoop) -> None:
        self._address = address
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._broken: Broken | None = None
        self._used_before = False
        self._seconds = 0.0
        self.parser = ResponseParser()
        self.idle_since = 0.0

    def usable(self) -> bool:
        """Whether an idle connection is still open."""
        return self._broken is None and not self.parser.begun and monotonic() - self.idle_since < _IDLE

    def send(self, request: Request) -> None:
        """Send a request, or the beginning of it."""
        assert self._transport is not None
        self.parser.expect()
        self._seconds = request.seconds
        self._transport.write(request.encode(self._address))

    async def receive(self, seconds: float | None = None) -> Response:
        """The answer to the request, within the request's time limit or `seconds`; raises Broken."""
        await self._until(lambda: self.parser.complete, self._seconds if seconds is None else seconds)
        self._used_before = True
        response = self.parser.response()
        reusable = self.parser.reusable and self._broken is None
        self.parser.expect()
        self.parser.reusable = reusable
        return response

    async def parts(self, silence: float) -> Stream[Response | bytes]:
        """Yield the head of the answer, then parts of the body."""
        await self._until(lambda: self.parser.head is not None, self._seconds)
        assert self.parser.head is not None
        assert self._transport is not None
        yield self.parser.head
        while True:
            # Pause reading while the caller handles these parts: the server then stops sending.
            self._transport.pause_reading()
            yield self.parser.take()
            self._transport.resume_reading()
            if self.parser.complete:
                return
            await self._until(None, silence)

    async def _until(self, come: Callable[[], bool] | None, seconds: float) -> None:
        """Wait until `come` returns true or, if `come` is None, for any bytes; raises Broken."""
        late = self._loop.call_later(seconds, self._fail, Broken("no answer came in time"))
        try:
            while come is None or not come():
                if self._broken is not None:
                    raise self._broken
                self._waiter = self._loop.create_future()
                await self._waiter
                if come is None:
                    return
        finally:
            late.cancel()
            self._waiter = None

    def abort(self) -> None:
        """Close the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    def _fail(self, broken: Broken) -> None:
        if self._broken is None:
            self._broken = broken
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # Callbacks of the loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Parse the bytes that have arrived."""
        try:
            self.parser.feed(data)
        except Broken as broken:
            self._fail(broken)
        if self.parser.complete or self.parser.streamed:
            self._wake()

    def eof_received(self) -> None:
        """End the answer, or fail if it is incomplete."""
        if not self.parser.begun:
            self._fail(closed_without_answer(self._address, used_before=self._used_before))
            return
        try:
            if not self.parser.complete:
                self.parser.end()
            self._wake()
        except Broken as broken:
            self._fail(broken)

    def connection_lost(self, error: Exception | None) -> None:
        """Record that the connection is broken; an incomplete answer then raises Broken."""
        why = getattr(error, "strerror", None) or (str(error) if error else "the connection was closed")
        self._fail(Broken(why, stale=self._used_before and not self.parser.begun))
