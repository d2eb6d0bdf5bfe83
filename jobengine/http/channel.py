"""
HTTP with limits that apply while bytes arrive: size and time of headers and body, and number of connections.

Time limits are absolute. Twisted's own time-out restarts with every byte, so one byte a minute would keep a connection
open indefinitely.
"""

import re
from collections.abc import Awaitable, Callable
from enum import Enum
from http import HTTPStatus
from typing import Any, Final, Protocol

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IDelayedCall, IHalfCloseableProtocol, ISSLTransport
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel
from zope.interface import implementer

from .access_log import NO_NOTES, Known, Notes, host_of
from .direct_write import writer
from .early_errors import NO_REQUEST, first_byte_problem, raw_response
from .fair_turns import Turns
from .fast_head_parser import Head, origin_form, plain_head
from .idle_connections import IdleConnections
from .limits import Limits
from .problem import Problem
from .request import JobRequest, by_name
from .unsent_bytes import Unsent, is_all_sent, unsent

_log: Final = Logger(namespace="jobengine.web")

#: The most bytes of a chunked body that one turn parses. Small chunks are slow: each may have one byte.
_CHUNKED: Final = 8 << 10
#: The most bytes to read of the next requests while a request is answered; the rest stays in the system's buffer.
_KEPT: Final = 16 << 10
#: Seconds for which a refused client can read its answer, while the rest of its request is discarded.
_LINGER: Final = 2.0
#: After discarding this many bytes, reading stops: in 2 s a fast network delivers many GiB.
_THROWN_AWAY: Final = 64 << 20

#: The path of the call that accepts a longer body if its query names the queue.
_BULK_PATH: Final = b"/api/v1/jobs"
_NAMES_QUEUE: Final = re.compile(rb"(?:^|&)(?:queueName|queue_name|name)=[^&]")


class _Phase(Enum):
    IDLE = "between requests"
    HEAD = "the headers arrive"
    BODY = "the body arrives"
    BUSY = "the request is being answered"
    REFUSED = "arriving bytes are discarded"
    GONE = "the connection is lost"


#: Constants for the hot paths: access through the class takes three times as long on Python 3.11.
_IDLE: Final = _Phase.IDLE
_BUSY: Final = _Phase.BUSY
_REFUSED: Final = _Phase.REFUSED

_TOO_LATE: Final = Problem(HTTPStatus.REQUEST_TIMEOUT, "The request did not arrive in time; send it faster.")


class Host(Protocol):
    """The part of a site that its connections use."""

    limits: Limits
    #: All connections that are open, idle ones too.
    channels: "set[LimitedChannel]"
    idle: "IdleConnections[LimitedChannel]"
    #: Gives turns to long work.
    turns: Turns
    #: Whether the server is stopping.
    draining: bool

    def admit(self, request: JobRequest) -> Awaitable[Problem | None]:
        """Check the access key of a request with a long body: the problem to answer with, or None to accept it."""

    def forget(self, channel: "LimitedChannel") -> None:
        """Record that a connection was lost."""

    def refused(
        self, status: HTTPStatus, address: IAddress | None = None, known: Known = (b"", b""), notes: Notes = NO_NOTES
    ) -> None:
        """Record a request from `address` that was refused before it was complete; `known` are method and path."""


