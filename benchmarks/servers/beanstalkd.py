"""beanstalkd, which has its jobs in a log on disk: it syncs at every write, or every 50 ms as it does by itself."""

import shutil
import socket
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

from attrs import define

from ..calls import CONTENT_BYTES
from ..machine import Effort, version
from .server import Failed, Run, Server

_PUT = b"put 1024 0 600 %d\r\n%s\r\n" % (len(CONTENT_BYTES), CONTENT_BYTES)
_RESERVE = b"reserve\r\n"
#: How the answers end: in pieces of such a size they come at once, but nobody promises it.
_LINE, _JOB = b"\r\n", CONTENT_BYTES + b"\r\n"
_SINGLES, _PIPELINES = 32, 4


@define(eq=False, kw_only=True)
class Beanstalkd(Server):
    """One of the two kinds; the client is one process with plain sockets, which asks on all and then reads from all."""

    name: str = "beanstalkd"
    package: str = "beanstalkd"
    #: Whether it syncs before it answers.
    syncs: bool = False

    def found(self) -> bool:
        """Whether it is installed."""
        return shutil.which("beanstalkd") is not None

    def version(self) -> str:
        """Its name and version."""
        return version(["beanstalkd", "-v"], r"(beanstalkd \S+)")

    def start(self, home: Path) -> None:
        """Start it with its log in the directory."""
        often = ["-f", "0"] if self.syncs else []
        command = ["beanstalkd", "-l", "127.0.0.1", "-p", str(self.port), "-b", str(home), *often]
        self.launch(command, home, self.listens)

    def singles(self, seconds: float) -> Run:
        """Jobs are put, reserved and deleted, one by one."""
        return self._lives(_SINGLES, 1, seconds)

    def bulk(self, size: int, seconds: float) -> Run:
        """Jobs are put, reserved and deleted, so many in one write."""
        return self._lives(_PIPELINES, size, seconds)

    def _lives(self, connections: int, size: int, seconds: float) -> Run:
        sockets, jobs = self._connect(connections), 0
        with Effort.measured() as effort:
            deadline = perf_counter() + seconds
            while perf_counter() < deadline:
                _ask(sockets, [_PUT * size] * connections)
                _read(sockets, _LINE, size)
                _ask(sockets, [_RESERVE * size] * connections)
                ids = [_ids(answer) for answer in _read(sockets, _JOB, size)]
                _ask(sockets, [b"".join([b"delete %s\r\n" % job for job in each]) for each in ids])
                _read(sockets, _LINE, size, b"DELETED")
                jobs += connections * size
        return Run(jobs / effort.seconds, effort.share)

    def adding(self, size: int, seconds: float) -> Run:
        """Jobs are put alone, so many in one write."""
        sockets, jobs = self._connect(_PIPELINES), 0
        with Effort.measured() as effort:
            deadline = perf_counter() + seconds
            while perf_counter() < deadline:
                _ask(sockets, [_PUT * size] * len(sockets))
                _read(sockets, _LINE, size)
                jobs += len(sockets) * size
        return Run(jobs / effort.seconds, effort.share)

    def _connect(self, number: int) -> list[socket.socket]:
        return [socket.create_connection(("127.0.0.1", self.port), timeout=30) for _ in range(number)]


def _ask(sockets: Sequence[socket.socket], requests: Sequence[bytes]) -> None:
    for connection, request in zip(sockets, requests, strict=True):
        connection.sendall(request)


def _read(sockets: Sequence[socket.socket], end: bytes, size: int, begin: bytes = b"") -> list[bytes]:
    """The answers to so many commands on each, which each end alike; raises Failed if they begin otherwise."""
    answers = [_read_one(connection, end, size) for connection in sockets]
    if not all(answer.startswith(begin) for answer in answers):
        raise Failed(f"beanstalkd answered {answers[0][:80]!r}")
    return answers


def _read_one(connection: socket.socket, end: bytes, size: int) -> bytes:
    answer = connection.recv(1 << 20)
    # With one command the end is all that there is to look for.
    while not answer.endswith(end) or (size > 1 and answer.count(end) < size):
        more = connection.recv(1 << 20)
        if not more:
            raise Failed("beanstalkd closed the connection")
        answer += more
    return answer


def _ids(answer: bytes) -> list[bytes]:
    """Of the jobs that were reserved: each is RESERVED, its id, its length, and its content in a line of its own."""
    return [line.split(b" ", 2)[1] for line in answer.split(b"\r\n")[:-1:2]]
