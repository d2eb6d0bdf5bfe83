"""Connections with blocking sockets, for threads."""

import socket
import threading
import time
from collections.abc import Callable, Generator
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
#: Seconds after which an idle connection is checked before it is used: a server that stopped has closed it.
_FRESH: Final = 0.5
#: Seconds for making a connection.
_CONNECTING: Final = 10.0
#: Seconds to wait for the answer to an interrupted claim, in order to release the jobs in it.
_RESCUE: Final = 0.1
_CHUNK: Final = 1 << 16

T = TypeVar("T")
#: A generator of T.
Stream = Generator[T, None, None]

sleep = time.sleep
monotonic = time.monotonic


def blocking(call: Callable[..., T], *arguments: Any) -> T:
    """Run a blocking call in the calling thread."""
    return call(*arguments)


class Pool:
    """One connection for each request in flight; idle connections are kept and used again."""

    def __init__(self, address: Address, tls: Callable[[], Any]) -> None:
        self.address = address
        self._tls = tls
        self.closed = False
        self.after_fork()

    def after_fork(self) -> None:
        """Forget all connections: they belong to the parent process."""
        # Reentrant: while a thread holds the lock, the garbage collector may close a generator, which takes the lock to
        # drop its connection.
        self._lock = threading.RLock()
        self._idle: list[_Connection] = []
        self._used: set[_Connection] = set()

    def close(self) -> None:
        """Close all connections; open calls raise Broken."""
        with self._lock:
            self.closed = True
            connections = [*self._idle, *self._used]
            self._idle.clear()
        for connection in connections:
            connection.abort()

    def exchange(self, request: Request) -> Response:
        """Send a request and return the answer; raises NotConnected or Broken."""
        return self.finish(request, self.begin(request))

    def begin(self, request: Request) -> "_Connection":
        """Send a request; `finish` returns its answer. Raises NotConnected or Broken."""
        connection = self._connection(request)
        try:
            connection.send(request)
        except BaseException:
            self.drop(connection)
            raise
        return connection

    def finish(self, request: Request, connection: "_Connection") -> Response:
        """The answer to a request from `begin`; raises Broken."""
        try:
            response = connection.receive()
        except Broken:
            self.drop(connection)
            raise
        except BaseException:
            self._rescue(request, connection)
            raise
        self._keep(connection)
        return response

    def drop(self, connection: "_Connection") -> None:
        """Close a connection whose answer can't arrive, or is not needed any more."""
        with self._lock:
            self._used.discard(connection)
        connection.abort()

    def stream(self, request: Request, silence: float) -> Stream[Response | bytes]:
        """Yield the head of an answer, then parts of its body; raises Broken after `silence` seconds without data."""
        connection = self._connection(request)
        try:
            connection.send(request)
            yield from connection.parts(silence)
        finally:
            self.drop(connection)

    def _connection(self, request: Request) -> "_Connection":
        while True:
            with self._lock:
                if self.closed:
                    raise NotConnected("the client was closed")
                connection = self._idle.pop() if self._idle else None
            if connection is None:
                connection = _Connection(self.address, self._tls, min(request.seconds, _CONNECTING))
            elif not connection.usable():
                connection.abort()
                continue
            connection.deadline = monotonic() + request.seconds
            with self._lock:
                self._used.add(connection)
                if self.closed:  # the pool was closed before it knew this connection
                    connection.abort()
            return connection

    def _keep(self, connection: "_Connection") -> None:
        with self._lock:
            self._used.discard(connection)
            if connection.parser.reusable and not self.closed:
                connection.idle_since = monotonic()
                self._idle.append(connection)
                return
        connection.abort()

    def _rescue(self, request: Request, connection: "_Connection") -> None:
        """After the caller was interrupted, release any jobs in the answer, and close the connection."""
        response = None
        if request.abandoned is not None:
            connection.deadline = monotonic() + _RESCUE
            with suppress(Broken):
                response = connection.receive()
        self.drop(connection)
        if response is not None and request.abandoned is not None:
            request.abandoned(response)


class _Connection:
    """A connection, with at most one request under way."""

    def __init__(self, address: Address, tls: Callable[[], Any], seconds: float) -> None:
        self._address = address
        self._socket = _connect(address, tls, seconds)
        self.parser = ResponseParser()
        #: When the answer to the request in flight is due, by the monotonic clock.
        self.deadline = 0.0
        self.idle_since = 0.0
        self._used_before = False

    def usable(self) -> bool:
        """Whether an idle connection is probably still open."""
        idle = monotonic() - self.idle_since
        if idle < _FRESH:
            return True
        return idle < _IDLE and not self._something_came()

    def _something_came(self) -> bool:
        """Whether the server has sent bytes on an idle connection or closed it: then it can't be used again."""
        self._socket.settimeout(0)
        try:
            self._socket.recv(1)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:  # TLS reports in this way that it would block
            return not _wants_read(error)
        return True

    def send(self, request: Request) -> None:
        """Send a request; raises Broken."""
        self.parser.expect()
        try:
            self._socket.settimeout(self._left())
            self._socket.sendall(request.encode(self._address))
        except TimeoutError:
            raise Broken(f"the request could not be sent within {request.seconds:g} s") from None
        except OSError as error:
            self._hear(error)

    def _hear(self, error: OSError) -> None:
        """
        After a failed send, read the answer of a server that stopped reading, for example a refusal of a long body;
        raises Broken if there is none.
        """
        self.deadline = min(self.deadline, monotonic() + 1)
        try:
            while not self.parser.complete:
                self._read()
        except Broken as broken:
            raise Broken(_text(error), stale=broken.stale) from None
        self.parser.reusable = False

    def receive(self) -> Response:
        """The answer to the last request; raises Broken."""
        while not self.parser.complete:
            self._read()
        self._used_before = True
        return self.parser.response()

    def parts(self, silence: float) -> Stream[Response | bytes]:
        """Yield the head of the answer, then parts of the body."""
        while self.parser.head is None:
            self._read()
        yield self.parser.head
        while True:
            yield self.parser.take()
            if self.parser.complete:
                return
            self.deadline = monotonic() + silence
            self._read()

    def _read(self) -> None:
        data = self._receive_some()
        if data:
            self.parser.feed(data)
        elif not self.parser.begun:
            raise closed_without_answer(self._address, used_before=self._used_before)
        else:
            self.parser.end()

    def _receive_some(self) -> bytes:
        try:
            self._socket.settimeout(self._left())
            return self._socket.recv(_CHUNK)
        except TimeoutError:
            raise Broken("no answer came in time") from None
        except OSError as error:
            raise Broken(_text(error), stale=self._used_before and not self.parser.begun) from None

    def _left(self) -> float:
        left = self.deadline - monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def abort(self) -> None:
        """Close the connection at once, even if a thread waits for an answer."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        with suppress(OSError):
            self._socket.close()


def _connect(address: Address, tls: Callable[[], Any], seconds: float) -> socket.socket:
    try:
        connection = socket.create_connection((address.host, address.port), seconds)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if not address.tls:
            return connection
        try:
            secured: socket.socket = tls().wrap_socket(connection, server_hostname=address.host)
        except BaseException:
            connection.close()
            raise
        return secured
    except OSError as error:
        raise not_connected(error) from None


def _wants_read(error: OSError) -> bool:
    return type(error).__name__ in ("SSLWantReadError", "SSLWantWriteError")


def _text(error: OSError) -> str:
    return error.strerror or str(error) or type(error).__name__
