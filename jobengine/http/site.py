"""The site: connections that can be counted and drained, and a log line for each request."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress
from twisted.logger import Logger
from twisted.web.http import Request as _HTTPRequest
from twisted.web.resource import IResource
from twisted.web.server import Site

from .access_log import Recorder
from .channel import LimitedChannel, Overflow
from .idle import Idle
from .limits import Limits
from .request import JobRequest

__all__ = ["JobSite"]

_log: Final = Logger(namespace="jobengine.web")


class JobSite(Site):
    """The root of the HTTP server."""

    protocol = LimitedChannel  # type: ignore[assignment]  # a channel without the HTTP/2 that Twisted's offers

    def __init__(
        self,
        resource: IResource,
        limits: Limits,
        observe: Callable[[bytes, bytes, int, float], None],
        reactor: Any = None,
        begin: Callable[[JobRequest], bool] = lambda _request: False,
    ) -> None:
        """
        `observe` is told of every answer: method, path, status and seconds.

        `begin` answers requests that need no search for their resource; what it returns False for goes to `resource`.
        """
        super().__init__(resource, requestFactory=JobRequest, reactor=reactor)
        # Twisted's own time-out is not used: see Idle for what it costs.
        self.timeOut = None
        self.limits = limits
        self.begin = begin
        #: The connections that wait for a next request.
        self.idle: Idle[LimitedChannel] = Idle(limits.idle_seconds, self.reactor, LimitedChannel.timeoutConnection)
        #: The connections that are open.
        self.channels: set[LimitedChannel] = set()
        #: Whether the server is stopping.
        self.draining = False
        self._observe = observe
        self._recorder = Recorder(self.reactor)
        self._drained: Deferred[None] | None = None

    def startFactory(self) -> None:
        """Do nothing: Twisted would open a log of its own, and wake up each second to have the date for it."""

    def stopFactory(self) -> None:
        """Do nothing, as there is nothing that startFactory has begun."""

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """A channel, or a refusal if there are enough of them."""
        if len(self.channels) >= self.limits.connections:
            self.refused(HTTPStatus.SERVICE_UNAVAILABLE)
            return Overflow()
        return super().buildProtocol(addr)

    def log(self, request: _HTTPRequest) -> None:
        """A request was answered: count it, and have its line written."""
        assert isinstance(request, JobRequest)
        seconds = self.reactor.seconds() - request.began
        self._observe(request.method, request.path, request.code, seconds)
        self._recorder.add(request.method, request.path, request.code, seconds, request.id)

    def refused(self, status: HTTPStatus) -> None:
        """Write the line of a request that was refused before it was whole."""
        self._observe(b"", b"", status.value, 0.0)
        _log.info("refused {status} {reason}", status=status.value, reason=status.phrase)

    def drain(self) -> "Deferred[None]":
        """Close what is idle; fires when what is under way was answered and no connection is left."""
        self.draining = True
        if not self.channels:
            return succeed(None)
        # It may have fired, and be forgotten, before the last of them was asked.
        drained = self._drained = Deferred()
        for channel in list(self.channels):
            channel.close_if_idle()
        return drained

    def forget(self, channel: LimitedChannel) -> None:
        """A connection is gone."""
        self.channels.discard(channel)
        if self._drained is not None and not self.channels:
            drained, self._drained = self._drained, None
            drained.callback(None)
