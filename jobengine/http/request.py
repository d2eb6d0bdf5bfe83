"""A request with an id, whose body stays in memory and is bounded, and its answer."""

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

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import datetimeToString, parse_qs
from twisted.web.server import Request, version

from .access_log import Line, host_of
from .heads import Head
from .limits import Limits
from .problem import Problem

__all__ = ["Connection", "JobRequest", "RequestSite", "answer"]

_log: Final = Logger(namespace="jobengine.web")
_PROCESS: Final = token_hex(4)
_numbers: Final = count(1)
_PLAIN_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,64}")


#: The first line of an answer, by its status.
_STATUS_LINES: Final = {
    status.value: b"HTTP/1.1 %d %b\r\n" % (status.value, status.phrase.encode()) for status in HTTPStatus
}
_NO_CONTENT: Final = HTTPStatus.NO_CONTENT.value
#: What has no body, and so no length of one.
_BODILESS: Final = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)
#: As nginx has it: the client has gone before there was an answer. It stands in the log and the metrics only.
_CLIENT_GONE: Final = 499


def answer(request: "JobRequest", problem: Problem) -> bytes:
    """Set up `request` for a problem and return the body to write."""
    for name, value in problem.headers.items():
        request.setHeader(name.encode(), value.encode("latin-1"))
    return request.reply(problem.body, problem.status, b"application/problem+json")


class RequestSite(Protocol):
    """What a request needs of its site."""

    reactor: IReactorTime
    #: The connections that are open.
    channels: Collection[object]

    def begin(self, request: "JobRequest") -> bool:
        """Begin to answer a request by the short way, or return False and do nothing."""

    def cut_off(self, request: "JobRequest") -> None:
        """Record a request whose connection was lost before its answer was whole."""


class Connection(Protocol):
    """What a request needs of the connection that it came on."""

    #: How many bytes the body may have.
    body_limit: int
    #: Whether the client does not take what it is sent.
    paused: bool
    limits: Limits
    site: RequestSite

    def write(self, data: bytes) -> None:
        """Send bytes of the answer."""

    def refuse_body(self) -> None:
        """Answer that the body is too long."""

    def check_key(self) -> None:
        """Have it looked at whether a long body is let in."""

    def abort(self) -> None:
        """Break the connection."""

    def taken(self) -> int | None:
        """The bytes that the client has taken of all that it was sent, or None if that can't be known."""


