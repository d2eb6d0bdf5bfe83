"""Looks for changes by other servers while a client waits or watches here."""

from collections.abc import Callable
from typing import Final, LiteralString

from attrs import define, field
from psycopg import Connection
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ...door import Unavailable
from ..batch.lane import Lane
from ..database.connection import Row
from .event_log import Read, Watches, read_watched
from .waiters import Found, Waiting, look

__all__ = ["Looking"]

#: Seconds to the first look for a waiter. Its claim may have passed over jobs that another connection had locked; if
#: that connection does not take them, there is no notification. Also the seconds between looks while none are heard.
_PAUSE: Final = 0.25
#: Seconds between looks while they are heard.
_HEARING: Final = 2.0
#: Seconds between looks that follow notifications.
_PACE: Final = 0.05
_Seen = tuple[Found, Read | None]


@define(kw_only=True, eq=False)
class Looking:
    """Looks one after the other, as long as there are waiters or watchers."""

    clock: IReactorTime
    waiting: Waiting
    watches: Watches
    #: Whether other servers are heard.
    hears: Callable[[], bool]
    _lane: Lane | None = field(default=None, init=False)
    _time: LiteralString = field(default="", init=False)
    _timer: IDelayedCall | None = field(default=None, init=False)
    _under_way: bool = field(default=False, init=False)
    #: When to look next, and when the last look began, by the monotonic clock.
    _wanted: float | None = field(default=None, init=False)
    _began: float = field(default=0, init=False)
    _log: Logger = field(factory=Logger, init=False)

    def begin(self, lane: Lane, time: LiteralString) -> None:
        """Look through this lane from now on; `time` reads the time, in SQL."""
        self._lane, self._time = lane, time

    def stop(self) -> None:
        """Look no more."""
        self._lane = None
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def later(self) -> None:
        """Look after the first pause, because a client begins to wait, or nothing is heard any more."""
        self._look_within(_PAUSE)

    def soon(self) -> None:
        """Look at once, or a little later if that was just done: another server has told of changes, maybe of many."""
        self._look_within(self._began + _PACE - self.clock.seconds())

    def hurry(self) -> None:
        """Look now if anybody watches, because something has happened on this server."""
        if self.watches:
            self._look_within(0)

    def _look_within(self, seconds: float) -> None:
        when = self.clock.seconds() + max(0.0, seconds)
        self._wanted = when if self._wanted is None else min(self._wanted, when)
        if not self._under_way:
            self._set()

    def _set(self) -> None:
        if self._lane is None or self._wanted is None:
            return
        wait = max(0.0, self._wanted - self.clock.seconds())
        if self._timer is None:
            self._timer = self.clock.callLater(wait, self._look)
        elif self._timer.getTime() > self._wanted:
            self._timer.reset(wait)

    def _look(self) -> None:
        self._timer, self._wanted = None, None
        lane = self._lane
        if lane is None or not (self.waiting or self.watches):
            return
        self._under_way, self._began = True, self.clock.seconds()
        names, ends, numbers = self.waiting.line.names(), self.waiting.ends.places(), self.watches.numbers()

        def work(connection: "Connection[Row]") -> _Seen:
            """One look, on the lane's thread."""
            rows = lane.session.rows
            read = read_watched(connection, rows, self._time, numbers) if numbers else None
            return look(connection, rows, names, ends), read

        looked = lane.thread(lambda: lane.session.run(work))
        looked.addCallback(self._seen).addErrback(self._failed).addBoth(self._go_on)

    def _seen(self, seen: _Seen) -> None:
        found, read = seen
        self.waiting.note_found(found)
        if read is not None:
            self.watches.note(read)

    def _failed(self, failure: Failure) -> None:
        if not failure.check(Unavailable):
            self._log.failure("a look at the database has failed", failure)

    def _go_on(self, _: object) -> None:
        self._under_way = False
        if self.waiting or self.watches:
            self._look_within(_HEARING if self.hears() else _PAUSE)
        self._set()
