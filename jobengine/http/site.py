"""The site: connections that can be counted and drained, and an access log."""

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from time import time
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress
from twisted.web.http import Request as _HTTPRequest
from twisted.web.resource import IResource
from twisted.web.server import Site

from .access_log import NO_NOTES, Known, Line, Notes, Recorder, host_of
from .channel import LimitedChannel
from .early_errors import Overflow
from .fair_turns import Turns
from .idle_connections import IdleConnections
from .limits import Limits
from .problem import Problem
from .request import JobRequest


async def _admit_all(_request: JobRequest) -> None:
    pass


class JobSite(Site):
    """The root of the HTTP server."""

    protocol = LimitedChannel  # type: ignore[assignment]  # without the HTTP/2 of Twisted's channel
    #: False: Twisted would log this object at the start.
    noisy = False
    #: Whether the server is stopping.
    draining = False
    _drained: "Deferred[None] | None" = None

    def __init__(
        self,
        resource: IResource,
        limits: Limits,
        observe: Callable[[Line], None],
        reactor: Any = None,
        begin: Callable[[JobRequest], bool] = lambda _request: False,
        least_status: int = 0,
        admit: Callable[[JobRequest], Awaitable[Problem | None]] = _admit_all,
        turns: Turns | None = None,
    ) -> None:
        """
        `observe` is called with every ended request. Requests with a status below `least_status` are not logged.
        `admit` checks a request with a long body before the body has arrived; it returns the problem to answer, or
        None. `begin` answers a request on the fast path, or returns False; then `resource` answers. `turns` schedules
        long work; by default the site has its own turns.
        """
        super().__init__(resource, requestFactory=JobRequest, reactor=reactor)
        # Twisted's time-out is not used: it restarts with every byte. See IdleConnections.
        self.timeOut = None
        self.limits = limits
        self.begin = begin
        self.admit = admit
        self.turns = turns or Turns(self.reactor)
        #: The connections that wait for their next request.
        self.idle = IdleConnections(limits.idle_seconds, self.reactor, LimitedChannel.timeoutConnection)
        #: The open connections.
        self.channels: set[LimitedChannel] = set()
        self._observe = observe
        self._recorder = Recorder(self.reactor, least_status)

    def startFactory(self) -> None:
        """Do nothing: Twisted would open a log, and wake up each second to format the date for it."""

    def stopFactory(self) -> None:
        """Do nothing: startFactory started nothing."""

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """A channel, or a refusal if too many connections are open."""
        if len(self.channels) >= self.limits.connections:
            self.refused(HTTPStatus.SERVICE_UNAVAILABLE, addr)
            return Overflow()
        return super().buildProtocol(addr)

    def log(self, request: _HTTPRequest) -> None:
        """Record a request that was answered."""
        assert isinstance(request, JobRequest)
        assert request.began is not None
        line = request.line(self.reactor.seconds() - request.began)
        self._observe(line)
        self._recorder.add(line)

    def cut_off(self, request: JobRequest) -> None:
        """Record a request whose connection was lost before the end of its answer."""
        self.log(request)

    def refused(
        self, status: HTTPStatus, address: IAddress | None = None, known: Known = (b"", b""), notes: Notes = NO_NOTES
    ) -> None:
        """Record a request that was refused before it was complete; `address` is the client's."""
        line = Line("-", host_of(address), *known, status.value, 0.0, time(), {"refused": status.phrase, **notes})
        self._observe(line)
        self._recorder.add(line)

    def drain(self) -> "Deferred[None]":
        """Close idle connections. The Deferred fires when all requests are answered and all connections closed."""
        self.draining = True
        if not self.channels:
            return succeed(None)
        # The Deferred may fire, and the attribute be reset, during this loop.
        drained = self._drained = Deferred()
        for channel in list(self.channels):
            channel.close_if_idle()
        return drained

    def forget(self, channel: LimitedChannel) -> None:
        """Record that a connection was lost."""
        self.channels.discard(channel)
        if self._drained is not None and not self.channels:
            drained, self._drained = self._drained, None
            drained.callback(None)
