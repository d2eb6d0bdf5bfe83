"""beanstalkd with its log on disk: it syncs at every write, or every 50 ms, which is its default."""

import shutil
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter

from attrs import define, frozen

from ..calls import CONTENT_BYTES, connect
from ..machine import Effort, version
from .server import Failed, Run, Server

_PUT = b"put 1024 0 600 %d\r\n%s\r\n" % (len(CONTENT_BYTES), CONTENT_BYTES)
_RESERVE = b"reserve\r\n"
#: How answers end. An answer of this size usually comes in one piece, but that is not guaranteed.
_LINE, _JOB = b"\r\n", CONTENT_BYTES + b"\r\n"
_SINGLES, _PIPELINES = 32, 4


@define(eq=False, kw_only=True)
class Beanstalkd(Server):
    """
    beanstalkd, with or without a sync at every write. Its client is one process with plain sockets: it writes to all
    sockets, then reads from all.
    """

    name: str = "beanstalkd"
    package: str = "beanstalkd"
    #: Whether beanstalkd syncs its log before it answers.
    syncs: bool = False

    def found(self) -> bool:
        """Whether beanstalkd is installed."""
        return shutil.which("beanstalkd") is not None

    def version(self) -> str:
        """The name and version of beanstalkd."""
        return version(["beanstalkd", "-v"], r"(beanstalkd \S+)")

    def start(self, home: Path) -> None:
        """Start beanstalkd with its log in the directory."""
        often = ["-f", "0"] if self.syncs else []
        command = ["beanstalkd", "-l", "127.0.0.1", "-p", str(self.port), "-b", str(home), *often]
        self.launch(command, home, self.listens)

    def singles(self, seconds: float) -> Run:
        """Put, reserve and delete jobs one by one."""
        return self._lives(_SINGLES, 1, seconds)

    def bulk(self, size: int, seconds: float) -> Run:
        """Put, reserve and delete jobs, `size` of them in one write."""
        return self._lives(_PIPELINES, size, seconds)

    def _lives(self, connections: int, size: int, seconds: float) -> Run:
        crowd, jobs = _Crowd.connected(self.port, connections, size), 0
        puts, reserves = [_PUT * size] * connections, [_RESERVE * size] * connections
        with Effort.measured() as effort:
            deadline = perf_counter() + seconds
            while perf_counter() < deadline:
                crowd.ask(puts, b"INSERTED", _LINE)
                reserved = crowd.ask(reserves, b"RESERVED", _JOB)
                crowd.ask([_deletes(answer) for answer in reserved], b"DELETED", _LINE)
                jobs += connections * size
        return Run(jobs / effort.seconds, effort.share)

    def adding(self, size: int, seconds: float) -> Run:
        """Only put jobs, `size` of them in one write."""
        crowd, jobs = _Crowd.connected(self.port, _PIPELINES, size), 0
        with Effort.measured() as effort:
            deadline = perf_counter() + seconds
            while perf_counter() < deadline:
                crowd.ask([_PUT * size] * _PIPELINES, b"INSERTED", _LINE)
                jobs += _PIPELINES * size
        return Run(jobs / effort.seconds, effort.share)


@frozen
class _Crowd:
    """Connections that all send at once. The methods of their sockets are looked up only once, to save time."""

    sockets: Sequence[socket.socket]
    send: Sequence[Callable[[bytes], object]]
    receive: Sequence[Callable[[int], bytes]]
    #: Commands in a write.
    size: int

    @classmethod
    def connected(cls, port: int, number: int, size: int) -> "_Crowd":
        """Make `number` connections."""
        sockets = [connect(port) for _ in range(number)]
        return cls(sockets, [each.sendall for each in sockets], [each.recv for each in sockets], size)

    def ask(self, requests: Sequence[bytes], begin: bytes, end: bytes) -> list[bytes]:
        """The answer on each connection; raises Failed if a part of an answer lacks the given beginning and end."""
        for send, request in zip(self.send, requests, strict=True):
            send(request)
        length = 128 * self.size
        answers = [receive(length) for receive in self.receive]
        for number, answer in enumerate(answers):
            if not answer.startswith(begin):
                raise Failed(f"beanstalkd answered {answer[:80]!r}")
            # With one command in a write, checking the end is enough.
            if not answer.endswith(end) or (self.size > 1 and answer.count(end) < self.size):
                answers[number] = self._rest(number, answer, end)
        return answers

    def _rest(self, number: int, answer: bytes, end: bytes) -> bytes:
        while not answer.endswith(end) or answer.count(end) < self.size:
            more = self.receive[number](1 << 18)
            if not more:
                raise Failed("beanstalkd closed the connection")
            answer += more
        return answer


def _deletes(answer: bytes) -> bytes:
    """Commands that delete the jobs in an answer, which has two lines for each: RESERVED ID LENGTH, and the content."""
    lines = answer.split(b"\r\n")[:-1:2]
    return b"".join([b"delete %s\r\n" % line.split(b" ", 2)[1] for line in lines])