@implementer(IHalfCloseableProtocol)
class LimitedChannel(HTTPChannel):
    """One connection, within its site's limits."""

    #: Longer lines are refused before they are complete.
    MAX_LENGTH = 8 << 10

    site: Host
    requests: list[JobRequest]
    requestFactory: type[JobRequest]
    callLater: Callable[..., IDelayedCall]
    #: True while the client does not read its answers. LineReceiver then stops parsing.
    paused: bool

    _phase = _Phase.HEAD
    _timed: _Phase | None = None
    _timer: IDelayedCall | None = None
    _peer: IAddress | None = None
    _host: IAddress | None = None
    #: The client's IP address for the log; set by `getPeer`, which every request calls.
    peer_host = "-"
    _head_bytes = 0
    _head_lines = 0
    #: The most bytes of the current request's body.
    body_limit = 0
    #: The method and target of the current request.
    _method = b""
    _target = b""
    #: Whether the access key of the current long body is being checked, or was checked.
    _checked = False
    #: Whether the current request was read in one piece.
    _whole = False
    #: Bytes to handle after the current request, or in the reactor's next turn if `_planned`.
    _kept: list[bytes]
    _planned = False
    #: The bytes that the client had not read yet at the last idle check.
    _untaken: Unsent | None = None
    #: Whether the client has closed its sending side.
    _no_more = False
    #: Bytes of following requests that arrived during the current one.
    _behind = 0
    #: Bytes that arrived after a request was refused.
    _thrown_away = 0

    def connectionMade(self) -> None:
        """Count the connection and start the timer for a request."""
        super().connectionMade()
        self.limits = self.site.limits
        self.MAX_LENGTH = self.limits.header_bytes
        # The limits are checked here, with an answer that names them, before Twisted's own apply.
        self.maxHeaders = self.limits.headers + 1
        self.totalHeadersSize = self.limits.header_bytes * 2
        self.site.channels.add(self)
        self._kept = []
        self.write = writer(self.transport)  # type: ignore[method-assign]  # saves a call for each answer
        self._enter(_Phase.HEAD)
        self._set_timer()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Forget the connection."""
        self._enter(_Phase.GONE)
        self._set_timer()
        self.site.forget(self)
        super().connectionLost(reason)
        self._transferDecoder = None  # It refers to this channel: only the garbage collector could free both.

    def getPeer(self) -> IAddress:
        """The client's address, cached: each request uses it, and the transport makes an object for each call."""
        if self._peer is None:
            self._peer = super().getPeer()
            self.peer_host = host_of(self._peer)
        return self._peer

    def getHost(self) -> IAddress:
        """The server's address, cached: each request uses it, and the transport makes a system call for each."""
        if self._host is None:
            self._host = super().getHost()
        return self._host

    def dataReceived(self, data: bytes) -> None:
        """Handle bytes, unless the client was refused."""
        if self._phase is _REFUSED:
            self._throw_away(data)
            return
        if self._whole or self._planned:
            self._keep(data)
            return
        if self.paused:
            # Twisted appends the data to its buffer.
            super().dataReceived(data)
            return
        if self._phase is _IDLE:
            if not self._buffer and self._take_whole(data):
                return
            self._enter(_Phase.HEAD)
        begins = self._phase is _Phase.HEAD and not self._head_lines and not self._buffer
        if begins and (problem := first_byte_problem(data)):
            self.refuse(problem)
            return
        super().dataReceived(data)
        self._set_timer()

    def _throw_away(self, data: bytes) -> None:
        """Count discarded bytes, and stop reading after too many."""
        self._thrown_away += len(data)
        if self._thrown_away > _THROWN_AWAY:
            self._pause_or_resume()

    def _take_whole(self, data: bytes) -> bool:
        """
        Parse the data if they are exactly one plain request; returns whether they are. Call it only between requests.

        A fast path, which takes a third less time: Twisted reads line by line and prepares itself for each request.
        Twisted sees the request only in `requests`.
        """
        head = plain_head(data, self.limits.header_bytes)
        # If the last request closed the connection, no request follows; over TLS, bytes may still arrive.
        if head is None or not self.persistent or not self._is_just(head, len(data)):
            return False
        self.site.idle.discard(self)
        self._phase = _BUSY
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
        """Whether head and body together have exactly `size` bytes, and are within the limits."""
        return (
            size == head.end + head.length
            and head.count <= self.limits.headers
            and head.length <= self.limits.body_bytes
        )

    def _keep(self, data: bytes) -> None:
        """Keep bytes of following requests until the current one is answered."""
        self._kept.append(data)
        self._behind += len(data)
        self._pause_or_resume()

    def _plan(self) -> None:
        """Handle the kept bytes in the reactor's next turn, after other connections."""
        if not self._planned:
            self._planned = True
            self.callLater(0, self._take_kept)

    def _take_kept(self, _turn: None = None) -> None:
        """Handle the kept bytes."""
        self._planned = False
        kept, self._kept, self._behind = b"".join(self._kept), [], 0
        if self._phase in (_Phase.REFUSED, _Phase.GONE):
            return
        self.dataReceived(kept)
        if len(kept) > _KEPT:
            self._pause_or_resume()
        self._close_if_over()

    def readConnectionLost(self) -> None:
        """
        The client has closed its sending side: answer its requests, then close.

        A client that disconnected looks the same. So a long poll is aborted: its answer, maybe a job, could be lost.
        """
        self._no_more = True
        if self._phase is _Phase.REFUSED or (self._phase is _Phase.BUSY and self.requests[0].waits):
            self.abort()
        self._close_if_over()

    def writeConnectionLost(self) -> None:
        """Do nothing: the server itself closed its sending side."""

    def _close_if_over(self) -> None:
        """Close the connection if the client sends no more and all requests are answered."""
        if self._no_more and not self._planned and self._phase in (_Phase.IDLE, _Phase.HEAD, _Phase.BODY):
            self.loseConnection()

    def pauseProducing(self) -> None:
        """The client does not read its answers: start no further request, even if one has arrived."""
        self.paused = True
        super().pauseProducing()
        self._pause_or_resume()

    def resumeProducing(self) -> None:
        """The client reads again: continue with its requests."""
        self.paused = False
        super().resumeProducing()
        self._pause_or_resume()
        if self._buffer:
            self.dataReceived(b"")

    def _pause_or_resume(self) -> None:
        """
        Stop reading while the client does not read its answers, or has sent enough ahead: 16 KiB during a request, 64
        MiB after a refusal.

        Twisted alone would read on during a request, and buffer requests and answers without limit.
        """
        transport: Any = self.transport
        if self._no_more:
            return
        if self.paused or self._behind > _KEPT or self._thrown_away > _THROWN_AWAY:
            transport.pauseProducing()
        elif not transport.disconnecting:
            transport.resumeProducing()

    def lineReceived(self, line: bytes) -> None:
        """Read a line of the head."""
        if self._phase is _Phase.REFUSED:
            return
        if not line and not self._head_lines:
            # Twisted skips one empty line before a request (RFC 9112, 2.2), and refuses a second one.
            super().lineReceived(line)
            return
        self._head_bytes += len(line) + 2
        self._head_lines += 1
        if self._head_lines == 1:
            line = origin_form(line)
            self._method, _, rest = line.partition(b" ")
            self._target = rest.partition(b" ")[0]
            self.body_limit = self._body_limit_of(self._target)
            self._checked = False
        # The request line and the empty line at the end are not headers.
        if self._head_bytes > self.limits.header_bytes or self._head_lines > self.limits.headers + 2:
            self._refuse_head()
        else:
            super().lineReceived(line)

    def lineLengthExceeded(self, line: bytes) -> None:
        """Refuse a request: one line of its head is longer than the limit for the whole head."""
        self._refuse_head()

    def headerReceived(self, line: bytes) -> bool:
        """Read a header, unless it is a Content-Length with too many digits."""
        try:
            received: bool = super().headerReceived(line)
        except ValueError:
            # Python parses no number of more than 4,300 digits.
            self._respondToBadRequestAndDisconnect()
            return False
        return received

    def allHeadersReceived(self) -> None:
        """Refuse a body whose stated length is too long, before reading any of it or sending a 100 Continue."""
        self._head_bytes = self._head_lines = 0
        self._enter(_Phase.BODY)
        if self.length is not None and self.length > self.body_limit:
            self.refuse_body()
        elif self.length is not None and self.length > self.limits.body_bytes:
            self.check_key()
        if self._phase is not _Phase.REFUSED:
            super().allHeadersReceived()

    def rawDataReceived(self, data: bytes) -> None:
        """
        Read bytes of a body. Bytes after its end belong to the next request: Twisted keeps them until the current
        request is answered. They are counted here, so that reading stops after too many.
        """
        if self._phase is _Phase.REFUSED:
            return
        if self._phase is _Phase.BUSY:
            self._behind += len(data)
            self._pause_or_resume()
        elif self.length is None and len(data) > _CHUNKED:
            data, rest = data[:_CHUNKED], data[_CHUNKED:]
            self._kept.append(rest)
            self._planned = True
            self.site.turns.next().addCallback(self._take_kept)
        super().rawDataReceived(data)

    def allContentReceived(self) -> None:
        """The request is complete: from now on it has no time limit."""
        if self._phase is not _Phase.REFUSED:
            self._enter(_Phase.BUSY)
            # The next request on this connection gets its own time limits, even if it has arrived.
            self._timed = None
            super().allContentReceived()

    def requestDone(self, request: Any) -> None:
        """An answer was sent: wait for the next request, or close if the server is stopping."""
        self.site.idle.add(self)
        self._phase = _IDLE
        if self.site.draining:
            self.persistent = False
        if self._kept or not self._whole:
            # Twisted would parse all of it at once: hundreds of short requests in one turn.
            behind = b"".join([*self._dataBuffer, self._buffer, *self._kept])
            self._dataBuffer, self._buffer = [], b""
            self._kept, self._behind = [behind] if behind else [], len(behind)
        if self._whole:
            self._whole = False
            self.requests.remove(request)
            if not self.persistent:
                self.loseConnection()
        else:
            super().requestDone(request)
        if self.persistent and self._behind:
            self._pause_or_resume()
            self._plan()
        if self._no_more:
            self._close_if_over()

    def abort(self) -> None:
        """Break the connection, so that the client sees an incomplete answer."""
        transport: Any = self.transport
        transport.abortConnection()

    def unsent(self) -> Unsent | None:
        """The bytes that the client has not read yet, or None if unknown."""
        return unsent(self.transport)

    def timeoutConnection(self) -> None:
        """Close a connection that was idle for too long, unless the client is still reading its last answer."""
        before, self._untaken = self._untaken, self.unsent()
        if not is_all_sent(self.transport) and self._untaken != before:
            self.site.idle.add(self)
        else:
            super().timeoutConnection()

    def close_if_idle(self) -> None:
        """Close the connection unless a request is being answered."""
        if self._phase is not _Phase.BUSY:
            self.loseConnection()

    def check_key(self) -> None:
        """Check the access key of a request while its long body arrives; at most once for each request."""
        if self._checked:
            return
        self._checked = True
        request = self.requests[-1]
        request.foresee(self._target, by_name(request.requestHeaders))
        request.notes = {}
        checking = Deferred.fromCoroutine(self._check_key(request))
        checking.addErrback(lambda failure: _log.failure("a key could not be checked", failure))

    async def _check_key(self, request: JobRequest) -> None:
        problem = await self.site.admit(request)
        # If the body is complete by now, the request's handler answers, and checks the key itself.
        if problem is not None and self._phase is _Phase.BODY and self.requests[-1] is request:
            self.refuse(evolve(problem, headers={**problem.headers, "X-Request-Id": request.id}), request.notes)

    def refuse_body(self) -> None:
        """Refuse a body that is too long, and discard the rest of it."""
        advice = "send less at once, or keep the data elsewhere"
        if self._target.partition(b"?")[0] == _BULK_PATH and self.body_limit == self.limits.body_bytes:
            most = self.limits.bulk_body_bytes
            advice = f"name its queue in the query as well (?queue_name=) to send up to {most}"
        detail = f"The body is longer than {self.body_limit} bytes; {advice}."
        self.refuse(Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail))

    def refuse(self, problem: Problem, notes: Notes = NO_NOTES) -> None:
        """Answer at once, and close after the client had time to read the answer; `notes` are for the log."""
        if self._phase is _Phase.REFUSED:
            return
        # An incomplete head may contain anything, such as a key.
        known = (self._method, self._target.partition(b"?")[0]) if self._phase is _Phase.BODY else (b"", b"")
        self._enter(_Phase.REFUSED)
        self._set_timer()
        self.site.refused(problem.status, self.getPeer(), known, notes)
        transport: Any = self.transport
        transport.write(raw_response(problem))
        # Closing a socket with unread data resets the connection, and the client may lose the answer.
        if ISSLTransport.providedBy(transport):
            # Sends TLS's close alert, and reads until the client's alert arrives; the socket must stay open until then.
            self.loseConnection()
        elif hasattr(transport, "loseWriteConnection"):
            transport.loseWriteConnection()
        self._timer = self.callLater(_LINGER, transport.abortConnection)

    def _refuse_head(self) -> None:
        limits, status = self.limits, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        detail = f"There are more than {limits.headers} headers, or more than {limits.header_bytes} bytes of them."
        self.refuse(Problem(status, detail))

    def _respondToBadRequestAndDisconnect(self) -> None:
        """
        Answer with a problem; Twisted would send an empty 400, and does so if it ever renames this
        private method.
        """
        self.refuse(NO_REQUEST)

    def _body_limit_of(self, uri: bytes) -> int:
        """The most bytes of a request's body: a body with many jobs may be longer if the query names its queue."""
        path, _, query = uri.partition(b"?")
        is_long = path == _BULK_PATH and _NAMES_QUEUE.search(query)
        return self.limits.bulk_body_bytes if is_long else self.limits.body_bytes

    def _enter(self, phase: _Phase) -> None:
        """Enter a phase other than IDLE."""
        if self._phase is _IDLE:
            self.site.idle.discard(self)
        self._phase = phase

    def _set_timer(self) -> None:
        """Start the timer of the current phase."""
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
