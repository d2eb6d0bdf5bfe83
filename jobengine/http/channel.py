"""
HTTP with limits that hold while the bytes arrive: size and time of headers and body, number of connections.

Time limits are absolute. Twisted's own time-out starts anew with every byte, so that one byte a minute keeps a
connection for good.
"""

import re
from collections.abc import Awaitable, Callable
from enum import Enum
from http import HTTPStatus
from typing import Any, Final, Protocol

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IDelayedCall, IHalfCloseableProtocol, ISSLTransport
from twisted.internet.protocol import Protocol as BaseProtocol
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel
from zope.interface import implementer

from .heads import Head, origin_form, plain_head
from .idle import Idle
from .limits import Limits
from .problem import Problem
from .progress import is_all_taken, taken
from .request import JobRequest
from .turns import Turns

__all__ = ["Host", "LimitedChannel", "Overflow", "raw_response"]

_log: Final = Logger(namespace="jobengine.web")

#: Bytes of a body in chunks that are taken in one turn: each chunk may be one byte.
_CHUNKED: Final = 8 << 10
#: Bytes of next requests that are kept while one is answered; more are left to the system.
_KEPT: Final = 16 << 10
#: Seconds in which a client that was refused can read the answer, while what it still sends is thrown away.
_LINGER: Final = 2.0
#: Bytes of it that are thrown away; then reading stops, since 2 s of a fast network are many GiB.
_THROWN_AWAY: Final = 64 << 20

#: A call that takes a longer body, if it says in its query whose it is.
_BULK_PATH: Final = b"/api/v1/jobs"
_NAMES_QUEUE: Final = re.compile(rb"(?:^|&)queueName=[^&]")


class _Phase(Enum):
    IDLE = "between requests"
    HEAD = "the headers arrive"
    BODY = "the body arrives"
    BUSY = "the answer is being made"
    REFUSED = "what arrives is thrown away"
    GONE = "the connection is lost"


_TOO_LATE: Final = Problem(HTTPStatus.REQUEST_TIMEOUT, "The request did not arrive in time; send it faster.")


