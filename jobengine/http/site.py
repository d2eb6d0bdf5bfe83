"""The site: connections that can be counted and drained, and a log line for each request."""

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from time import time
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress
from twisted.web.http import Request as _HTTPRequest
from twisted.web.resource import IResource
from twisted.web.server import Site

from .access_log import Line, Recorder, host_of
from .channel import LimitedChannel, Overflow
from .idle import Idle
from .limits import Limits
from .problem import Problem
from .request import JobRequest
from .turns import Turns

__all__ = ["JobSite"]


async def _all_are_welcome(_request: JobRequest) -> None:
    pass


class JobSite(Site):
    """The root of the HTTP server."""

    protocol = LimitedChannel  # type: ignore[assignment]  # a channel without the HTTP/2 that Twisted's offers

    def __init__(
        self,
        resource: IResource,
        limits: Limits,
        observe: Callable[[Line], None],
        reactor: Any = None,
        begin: Callable[[JobRequest], bool] = lambda _request: False,
        least_status: int = 0,
        admit: Callable[[JobRequest], Awaitable[Problem | None]] = _all_are_welcome,
        turns: Turns | None = None,
    ) -> None:
        """
        `observe` is told of every request that has ended; those with a status below `least_status` are not logged.

        `admit` says whether a request with a long body is let in before the body is there: None, or what to answer.
        `begin` answers requests that need no search for their resource; what it returns False for goes to `resource`.
        `turns` are those in which what takes long goes on; by default none but its own.
        """
        super().__init__(resource, requestFactory=JobRequest, reactor=reactor)
        # Twisted's own time-out is not used: see Idle for what it costs.
        self.timeOut = None
        self.limits = limits
        self.begin = begin
        self.admit = admit
        self.turns = turns or Turns(self.reactor)
        #: The connections that wait for a next request.
        self.idle: Idle[LimitedChannel] = Idle(limits.idle_seconds, self.reactor, LimitedChannel.timeoutConnection)
        #: The connections that are open.
        self.channels: set[LimitedChannel] = set()
        #: Whether the server is stopping.
        self.draining = False
        self._observe = observe
        self._recorder = Recorder(self.reactor, least_status)
        self._drained: Deferred[None] | None = None

    def startFactory(self) -> None:
        """Do nothing: Twisted would open a log of its own, and wake up each second to have the date for it."""

    def stopFactory(self) -> None:
        """Do nothing, as there is nothing that startFactory has begun."""

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """A channel, or a refusal if there are enough of them."""
        if len(self.channels) >= self.limits.connections:
            self.refused(HTTPStatus.SERVICE_UNAVAILABLE, addr)
            return Overflow()
        return super().buildProtocol(addr)

    def log(self, request: _HTTPRequest) -> None:
        """A request was answered: count it, and have its line written."""
        assert isinstance(request, JobRequest)
        self._ended(request)

    def cut_off(self, request: JobRequest) -> None:
        """A request has lost its connection before its answer was whole: the same is done for it."""
        self._ended(request)

    def refused(self, status: HTTPStatus, address: IAddress | None = None) -> None:
        """Do the same for a request that was refused before it was whole; `address` is where it came from."""
        self._record(Line("-", host_of(address), b"", b"", status.value, 0.0, time(), {"refused": status.phrase}))

    def _ended(self, request: JobRequest) -> None:
        assert request.began is not None
        self._record(request.line(self.reactor.seconds() - request.began))

    def _record(self, line: Line) -> None:
        self._observe(line)
        self._recorder.add(line)

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
