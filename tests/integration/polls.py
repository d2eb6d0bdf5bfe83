"""Long polls over plain sockets, which can end in every way a connection can, and the system calls of a process."""

import json
import re
import socket
import struct
import time
from collections.abc import Callable, Iterable
from http.client import HTTPResponse
from pathlib import Path
from typing import Any, Final

from attrs import define, field, frozen

from .daemons import DEADLINE, STRACE, Daemon

_KEY: Final = "Host: x\r\nX-Access-Key: key\r\n"


@define
class Poll:
    """A connection that waits for a job."""

    connection: socket.socket

    @classmethod
    def connect(cls, port: int) -> "Poll":
        """Connect, and make a request: its answer shows that the daemon has accepted the connection."""
        poll = cls(socket.create_connection(("127.0.0.1", port), timeout=DEADLINE))
        poll.connection.sendall(f"GET /test HTTP/1.1\r\n{_KEY}\r\n".encode())
        assert poll.answer()[0] == 200
        return poll

    def begin(self, wait: float = 50, queue: str = "q") -> None:
        """Ask for a job."""
        path = f"/api/v1/job/next?queueName={queue}&markQueued=true&wait={wait}"
        self.connection.sendall(f"GET {path} HTTP/1.1\r\n{_KEY}\r\n".encode())

    def watch(self, queue: str = "q") -> None:
        """Ask for events."""
        self.connection.sendall(f"GET /api/v1/events?queueName={queue} HTTP/1.1\r\n{_KEY}\r\n".encode())

    def answer(self) -> tuple[int, Any]:
        """The status and the job, or None."""
        response = HTTPResponse(self.connection)
        response.begin()
        body = response.read()
        return response.status, json.loads(body) if body else None

    def rest(self) -> bytes:
        """The bytes until the connection ends."""
        parts = []
        while part := self.connection.recv(65536):
            parts.append(part)
        return b"".join(parts)

    def job(self) -> Any:
        """The job that it was given."""
        status, job = self.answer()
        assert status == 200, status
        return job

    def close(self) -> None:
        """Disconnect: the daemon gets a FIN."""
        self.connection.close()

    def half_close(self) -> None:
        """Close the sending side; the other direction stays open."""
        self.connection.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Disconnect abruptly: the daemon gets an RST."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()


@define
class Polls:
    """Polls that begin one after the other, each after the daemon has received the previous one."""

    daemon: Daemon
    all: list[Poll] = field(factory=list)

    def add(self, number: int, **more: Any) -> list[Poll]:
        """Begin this many more polls."""
        new = [Poll.connect(self.daemon.port) for _ in range(number)]
        self.all += new
        return self.begin(new, **more)

    def begin(self, polls: Iterable[Poll], **more: Any) -> list[Poll]:
        begun = list(polls)
        with self.daemon.client(sampled=True) as client:
            for poll in begun:
                poll.begin(**more)
                # The answer shows that everything sent before has reached the daemon.
                assert client.call("GET", "/test").status == 200
        return begun

    def end(self, polls: Iterable[Poll], how: Callable[[Poll], None]) -> None:
        """End polls, and wait until the daemon has noticed."""
        for poll in polls:
            how(poll)
        with self.daemon.client(sampled=True) as client:
            assert client.call("GET", "/test").status == 200

    def close(self) -> None:
        for poll in self.all:
            poll.close()


@frozen
class Traced:
    """The system calls of a daemon that strace starts."""

    path: Path

    @property
    def prefix(self) -> tuple[str, ...]:
        """The command that runs the daemon under strace."""
        return (*STRACE, "-ttt", "-o", str(self.path))

    def calls(self, seconds: float, meanwhile: Callable[[], object] = lambda: None) -> list[str]:
        """The calls that threads begin within this many seconds."""
        # First let the daemon finish the work of the last request.
        time.sleep(0.3)
        began = time.time()
        meanwhile()
        time.sleep(seconds)
        calls = re.findall(r"^\d+ +(\d+\.\d+) (.*)$", self.path.read_text(), re.MULTILINE)
        assert any("epoll_wait(" in call for _, call in calls)
        return [call for at, call in calls if float(at) > began]
