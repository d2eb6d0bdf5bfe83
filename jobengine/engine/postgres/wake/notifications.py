"""Wakes waiters and watchers after changes by other servers, and notifies other servers of this server's changes."""

from collections.abc import Callable
from functools import lru_cache
from typing import Final

from attrs import define, field
from psycopg import Connection
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFDSet, IReactorTime

from ...threads import Thread
from ..batch.decide import Result
from ..batch.lane import Lane
from ..database.pipeline import Row
from .event_log import Watches
from .listener import Listener
from .news import NewsSender, news_of, notify
from .poller import Poller
from .waiters import Waiters

#: The most digests of names to cache.
_KEPT: Final = 10_000


@define(kw_only=True, eq=False)
class Notifications:
    """Sends and receives notifications, and wakes the affected waiters."""

    clock: IReactorTime
    waiters: Waiters
    watches: Watches
    poller: Poller
    #: Returns the digest of a queue's name.
    digest: Callable[[str], bytes]
    #: The lane that sends notifications; see Listener for why it does not use the listener's connection.
    lane: Lane
    sender: NewsSender = field(init=False)
    listener: Listener | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self.sender = NewsSender(clock=self.clock, digest=lru_cache(_KEPT)(self.digest), send=self._send)

    @property
    def receives(self) -> bool:
        """Whether notifications of other servers are received."""
        return self.listener is not None and self.listener.receives

    def begin(self, connect: "Callable[[], Connection[Row]]", thread: Thread, readers: IReactorFDSet) -> None:
        """Begin to send and listen."""
        thread.start()
        self.listener = Listener(
            connect=connect,
            thread=thread,
            readers=readers,
            clock=self.clock,
            hello=self.sender.hello,
            on_notification=self._receive,
            silenced=self.poller.later,
        )
        self.listener.begin()

    def stop(self) -> None:
        """Stop sending and listening."""
        self.sender.stop()
        if self.listener is not None:
            self.listener.stop()

    @property
    def threads(self) -> list[Thread]:
        """The listener's thread, if there is one; the caller ends it after `stop`."""
        return [] if self.listener is None else [self.listener.thread]

    def announce(self, result: Result) -> None:
        """Notify other servers of a batch's changes."""
        news = news_of(result)
        self.waiters.mark_outdated(news)
        if self.listener is not None:
            self.sender.add(news)

    def _send(self, payloads: list[str]) -> "Deferred[None]":
        return self.lane.thread(lambda: self.lane.session.run(lambda connection: notify(connection, payloads)))

    def _receive(self, payload: str) -> bool:
        if self.sender.is_own(payload):
            return True
        news = self.sender.wanted_in(payload, self.waiters.news() | self.watches.news())
        if news:
            self.waiters.mark_outdated(news)
            self.poller.soon()
        return False
