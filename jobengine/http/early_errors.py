"""
Answers without a request object: for a request refused before it is complete, and for a connection beyond the
limit.
"""

from http import HTTPStatus
from typing import Final

from twisted.internet.protocol import Protocol

from .problem import Problem

NO_REQUEST: Final = Problem(HTTPStatus.BAD_REQUEST, "This is not an HTTP/1.1 request.")
_NO_TLS: Final = Problem(HTTPStatus.BAD_REQUEST, "This port speaks HTTP without TLS; begin the address with http://.")
#: Control bytes, except those of an empty line before a request; TLS begins with 0x16.
_NEVER_FIRST: Final = frozenset(range(0x20)) - frozenset(b"\r\n")


def first_byte_problem(data: bytes) -> Problem | None:
    """
    The problem to answer if `data` can't begin a request, such as a TLS handshake. Waiting for the end of its first
    line could take forever.
    """
    if not data or data[0] not in _NEVER_FIRST:
        return None
    return _NO_TLS if data[0] == 0x16 else NO_REQUEST


def raw_response(problem: Problem) -> bytes:
    """A whole HTTP response, after which the connection is closed."""
    headers = {
        "Content-Type": "application/problem+json",
        "Content-Length": str(len(problem.body)),
        "Connection": "close",
        "Cache-Control": "no-store",
        **problem.headers,
    }
    lines = [f"HTTP/1.1 {problem.status.value} {problem.status.phrase}", *(f"{k}: {v}" for k, v in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + problem.body


class Overflow(Protocol):
    """The protocol of a connection beyond the limit: it sends an error and closes."""

    def connectionMade(self) -> None:
        """Send the reason, and close."""
        assert self.transport is not None
        detail = "The server has reached its limit of connections; try again, or keep one open and reuse it."
        problem = Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, {"Retry-After": "1"})
        self.transport.write(raw_response(problem))
        self.transport.loseConnection()
