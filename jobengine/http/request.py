"""A request with an id and a bounded body in memory, and the answer to it."""

import re
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from http import HTTPStatus
from io import BytesIO
from itertools import count
from secrets import token_hex
from time import time
from typing import Final, Protocol
from urllib.parse import unquote_to_bytes

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import datetimeToString
from twisted.web.http_headers import Headers
from twisted.web.server import Request, version

from .access_log import Line
from .fast_head_parser import Head
from .limits import Limits
from .problem import Problem
from .unsent_bytes import Unsent

_log: Final = Logger(namespace="jobengine.web")
_PROCESS: Final = token_hex(4)
_numbers: Final = count(1)
_PLAIN_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,64}")


#: The first line of an answer, by status.
_STATUS_LINES: Final = {
    status.value: b"HTTP/1.1 %d %b\r\n" % (status.value, status.phrase.encode()) for status in HTTPStatus
}
#: Characters as numbers: searching for a number takes a tenth of the time of `b"%" in query`.
_EQUALS: Final = ord("=")
_PERCENT: Final = ord("%")
_PLUS: Final = ord("+")
_NO_CONTENT: Final = HTTPStatus.NO_CONTENT.value
#: Statuses without a body, and so without a Content-Length.
_BODILESS: Final = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)
#: The client disconnected before its answer (nginx's number). Only the log and the metrics show it.
_CLIENT_GONE: Final = 499
_HOST_COUNT: Final = Problem(
    HTTPStatus.BAD_REQUEST, "A request must have one Host header; only HTTP/1.0 may leave it out (RFC 9112, 3.2)."
)


def answer(request: "JobRequest", problem: Problem) -> bytes:
    """Prepare `request` to answer with a problem, and return the body to write."""
    for name, value in problem.headers.items():
        request.setHeader(name.encode(), value.encode("latin-1"))
    return request.reply(problem.body, problem.status, b"application/problem+json")


class RequestSite(Protocol):
    """The part of a site that its requests use."""

    reactor: IReactorTime
    #: The connections that are open.
    channels: Collection[object]

    def begin(self, request: "JobRequest") -> bool:
        """Start to answer a request on the fast path; returns False if the fast path can't."""

    def cut_off(self, request: "JobRequest") -> None:
        """Record a request whose connection was lost before the end of its answer."""


class Cancellable(Protocol):
    """The work for a request, which can be cancelled."""

    def cancel(self) -> None:
        """Cancel the work."""


class Connection(Protocol):
    """The part of a connection that its requests use."""

    #: The most bytes of the body.
    body_limit: int
    #: True while the client does not read its answers.
    paused: bool
    limits: Limits
    site: RequestSite
    #: The client's IP address for the log.
    peer_host: str

    def write(self, data: bytes) -> None:
        """Send bytes of the answer."""

    def refuse_body(self) -> None:
        """Refuse a body that is too long."""

    def check_key(self) -> None:
        """Check the access key of a long body."""

    def abort(self) -> None:
        """Break the connection."""

    def unsent(self) -> Unsent | None:
        """The bytes that the client has not read yet, or None if unknown."""


