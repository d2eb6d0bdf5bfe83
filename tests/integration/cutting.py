"""A local proxy that cuts a connection after a number of bytes."""

import socket
import threading
from contextlib import suppress
from pathlib import Path
from typing import Self


class CuttingProxy:
    """
    Forwards bytes to a server; `cut` makes it break one connection after a number of bytes.

    Bytes after the cut are not passed on: the server gets an incomplete request, or the client an incomplete answer.
    """

    def __init__(self, port: int) -> None:
        #: The server's address, which may change later.
        self.server_port = port
        #: Whether new connections are closed at once.
        self.refuses = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._left: dict[str, int | None] = {"request": None, "answer": None}
        self._open: set[socket.socket] = set()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.break_all()
        for thread in self._threads:
            thread.join(20)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def cut(self, direction: str, after: int) -> None:
        """Cut after this many more bytes in the direction "request" or "answer"."""
        with self._lock:
            self._left[direction] = after

    def has_cut(self) -> bool:
        """Whether the cut was made; if not, it is cancelled."""
        with self._lock:
            done = self._left == {"request": None, "answer": None}
            self._left = {"request": None, "answer": None}
            return done

    def break_all(self) -> None:
        """Break all connections."""
        with self._lock:
            ends = list(self._open)
        for end in ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def passed(self, direction: str, before: int) -> int:
        """The bytes passed since `cut` was called with `before`; cancels this cut."""
        with self._lock:
            left, self._left[direction] = self._left[direction], None
            return before - (left or 0)

    def _connect(self) -> socket.socket:
        if self.refuses:
            raise ConnectionRefusedError
        return socket.create_connection(("127.0.0.1", self.server_port))

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                try:
                    server = self._connect()
                except OSError:
                    client.close()
                    continue
                with self._lock:
                    self._open |= {client, server}
                for source, target, direction in ((client, server, "request"), (server, client, "answer")):
                    thread = threading.Thread(target=self._pump, args=(source, target, direction), daemon=True)
                    thread.start()
                    self._threads.append(thread)

    def _pump(self, source: socket.socket, target: socket.socket, direction: str) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                passed, cut = self._passed(direction, data)
                target.sendall(passed)
                if cut:
                    break
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        with self._lock:
            if source not in self._open:
                # The other direction has ended too, so both sockets are unused.
                source.close()
                target.close()
            self._open -= {source, target}

    def _passed(self, direction: str, data: bytes) -> tuple[bytes, bool]:
        with self._lock:
            left = self._left[direction]
            if left is None:
                return data, False
            if self._spares(direction, len(data), left):
                self._left[direction] = left - len(data)
                return data, False
            self._left[direction] = None
            return data[:left], True

    def _spares(self, direction: str, length: int, left: int) -> bool:
        """Whether this many bytes pass without a cut, if the cut is due after `left` bytes."""
        return length < left


class UnixProxy(CuttingProxy):
    """
    The same for a server with a Unix socket.

    It does not cut just after a whole answer: the client would notice it only at its next request, and connect again
    while the next cut is prepared.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        super().__init__(0)

    def _connect(self) -> socket.socket:
        if self.refuses:
            raise ConnectionRefusedError
        server = socket.socket(socket.AF_UNIX)
        server.connect(str(self._path))
        return server

    def _spares(self, direction: str, length: int, left: int) -> bool:
        return super()._spares(direction, length, left) or (direction == "answer" and length == left)
