"""The outcome of bytes on a connection, whatever pieces they arrive in."""

import re
from typing import Any, Final

from twisted.internet.address import IPv4Address
from twisted.internet.testing import MemoryReactorClock
from twisted.web.resource import Resource

from jobengine.http.limits import Limits
from jobengine.http.site import JobSite

from .connection import Transport

LIMITS: Final = Limits(headers=8, header_bytes=400, body_bytes=40, bulk_body_bytes=80)
FIRST: Final = b"GET /first HTTP/1.1\r\nHost: jobengine.test\r\n\r\n"
_STATUS: Final = re.compile(rb"HTTP/1\.[01] (\d{3}) ")


class Kept(Resource):
    """Records the parts of every request, and answers it."""

    isLeaf = True  # noqa: N815  # Twisted's name

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[Any] = []

    def render(self, request: Any) -> bytes:
        self.requests.append(
            {
                "line": (request.method, request.uri, request.path, request.args, request.clientproto),
                "headers": list(request.requestHeaders.getAllRawHeaders()),
                "body": request.content.read(),
                "cookies": request.received_cookies,
                "persistent": bool(request.channel.persistent),
                "answer": list(request.responseHeaders.getAllRawHeaders()),
            }
        )
        return b"kept"


def outcome(*pieces: bytes) -> Any:
    """The requests that a connection accepts when these pieces follow a first request, and how the connection ends."""
    kept = Kept()
    reactor: Any = MemoryReactorClock()
    site = JobSite(kept, LIMITS, lambda *_: None, reactor)
    channel: Any = site.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1))
    transport = Transport()
    transport.protocol = channel
    channel.makeConnection(transport)
    for piece in (FIRST, *pieces):
        if transport.connected:
            channel.dataReceived(piece)
        while channel._planned:
            reactor.advance(0)
    for seen in kept.requests:
        seen["answer"] = [(name, value) for name, value in seen["answer"] if name not in (b"Date", b"X-Request-Id")]
    statuses = [int(status) for status in _STATUS.findall(transport.value())]
    return kept.requests[1:], statuses[1:], transport.connected, transport.write_closed, channel._phase