class JobRequest(Request):
    """A request with a bounded body in memory, which reports its end to its site."""

    channel: Connection  # type: ignore[assignment]  # Twisted names its own class; this is all that is used
    #: The work for the answer; cancelled if the client disconnects.
    answering: "Cancellable | None" = None
    #: The answer's content type, set by `reply`.
    _type = b""
    _length: int | None = None
    #: The value of Cache-Control.
    _caching = b"no-store"
    #: Whether the server is breaking the connection because the answer is incomplete.
    broken = False
    #: The values of each header as received, by its name in lower case.
    sent: Mapping[bytes, Sequence[bytes]]
    #: Whether the request was read in one piece. Then Twisted has its headers only after `_fill_headers`.
    _unseen = False
    #: The request's id in the log and in X-Request-Id: the client's own id, or a unique one.
    id = ""
    #: When the request was complete, on the reactor's clock; None before.
    began: float | None = None
    #: The details that the handler adds to the log.
    notes: "dict[str, str | int]"
    #: Whether this is a long poll. The duration of a long poll says nothing about the server's speed, and only a client
    #: that is still connected needs its answer.
    waits = False

    def gotLength(self, length: int | None) -> None:
        """Keep the body in memory: Twisted would write a long one to a temporary file, unencrypted."""
        self.content = BytesIO()
        # Don't parse bodies as forms: handlers refuse forms anyway. The attribute is private to Twisted; if Twisted
        # renames it, forms are parsed needlessly.
        self._parsePOSTFormSubmission = False
        self.sent = by_name(self.requestHeaders)

    def take(self, head: Head, body: bytes) -> None:
        """Set the head and body of this request, which was read in one piece; the body is within the limit."""
        self.method, self.clientproto = head.method, b"HTTP/1.1"
        self.foresee(head.uri, head.headers)
        self._unseen = True
        if b"connection" in head.headers:
            self._fill_headers()
        self.content = BytesIO(body)

    def foresee(self, target: bytes, headers: Mapping[bytes, Sequence[bytes]]) -> None:
        """Set the target, the headers and an id before the body is complete."""
        self.sent = headers
        self.id = f"{_PROCESS}-{next(_numbers)}"
        self.uri = target
        self.path, _, query = target.partition(b"?")
        self.args = _parameters(query) if query else {}

    def _fill_headers(self) -> None:
        """Put the headers where Twisted looks for them."""
        if self._unseen:
            for name, values in self.sent.items():
                self.requestHeaders.setRawHeaders(name, values)

    def getRequestHostname(self) -> bytes:
        """Return nothing: the server answers to any name. Klein would route by the name, and fail on an invalid one."""
        return b""

    def handleContentChunk(self, data: bytes) -> None:
        """Append a piece of the body, unless the body would become too long."""
        assert self.content is not None
        size = self.content.tell() + len(data)
        if size > self.channel.body_limit:
            self.channel.refuse_body()
            return
        if size > self.channel.limits.body_bytes:
            self.channel.check_key()
        super().handleContentChunk(data)

    def body(self) -> bytes:
        """The whole body."""
        assert isinstance(self.content, BytesIO)
        return self.content.getvalue()

    @property
    def gone(self) -> bool:
        """Whether no answer can arrive: the client disconnected, or the connection is being broken."""
        return self.broken or self.channel is None

    def process(self) -> None:
        """Set the request's id, and start to answer it."""
        sent = self.sent.get(b"x-request-id")
        self.id = (sent and _sent_id(sent)) or self.id or f"{_PROCESS}-{next(_numbers)}"
        self.notes = {}
        site = self.channel.site
        self.site = site  # type: ignore[assignment]  # as for channel
        self.began = site.reactor.seconds()
        if not (self._unseen or self._has_its_host()):
            self._end_with(_HOST_COUNT)
            return
        if site.begin(self):
            return
        self._fill_headers()
        try:
            unquote_to_bytes(self.path).decode("utf-8")
        except UnicodeDecodeError:
            self._end_with(Problem(HTTPStatus.BAD_REQUEST, "The path is not UTF-8."))
        else:
            super().process()

    def _has_its_host(self) -> bool:
        """
        Whether the request has exactly one Host header, or none in HTTP/1.0.

        A request that was read in one piece is not checked here, since the fast parser has checked it.
        """
        count = len(self.sent.get(b"host", ()))
        return count == 1 or (count == 0 and self.clientproto == b"HTTP/1.0")

    @property
    def connections(self) -> int:
        """How many connections the site has open."""
        return len(self.channel.site.channels)

    def line(self, seconds: float) -> Line:
        """The line for the log; the request has ended after `seconds`."""
        return Line(
            self.id,
            self.channel.peer_host,
            self.method,
            self.path,
            self.code,
            seconds * 1000,
            time(),
            self.notes,
            self.waits,
        )

    def connectionLost(self, reason: Failure) -> None:
        """The client disconnected: cancel the work for it."""
        if self.began is not None:
            if not self.startedWriting:
                self.code = _CLIENT_GONE
            self.notes["end"] = "broken off" if self.broken else "client gone"
            self.channel.site.cut_off(self)
        super().connectionLost(reason)
        if self.answering is not None:
            self.answering.cancel()

    def reply(self, body: bytes, status: HTTPStatus = HTTPStatus.OK, type_: bytes = b"application/json") -> bytes:
        """Set the status and headers of the answer. Returns the body, to pass to `end` or `write`."""
        self.code, self.code_message = int(status), status.phrase.encode()
        self._type = type_ if body else b""
        self._length = None if status in _BODILESS else len(body)
        return body

    def may_be_kept(self, caching: bytes) -> None:
        """Set the answer's Cache-Control; the default is no-store."""
        self._caching = caching
        self.setHeader(b"Cache-Control", caching)

    def end(self, body: bytes) -> None:
        """Write the last of the answer, and finish it."""
        if self._is_plain():
            self._write_whole(body)
        elif body:
            self.write(body)
        self.finish()

    def write(self, data: bytes) -> None:
        """Write a part of the answer; the first time, also its head."""
        if not self.startedWriting:
            for name, value in self._headers():
                self.setHeader(name, value)
        super().write(data)

    def _is_plain(self) -> bool:
        """
        Whether the fast path can write the answer: nothing is sent yet, HTTP/1.1, and no headers
        besides the usual.
        """
        return (
            not self.startedWriting
            and self.clientproto == b"HTTP/1.1"
            and self.method != b"HEAD"
            and (self._length is not None or self.code == _NO_CONTENT)
            and next(self.responseHeaders.getAllRawHeaders(), None) is None
        )

    def _write_whole(self, body: bytes) -> None:
        """
        Write head and body in one piece.

        Twisted sets, checks and looks up each header, although all of these are known to be valid. Together with the
        fast path from a request to its handler this saves 25 microseconds a request.
        """
        self.startedWriting = 1
        self.sentLength = len(body)
        length = b"" if self._length is None else b"Content-Length: %d\r\n" % self._length
        same = _same_head(self.code, self._type, int(time()))
        self.channel.write(b"%bX-Request-Id: %b\r\n%b\r\n%b" % (same, self.id.encode(), length, body))

    def _headers(self) -> list[tuple[bytes, bytes]]:
        """The answer's headers: those of every answer, and those that `reply` has set."""
        headers = [*_common(int(time())), (b"Cache-Control", self._caching), (b"X-Request-Id", self.id.encode())]
        if self._type:
            headers.append((b"Content-Type", self._type))
        if self._length is not None:
            headers.append((b"Content-Length", b"%d" % self._length))
        return headers

    def unsent(self) -> Unsent | None:
        """The bytes that the client has not read yet on this connection, or None if unknown."""
        return None if self.channel is None else self.channel.unsent()

    def abort(self) -> None:
        """Break the connection: nothing else shows the client that the answer is missing or incomplete."""
        self.broken = True
        self.channel.abort()

    def processingFailed(self, reason: Failure) -> Failure:
        """Answer with an incident id instead of the traceback."""
        try:
            self._end_with(self.incident(reason))
        except Exception:  # there may be no memory for the answer or the log
            self.abort()
        return reason

    def incident(self, reason: Failure) -> Problem:
        """Log an unexpected error, and return the problem that tells the client its incident id."""
        _log.failure("incident {id}", reason, id=self.id)
        detail = f"The server failed. The log has the reason, as incident {self.id}."
        return Problem(HTTPStatus.INTERNAL_SERVER_ERROR, detail)

    def _end_with(self, problem: Problem) -> None:
        self.write(answer(self, problem))
        self.finish()


