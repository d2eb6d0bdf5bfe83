"""
Notifies other servers of changed queues, so that these wake their waiters and watchers.

Notifications are sent after the commits, a few times a second, because PostgreSQL serialises commits that notify.
"""

from collections.abc import Callable, Set
from secrets import token_hex
from typing import Final, LiteralString

from attrs import define, field
from psycopg import Connection
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from ....core.effects import Effect, ItemEffect, JobEffect, QueueEffect
from ....core.model import FINISHED
from ...waiting_line import has_become_ready
from ..batch.decide import Result
from ..database.arrays import texts
from ..database.connection import connected, together
from ..database.pipeline import Row, Statement
from ..database.rows import has_flow
from ..sql import named

#: The kinds of news: jobs have become ready; jobs were finished or removed; there are events for watchers.
READY, ENDED, EVENTS = "R", "E", "W"
#: Pairs of a kind of news and the name of a queue.
News = Set[tuple[str, str]]
#: The least seconds between two sends.
_PAUSE: Final = 0.05
#: The most news in one notification: PostgreSQL accepts less than 8,000 bytes.
_MOST: Final = 200
_LISTEN: Final[LiteralString] = "LISTEN jobengine"
_NOTIFY: Final = named("notify")


def news_of(result: Result) -> News:
    """The news after a batch."""
    ready, ended, changed, others = set[str](), set[str](), set[str](), list[Effect]()
    for effect in result.effects:
        if isinstance(effect, JobEffect):
            changed.add(effect.queue)
            if effect.new is None or effect.new.standing.state in FINISHED:
                ended.add(effect.queue)
            elif effect.queue not in ready and has_become_ready(effect.old, effect.new):
                ready.add(effect.queue)
        else:
            others.append(effect)
    known = result.now.known
    items = {effect.queue for effect in others if isinstance(effect, ItemEffect)}
    # In a queue with flow, any change of a job may make another job claimable.
    ready |= {name for name in changed | items if has_flow(known.get(name))}
    queues = {effect.queue for effect in others if isinstance(effect, QueueEffect)}
    # Leave out deleted queues: jobs may have expired in a queue before it was deleted.
    watched = {name for name in changed if name in known and known[name].watched}
    kinds = ((READY, ready | queues), (ENDED, ended | queues), (EVENTS, watched | queues))
    return {(kind, name) for kind, names in kinds for name in names}


def listen(url: str) -> "Connection[Row]":
    """A new connection that listens to the notifications of servers; raises StorageError."""
    made = connected(url)
    made.execute(_LISTEN)
    return made


def notify(connection: "Connection[Row]", payloads: list[str]) -> None:
    """
    Send notifications. The commit does not wait for the disk: if a notification is lost, servers find the changes by
    polling.
    """
    together(
        connection,
        Statement("BEGIN"),
        Statement("SET LOCAL synchronous_commit TO off"),
        _NOTIFY(payloads=texts(payloads)),
        Statement("COMMIT"),
    )


@define(kw_only=True, eq=False)
class NewsSender:
    """Gathers news and sends them: the first at once, later news together after a pause."""

    clock: IReactorTime
    #: Returns the digest of a queue's name. Notifications hold only digests, no names.
    digest: Callable[[str], bytes]
    #: Sends notifications.
    send: "Callable[[list[str]], Deferred[None]]"
    #: How many notifications were sent.
    sent: int = field(default=0, init=False)
    #: The first word of this server's own notifications.
    _server: str = field(factory=lambda: token_hex(8), init=False)
    _news: set[tuple[str, str]] = field(factory=set, init=False)
    #: Whether to send a notification, even without news.
    _wanted: bool = field(default=False, init=False)
    _under_way: bool = field(default=False, init=False)
    _stopped: bool = field(default=False, init=False)
    _not_before: float = field(default=0, init=False)
    _timer: IDelayedCall | None = field(default=None, init=False)

    def add(self, news: News) -> None:
        """Add news for other servers."""
        if news:
            self._news |= news
            self.hello()

    def hello(self) -> None:
        """Send a notification even without news, so that this server's Listener gets an echo."""
        self._wanted = True
        self._set()

    def stop(self) -> None:
        """Stop sending."""
        self._stopped = True
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def is_own(self, payload: str) -> bool:
        """Whether this server has sent the notification."""
        return payload.partition(" ")[0] == self._server

    def wanted_in(self, payload: str, wanted: News) -> News:
        """The news in a notification that are also in `wanted`."""
        words = set(payload.split(" ")[1:])
        return {one for one in wanted if self._word(one) in words}

    def _word(self, one: tuple[str, str]) -> str:
        kind, name = one
        return kind + self.digest(name).hex()

    def _set(self) -> None:
        if self._wanted and not self._under_way and not self._stopped and self._timer is None:
            self._timer = self.clock.callLater(max(0.0, self._not_before - self.clock.seconds()), self._send)

    def _send(self) -> None:
        self._timer, self._wanted, self._under_way = None, False, True
        self._not_before = self.clock.seconds() + _PAUSE
        words, self._news = [self._word(one) for one in self._news], set()
        payloads = [" ".join([self._server, *words[at : at + _MOST]]) for at in range(0, len(words) or 1, _MOST)]
        self.send(payloads).addCallbacks(self._count, _ignore, (len(payloads),)).addBoth(self._go_on)

    def _count(self, _: None, number: int) -> None:
        self.sent += number

    def _go_on(self, _: object) -> None:
        self._under_way = False
        self._set()


def _ignore(_: object) -> None:
    """Ignore a failure: other servers find the changes by polling."""
