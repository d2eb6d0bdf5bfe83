"""Answers without a request: to one that is refused before it is complete, and to a connection beyond the limit."""

from http import HTTPStatus

from twisted.internet.protocol import Protocol

from .problem import Problem

__all__ = ["Overflow", "raw_response"]


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
    """A connection beyond the limit: it gets an answer and is closed."""

    def connectionMade(self) -> None:
        """Say why, and close."""
        assert self.transport is not None
        detail = "The server has reached its limit of connections; try again, or keep one open and reuse it."
        problem = Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, {"Retry-After": "1"})
        self.transport.write(raw_response(problem))
        self.transport.loseConnection()