def by_name(headers: Headers) -> dict[bytes, Sequence[bytes]]:
    """The values of each header, by its name in lower case."""
    return {name.lower(): values for name, values in headers.getAllRawHeaders()}


def _parameters(query: bytes) -> dict[bytes, list[bytes]]:
    """The parameters in a query, also those with an empty value. Twisted takes 3 ms for 8 KiB without a "="."""
    quoted = _PERCENT in query or _PLUS in query
    found: dict[bytes, list[bytes]] = {}
    for part in query.replace(b";", b"&").split(b"&"):
        if _EQUALS in part:
            name, _, value = part.partition(b"=")
            if quoted:
                name, value = _unquoted(name), _unquoted(value)
            found.setdefault(name, []).append(value)
    return found


def _unquoted(text: bytes) -> bytes:
    return unquote_to_bytes(text.replace(b"+", b" "))


def _sent_id(values: Sequence[bytes]) -> str | None:
    """The client's own id, if it is safe in a log and a header; otherwise None."""
    plain = len(values) == 1 and _PLAIN_ID.fullmatch(values[0])
    return values[0].decode() if plain else None


@lru_cache(maxsize=16)
def _same_head(status: int, type_: bytes, second: int) -> bytes:
    """The beginning of the head; many answers of one second share it, so it is cached."""
    lines = [_STATUS_LINES[status]]
    lines += [b"%b: %b\r\n" % header for header in (*_common(second), (b"Cache-Control", b"no-store"))]
    if type_:
        lines.append(b"Content-Type: %b\r\n" % type_)
    return b"".join(lines)


def _common(second: int) -> list[tuple[bytes, bytes]]:
    """The headers that all answers of one second share."""
    return [(b"Server", version), (b"Date", _date(second))]


@lru_cache(maxsize=1)
def _date(second: int) -> bytes:
    return bytes(datetimeToString(second))