class JobRequest(Request):
    """A request whose body stays in memory and is bounded, and whose end is told to its site."""

    channel: Connection  # type: ignore[assignment]  # Twisted names its own class; this is all that is used
    #: What makes the answer; cancelled if the client goes away.
    answering: "Deferred[None] | None" = None
    #: What `reply` said of the answer.
    _type = b""
    _length: int | None = None
    #: What caches may do with the answer.
    _caching = b"no-store"
    #: Whether its connection is being broken, as the only way to say that what was sent is not all.
    broken = False
    #: The headers, if it came as a whole.
    _taken: Mapping[bytes, Sequence[bytes]] | None = None
    #: In the log and in X-Request-Id: what the client sent, or what tells it from every other request.
    id = ""
    #: When it was whole, on the reactor's clock; None before.
    began: float | None = None
    #: What its handler says of it, for the log.
    notes: "dict[str, str | int]"
    #: Whether the client has asked to be kept waiting; the time of such a request says nothing of the server, and its
    #: answer is worth something only to a client that is still there.
    waits = False

    def gotLength(self, length: int | None) -> None:
        """Keep the body in memory: Twisted would put a long one in a temporary file, unencrypted."""
        self.content = BytesIO()
        # Nor is it parsed as a form, only to be refused. The name is Twisted's and private: should
        # it go, forms are parsed in vain, and nothing else.
        self._parsePOSTFormSubmission = False

    def take(self, head: Head, body: bytes) -> None:
        """Be a whole request, of which the body is known not to be too long."""
        self.method, self.clientproto = head.method, b"HTTP/1.1"
        self.foresee(head.uri)
        self._taken = head.headers
        if b"connection" in head.headers:
            self._fill_headers()
        self.content = BytesIO(body)

    def foresee(self, target: bytes) -> None:
        """Know the target and have an id, before the whole is there."""
        self.id = f"{_PROCESS}-{next(_numbers)}"
        self.uri = target
        self.path, _, query = target.partition(b"?")
        self.args = _parameters(query) if query else {}

    def sent(self, header: bytes) -> Sequence[bytes]:
        """What was sent in the header of that name, which is to be given in lower case."""
        if self._taken is not None:
            return self._taken.get(header, ())
        return self.requestHeaders.getRawHeaders(header, ())

    def _fill_headers(self) -> None:
        """Have the headers where Twisted looks for them."""
        for name, values in (self._taken or {}).items():
            self.requestHeaders.setRawHeaders(name, values)

    def getRequestHostname(self) -> bytes:
        """Nothing: the server answers to any name. Klein would route by it, and fail at what can't be one."""
        return b""

    def handleContentChunk(self, data: bytes) -> None:
        """Take a piece of the body, unless with it the body is too long."""
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
        """Whether there is nobody left to answer: the client has gone, or was answered by breaking the connection."""
        return self.broken or self.channel is None

    def process(self) -> None:
        """Give the request an id, and to its resource."""
        self.id = _sent_id(self.sent(b"x-request-id")) or self.id or f"{_PROCESS}-{next(_numbers)}"
        self.notes = {}
        site = self.channel.site
        self.site = site  # type: ignore[assignment]  # as with the channel
        self.began = site.reactor.seconds()
        if site.begin(self):
            return
        self._fill_headers()
        try:
            unquote_to_bytes(self.path).decode("utf-8")
        except UnicodeDecodeError:
            self._end_with(Problem(HTTPStatus.BAD_REQUEST, "The path is not UTF-8."))
        else:
            super().process()

    @property
    def connections(self) -> int:
        """How many connections the site has open."""
        return len(self.channel.site.channels)

    def line(self, seconds: float) -> Line:
        """Its line in the log, now that it has ended, after so many seconds."""
        return Line(
            self.id,
            host_of(self.client),
            self.method,
            self.path,
            self.code,
            seconds * 1000,
            time(),
            self.notes,
            self.waits,
        )

    def connectionLost(self, reason: Failure) -> None:
        """The client has gone: what is done for it is cancelled."""
        if self.began is not None:
            if not self.startedWriting:
                self.code = _CLIENT_GONE
            self.notes["end"] = "broken off" if self.broken else "client gone"
            self.channel.site.cut_off(self)
        super().connectionLost(reason)
        if self.answering is not None:
            self.answering.cancel()

    def reply(self, body: bytes, status: HTTPStatus = HTTPStatus.OK, type_: bytes = b"application/json") -> bytes:
        """Say what the answer is; returns the body, which is to be given to `end` or to be written."""
        self.code, self.code_message = status.value, status.phrase.encode()
        self._type = type_ if body else b""
        self._length = None if status in _BODILESS else len(body)
        return body

    def may_be_kept(self, caching: bytes) -> None:
        """Say what caches may do with the answer, which is nothing if nobody says so."""
        self._caching = caching
        self.setHeader(b"Cache-Control", caching)

    def end(self, body: bytes) -> None:
        """Write what is missing of the answer; it is done."""
        if self._is_plain():
            self._write_whole(body)
        elif body:
            self.write(body)
        self.finish()

    def write(self, data: bytes) -> None:
        """Write some of the answer, and its head before the first."""
        if not self.startedWriting:
            for name, value in self._headers():
                self.setHeader(name, value)
        super().write(data)

    def _is_plain(self) -> bool:
        """Whether the answer is one to HTTP/1.1 with no other headers than every answer has, nothing of it written."""
        return (
            not self.startedWriting
            and self.clientproto == b"HTTP/1.1"
            and self.method != b"HEAD"
            and (self._length is not None or self.code == _NO_CONTENT)
            and next(self.responseHeaders.getAllRawHeaders(), None) is None
        )

    def _write_whole(self, body: bytes) -> None:
        """
        Write an answer with its head in one piece.

        Twisted sets, checks and looks up each header by itself; of these, all is known. This, and the short way from a
        request to its handler, save 25 microseconds a request.
        """
        self.startedWriting = 1
        self.sentLength = len(body)
        length = b"" if self._length is None else b"Content-Length: %d\r\n" % self._length
        same = _same_head(self.code, self._type, int(time()))
        self.channel.write(b"%bX-Request-Id: %b\r\n%b\r\n%b" % (same, self.id.encode(), length, body))

    def _headers(self) -> list[tuple[bytes, bytes]]:
        """The headers that every answer has, and those that `reply` has set."""
        headers = [*_common(int(time())), (b"Cache-Control", self._caching), (b"X-Request-Id", self.id.encode())]
        if self._type:
            headers.append((b"Content-Type", self._type))
        if self._length is not None:
            headers.append((b"Content-Length", b"%d" % self._length))
        return headers

    def taken(self) -> int | None:
        """The bytes that the client has taken so far of all that it was sent on its connection, or None."""
        return None if self.channel is None else self.channel.taken()

    def abort(self) -> None:
        """Break the connection: nothing else can tell the client that there is no answer, or that it is not whole."""
        self.broken = True
        self.channel.abort()

    def processingFailed(self, reason: Failure) -> Failure:
        """Answer with an incident id in place of the traceback."""
        try:
            self._end_with(self.incident(reason))
        except Exception:  # there may be no memory for an answer, nor for a line in the log
            self.abort()
        return reason

    def incident(self, reason: Failure) -> Problem:
        """Log an error that nobody foresaw; what to tell the client of it."""
        _log.failure("incident {id}", reason, id=self.id)
        detail = f"The server made a mistake. It is in the log as incident {self.id}."
        return Problem(HTTPStatus.INTERNAL_SERVER_ERROR, detail)

    def _end_with(self, problem: Problem) -> None:
        self.write(answer(self, problem))
        self.finish()


def _parameters(query: bytes) -> dict[bytes, list[bytes]]:
    """The parameters in a query that have a value, be it empty; Twisted takes 3 ms to pass over 8 KiB of others."""
    parts = [part for part in query.replace(b";", b"&").split(b"&") if b"=" in part]
    return parse_qs(b"&".join(parts), True) if parts else {}


def _sent_id(values: Sequence[bytes]) -> str | None:
    """The id that a client gave its request, if it is plain enough for a log and a header; None if not."""
    plain = len(values) == 1 and _PLAIN_ID.fullmatch(values[0])
    return values[0].decode() if plain else None


@lru_cache(maxsize=16)
def _same_head(status: int, type_: bytes, second: int) -> bytes:
    """The part of a head that many answers have in common."""
    lines = [_STATUS_LINES[status]]
    lines += [b"%b: %b\r\n" % header for header in (*_common(second), (b"Cache-Control", b"no-store"))]
    if type_:
        lines.append(b"Content-Type: %b\r\n" % type_)
    return b"".join(lines)


def _common(second: int) -> list[tuple[bytes, bytes]]:
    """The headers that are the same for all answers of a second."""
    return [(b"Server", version), (b"Date", _date(second))]


@lru_cache(maxsize=1)
def _date(second: int) -> bytes:
    return bytes(datetimeToString(second))
