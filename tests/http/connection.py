"""A connection to a server in memory, byte by byte."""

import re
from typing import Any

from attrs import define, field, frozen
from twisted.internet.address import IPv4Address
from twisted.internet.testing import StringTransportWithDisconnection

from tests.doubles import MemoryServer
from tests.schema import check_answer


@frozen
class RawAnswer:
    """One answer as it was on the wire."""

    status: int
    headers: dict[str, str]
    body: bytes


class Transport(StringTransportWithDisconnection):
    """Records that the server has closed its sending side."""

    write_closed = False

    def loseWriteConnection(self) -> None:
        self.write_closed = True


def request(method: str, target: str, *headers: str, body: bytes = b"", version: str = "HTTP/1.1") -> bytes:
    """A request as bytes, with a Content-Length if there is a body."""
    lines = [f"{method} {target} {version}", "Host: jobengine", *headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def parse(data: bytes) -> list[RawAnswer]:
    """The answers in the bytes of a server; raises AssertionError for any other bytes."""
    answers = []
    while data:
        head, found, data = data.partition(b"\r\n\r\n")
        assert found, head
        first, *lines = head.decode("latin-1").split("\r\n")
        matched = re.fullmatch(r"HTTP/1\.[01] (\d{3}) [\w -]+", first)
        assert matched is not None, first
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        body, data = _body(headers, data)
        answers.append(RawAnswer(int(matched[1]), headers, body))
    return answers


def head_of(data: bytes) -> RawAnswer:
    """The answer to HEAD, which has no body."""
    head, _, body = data.partition(b"\r\n\r\n")
    assert body == b""
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    return RawAnswer(int(first.split(" ")[1]), headers, b"")


def _body(headers: dict[str, str], data: bytes) -> tuple[bytes, bytes]:
    if headers.get("transfer-encoding") != "chunked":
        length = int(headers.get("content-length", 0))
        assert len(data) >= length
        return data[:length], data[length:]
    body = b""
    while True:
        size, _, data = data.partition(b"\r\n")
        length = int(size, 16)
        body, data = body + data[:length], data[length + 2 :]
        if not length:
            return body, data


@define
class Connection:
    """One client's connection to `server`, driven by hand."""

    server: MemoryServer
    channel: Any = field(init=False)
    transport: Transport = field(factory=Transport, init=False)

    def __attrs_post_init__(self) -> None:
        self.channel = self.server.site.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1))
        self.transport.protocol = self.channel
        self.channel.makeConnection(self.transport)

    def send(self, data: bytes) -> "Connection":
        self.channel.dataReceived(data)
        self.server.pump()
        return self

    def wait(self, seconds: float) -> "Connection":
        """Advance the clock of the connection and of the engine."""
        reactor: Any = self.server.site.reactor
        reactor.advance(seconds)
        self.server.clock.advance(seconds)
        return self

    def go(self) -> None:
        """Disconnect."""
        if self.transport.connected:
            self.transport.loseConnection()
        self.server.pump()

    @property
    def sent(self) -> bytes:
        """All bytes that came from the server."""
        return self.transport.value()

    @property
    def answers(self) -> list[RawAnswer]:
        return parse(self.sent)

    @property
    def open(self) -> bool:
        return self.transport.connected

    def refusal(self, method: str = "GET", path: str = "/test") -> RawAnswer:
        """The only answer on this connection, after checking that the server closed it."""
        (answer,) = self.answers
        check_answer(method, path, answer.status, answer.headers, answer.body)
        assert answer.headers["connection"] == "close"
        return answer