def raw_response(problem: Problem) -> bytes:
    """A whole HTTP response for a connection that is then closed."""
    headers = {
        "Content-Type": "application/problem+json",
        "Content-Length": str(len(problem.body)),
        "Connection": "close",
        "Cache-Control": "no-store",
        **problem.headers,
    }
    lines = [f"HTTP/1.1 {problem.status.value} {problem.status.phrase}", *(f"{k}: {v}" for k, v in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + problem.body


class Host(Protocol):
    """What a connection needs of the site that it belongs to."""

    limits: Limits
    #: Connections that are open, and those among them that wait for a next request.
    channels: "set[LimitedChannel]"
    idle: "Idle[LimitedChannel]"
    #: In which what takes long goes on.
    turns: Turns
    #: Whether the server is stopping.
    draining: bool

    def admit(self, request: JobRequest) -> Awaitable[Problem | None]:
        """Whether a request with a long body is let in; if not, what to answer."""

    def forget(self, channel: "LimitedChannel") -> None:
        """Take note that a connection is gone."""

    def refused(self, status: HTTPStatus, address: IAddress | None = None) -> None:
        """Record a request from `address` that was refused before it was whole."""


@implementer(IHalfCloseableProtocol)
class LimitedChannel(HTTPChannel):
    """One connection, held to the limits of its site."""

    #: Longer lines are refused before they end.
    MAX_LENGTH = 8 << 10

    site: Host
    requests: list[JobRequest]
    requestFactory: type[JobRequest]
    callLater: Callable[..., IDelayedCall]
    #: Whether the client does not take what it is sent; by Twisted's LineReceiver nothing more is looked at then.
    paused: bool

    _phase = _Phase.HEAD
    _timed: _Phase | None = None
    _timer: IDelayedCall | None = None
    _peer: IAddress | None = None
    _host: IAddress | None = None
    _head_bytes = 0
    _head_lines = 0
    #: How long the body of the request under way may be.
    body_limit = 0
    #: The target of the request under way.
    _target = b""
    #: Whether it was looked at whether a long body is let in.
    _checked = False
    #: Whether the request under way was taken as a whole.
    _whole = False
    #: What is taken when the request under way is answered, or in the next turn of the reactor if that is planned.
    _kept: list[bytes]
    _planned = False
    #: How many bytes the client had taken when the connection was last looked at for being idle.
    _taken: int | None = None
    #: Whether the client has closed its sending side.
    _no_more = False
    #: Bytes that have come behind the request under way, whichever way it was taken.
    _behind = 0
    #: Bytes that have come since a request was refused.
    _thrown_away = 0

    def connectionMade(self) -> None:
        """Count the connection, and expect a request soon."""
        super().connectionMade()
        self.limits = self.site.limits
        self.MAX_LENGTH = self.limits.header_bytes
        # The limits are checked here, with an answer that names them; Twisted's own must not come first.
        self.maxHeaders = self.limits.headers + 1
        self.totalHeadersSize = self.limits.header_bytes * 2
        self.site.channels.add(self)
        self._kept = []
        self._enter(_Phase.HEAD)
        self._set_timer()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Forget the connection."""
        self._enter(_Phase.GONE)
        self._set_timer()
        self.site.forget(self)
        super().connectionLost(reason)

    def getPeer(self) -> IAddress:
        """The client's address; every request asks for it, and the transport would make a new object each time."""
        if self._peer is None:
            self._peer = super().getPeer()
        return self._peer

    def getHost(self) -> IAddress:
        """The address it came to; every request asks for it, and the transport would ask the system each time."""
        if self._host is None:
            self._host = super().getHost()
        return self._host

    def dataReceived(self, data: bytes) -> None:
        """Take bytes, unless the client was refused."""
        if self._phase is _Phase.REFUSED:
            self._throw_away(data)
            return
        if self._whole or self._planned:
            self._keep(data)
            return
        if self.paused:
            # It is put behind what waits already.
            super().dataReceived(data)
            return
        if self._phase is _Phase.IDLE:
            if not self._buffer and self._take_whole(data):
                return
            self._enter(_Phase.HEAD)
        super().dataReceived(data)
        self._set_timer()

    def _throw_away(self, data: bytes) -> None:
        """Count what a refused client still sends, and read no more of it after enough."""
        self._thrown_away += len(data)
        if self._thrown_away > _THROWN_AWAY:
            self._read_on_or_not()

    def _take_whole(self, data: bytes) -> bool:
        """
        Take a plain request, if the data are just one such; to be called where one may begin.

        Twisted would take it in pieces and set itself up for each: this is a third shorter. Of all that, it knows only
        that there is one more in `requests`.
        """
        head = plain_head(data, self.limits.header_bytes)
        # Behind the last request there is none; over TLS what comes then is still given to us.
        if head is None or not self.persistent or not self._is_just(head, len(data)):
            return False
        self._enter(_Phase.BUSY)
        self._timed = None
        self._whole = True
        request = self.requestFactory(self)
        self.requests.append(request)
        request.take(head, data[head.end :])
        if b"connection" in head.headers:
            self.persistent = self.checkPersistence(request, b"HTTP/1.1")
        request.process()
        return True

    def _is_just(self, head: Head, size: int) -> bool:
        """Whether so many bytes are a request with this head and nothing else, within the limits."""
        return (
            size == head.end + head.length
            and head.count <= self.limits.headers
            and head.length <= self.limits.body_bytes
        )

    def _keep(self, data: bytes) -> None:
        """Keep the bytes of next requests until the one under way is answered."""
        self._kept.append(data)
        self._behind += len(data)
        self._read_on_or_not()

    def _plan(self) -> None:
        """Go on with what was kept in the reactor's next turn: others come first."""
        if not self._planned:
            self._planned = True
            self.callLater(0, self._take_kept)

    def _take_kept(self, _turn: None = None) -> None:
        """Take what was kept."""
        self._planned = False
        kept, self._kept, self._behind = b"".join(self._kept), [], 0
        if self._phase in (_Phase.REFUSED, _Phase.GONE):
            return
        self.dataReceived(kept)
        if len(kept) > _KEPT:
            self._read_on_or_not()
        self._close_if_over()

    def readConnectionLost(self) -> None:
        """
        The client has closed its sending side: it gets the answers to what it has sent, and then the end.

        One that has gone looks the same. A request that waits for something may not be answered to nobody, so it is
        given up.
        """
        self._no_more = True
        if self._phase is _Phase.REFUSED or (self._phase is _Phase.BUSY and self.requests[0].waits):
            self.abort()
        self._close_if_over()

    def writeConnectionLost(self) -> None:
        """Our own side was closed, as was asked."""

    def _close_if_over(self) -> None:
        """Close the connection if the client sends no more and all that it has sent was answered."""
        if self._no_more and not self._planned and self._phase in (_Phase.IDLE, _Phase.HEAD, _Phase.BODY):
            self.loseConnection()

    def pauseProducing(self) -> None:
        """The client does not take what it is sent: no next request is begun, though it be here already."""
        self.paused = True
        super().pauseProducing()
        self._read_on_or_not()

    def resumeProducing(self) -> None:
        """The client takes it again."""
        self.paused = False
        super().resumeProducing()
        self._read_on_or_not()
        if self._buffer:
            self.dataReceived(b"")

    def _read_on_or_not(self) -> None:
        """
        Read no more while the client does not take its answers, or has sent enough behind a request: 16 KiB while it
        is under way, 64 MiB once it was refused.

        Twisted goes on in the first case if a request is under way, and so in the second if both are the case: all that
        a client can send would be kept, and all its answers.
        """
        transport: Any = self.transport
        if self._no_more:
            return
        if self.paused or self._behind > _KEPT or self._thrown_away > _THROWN_AWAY:
            transport.pauseProducing()
        elif not transport.disconnecting:
            transport.resumeProducing()

    def lineReceived(self, line: bytes) -> None:
        """Take a line of the request's head."""
        if self._phase is _Phase.REFUSED:
            return
        self._head_bytes += len(line) + 2
        self._head_lines += 1
        if self._head_lines == 1:
            line = origin_form(line)
            self._target = line.partition(b" ")[2].partition(b" ")[0]
            self.body_limit = self._body_limit_of(self._target)
            self._checked = False
        # The request line and the empty line at the end are no headers.
        if self._head_bytes > self.limits.header_bytes or self._head_lines > self.limits.headers + 2:
            self._refuse_head()
        else:
            super().lineReceived(line)

    def lineLengthExceeded(self, line: bytes) -> None:
        """Refuse a head in which one line is longer than all may be."""
        self._refuse_head()

    def headerReceived(self, line: bytes) -> bool:
        """Take a header, unless it is a length that nobody could count to."""
        try:
            received: bool = super().headerReceived(line)
        except ValueError:
            # Python reads no number of more than 4,300 digits.
            self._respondToBadRequestAndDisconnect()
            return False
        return received

    def allHeadersReceived(self) -> None:
        """Refuse a body that says that it is too long, before any of it or a 100 Continue is sent."""
        self._head_bytes = self._head_lines = 0
        self._enter(_Phase.BODY)
        if self.length is not None and self.length > self.body_limit:
            self.refuse_body()
        elif self.length is not None and self.length > self.limits.body_bytes:
            self.check_key()
        if self._phase is not _Phase.REFUSED:
            super().allHeadersReceived()

    def rawDataReceived(self, data: bytes) -> None:
        """Take bytes of a body; Twisted keeps those of a next request here while one is answered, as `_keep` does."""
        if self._phase is _Phase.REFUSED:
            return
        if self._phase is _Phase.BUSY:
            self._behind += len(data)
            self._read_on_or_not()
        elif self.length is None and len(data) > _CHUNKED:
            data, rest = data[:_CHUNKED], data[_CHUNKED:]
            self._kept.append(rest)
            self._planned = True
            self.site.turns.next().addCallback(self._take_kept)
        super().rawDataReceived(data)

    def allContentReceived(self) -> None:
        """The request is whole: it can take as long as it takes."""
        if self._phase is not _Phase.REFUSED:
            self._enter(_Phase.BUSY)
            # The next request on this connection has its own time, even if it is here already.
            self._timed = None
            super().allContentReceived()

    def requestDone(self, request: Any) -> None:
        """An answer was sent: wait for the next request, or close if the server is stopping."""
        self._enter(_Phase.IDLE)
        if self.site.draining:
            self.persistent = False
        # Twisted would go on with it at once, and so with hundreds of short requests that came together.
        behind = [*self._dataBuffer, self._buffer, *self._kept]
        self._dataBuffer, self._buffer = [], b""
        self._kept, self._behind = [b"".join(behind)], sum(map(len, behind))
        if self._whole:
            self._whole = False
            self.requests.remove(request)
            if not self.persistent:
                self.loseConnection()
        else:
            super().requestDone(request)
        if self.persistent and self._behind:
            self._read_on_or_not()
            self._plan()
        self._close_if_over()

    def abort(self) -> None:
        """Break the connection: what was sent is not the whole answer, and nothing else can say so."""
        transport: Any = self.transport
        transport.abortConnection()

    def taken(self) -> int | None:
        """The bytes that the client has taken of all that it was sent, or None if that can't be known."""
        return taken(self.transport)

    def timeoutConnection(self) -> None:
        """Close a connection that is idle for too long, unless the client is still taking the last answer."""
        before, self._taken = self._taken, self.taken()
        if not is_all_taken(self.transport) and self._taken != before:
            self.site.idle.add(self)
        else:
            super().timeoutConnection()

    def close_if_idle(self) -> None:
        """Close the connection unless a request is under way on it."""
        if self._phase is not _Phase.BUSY:
            self.loseConnection()

    def check_key(self) -> None:
        """Have it looked at whether a long body is let in, while it arrives; once for each."""
        if self._checked:
            return
        self._checked = True
        request = self.requests[-1]
        request.foresee(self._target)
        checking = Deferred.fromCoroutine(self._check_key(request))
        checking.addErrback(lambda failure: _log.failure("a key could not be checked", failure))

    async def _check_key(self, request: JobRequest) -> None:
        problem = await self.site.admit(request)
        # What has become whole meanwhile is answered in the usual way.
        if problem is not None and self._phase is _Phase.BODY and self.requests[-1] is request:
            self.refuse(evolve(problem, headers={**problem.headers, "X-Request-Id": request.id}))

    def refuse_body(self) -> None:
        """Answer that the body is too long; what still comes of it is thrown away."""
        detail = f"The body is longer than {self.body_limit} bytes."
        if self._target.partition(b"?")[0] == _BULK_PATH and self.body_limit == self.limits.body_bytes:
            most = self.limits.bulk_body_bytes
            detail = f"{detail[:-1]}; name its queue in the query as well (?queueName=) to send up to {most}."
        self.refuse(Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail))

    def refuse(self, problem: Problem) -> None:
        """Answer at once, and close when the client has had time to read it."""
        if self._phase is _Phase.REFUSED:
            return
        self._enter(_Phase.REFUSED)
        self._set_timer()
        self.site.refused(problem.status, self.getPeer())
        transport: Any = self.transport
        transport.write(raw_response(problem))
        # Closing with unread data would reset the connection, and the answer could be lost with it.
        if ISSLTransport.providedBy(transport):
            # Says that it is the end, and reads on until the client says so too; before, the socket must stay open.
            self.loseConnection()
        elif hasattr(transport, "loseWriteConnection"):
            transport.loseWriteConnection()
        self._timer = self.callLater(_LINGER, transport.abortConnection)

    def _refuse_head(self) -> None:
        limits = self.limits
        self.refuse(
            Problem(
                HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
                f"The headers are more than {limits.headers}, or longer than {limits.header_bytes} bytes in all.",
            )
        )

    def _respondToBadRequestAndDisconnect(self) -> None:
        """
        Say in our own form what Twisted says with an empty 400.

        The name is Twisted's and private: should it go, Twisted's own answer comes back, and nothing else.
        """
        self.refuse(Problem(HTTPStatus.BAD_REQUEST, "This is not an HTTP/1.1 request."))

    def _body_limit_of(self, uri: bytes) -> int:
        """How long the body of a request may be: one for many jobs is longer, if its queue is known before it comes."""
        path, _, query = uri.partition(b"?")
        is_long = path == _BULK_PATH and _NAMES_QUEUE.search(query)
        return self.limits.bulk_body_bytes if is_long else self.limits.body_bytes

    def _enter(self, phase: _Phase) -> None:
        if phase is _Phase.IDLE:
            self.site.idle.add(self)
        elif self._phase is _Phase.IDLE:
            self.site.idle.discard(self)
        self._phase = phase

    def _set_timer(self) -> None:
        """Have the timer run for what is going on now."""
        if self._phase is self._timed:
            return
        self._timed = self._phase
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        if self._phase is _Phase.HEAD:
            self._timer = self.callLater(self.limits.header_seconds, self.refuse, _TOO_LATE)
        elif self._phase is _Phase.BODY:
            self._timer = self.callLater(self.limits.body_seconds, self.refuse, _TOO_LATE)


class Overflow(BaseProtocol):
    """A connection beyond the limit: an answer, and the end."""

    def connectionMade(self) -> None:
        """Say why, and close."""
        assert self.transport is not None
        detail = "The server has as many connections as it takes; try again, or keep one open and use it again."
        problem = Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, {"Retry-After": "1"})
        self.transport.write(raw_response(problem))
        self.transport.loseConnection()
