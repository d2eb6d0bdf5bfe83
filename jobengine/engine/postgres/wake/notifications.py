"""Wakes waiters and watchers when another server has changed something, and tells others what this one has changed."""

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
from ..database.connection import Row
from .event_log import Watches
from .listener import Listening
from .news import Notices, news_of, notify
from .poller import Looking
from .waiters import Waiting

__all__ = ["WakeUps"]

#: How many digests of names are kept.
_KEPT: Final = 10_000


@define(kw_only=True, eq=False)
class WakeUps:
    """The notifications that are sent and heard, and what follows from them."""

    clock: IReactorTime
    waiting: Waiting
    watches: Watches
    looking: Looking
    #: The digest of a queue's name.
    digest: Callable[[str], bytes]
    #: The lane that sends notifications; see Listening for why it is another connection than the one that listens.
    lane: Lane
    notices: Notices = field(init=False)
    listening: Listening | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self.notices = Notices(clock=self.clock, digest=lru_cache(_KEPT)(self.digest), send=self._send)

    @property
    def hears(self) -> bool:
        """Whether other servers are heard."""
        return self.listening is not None and self.listening.hears

    def begin(self, connect: "Callable[[], Connection[Row]]", thread: Thread, readers: IReactorFDSet) -> None:
        """Tell and listen from now on."""
        thread.start()
        self.listening = Listening(
            connect=connect,
            thread=thread,
            readers=readers,
            clock=self.clock,
            hello=self.notices.hello,
            heard=self._heard,
            deafened=self.looking.later,
        )
        self.listening.begin()

    def stop(self) -> None:
        """Neither tell nor listen any more."""
        self.notices.stop()
        if self.listening is not None:
            self.listening.stop()
            self.listening.thread.stop()

    def note(self, result: Result) -> None:
        """Tell what a batch has changed."""
        news = news_of(result)
        self.waiting.note_news(news)
        if self.listening is not None:
            self.notices.tell(news)

    def _send(self, said: list[str]) -> "Deferred[None]":
        return self.lane.thread(lambda: self.lane.session.run(lambda connection: notify(connection, said)))

    def _heard(self, said: str) -> bool:
        if self.notices.is_own(said):
            return True
        told = self.notices.told(said, self.waiting.news() | self.watches.news())
        if told:
            self.waiting.note_news(told)
            self.looking.soon()
        return False
