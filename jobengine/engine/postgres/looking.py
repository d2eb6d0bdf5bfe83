"""Looks for the changes of other servers while somebody waits or watches here."""

from typing import Final, LiteralString

from attrs import define, field
from psycopg import Connection
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..door import Unavailable
from .connection import Row
from .lane import Lane
from .waiting import Found, Waiting, look
from .watching import Read, Watches, read_watched

__all__ = ["Looking"]

#: Seconds between two looks.
_PAUSE: Final = 0.25
_Seen = tuple[Found, Read | None]


@define(kw_only=True, eq=False)
class Looking:
    """One look after the other, as long as there are waiters or watchers."""

    clock: IReactorTime
    waiting: Waiting
    watches: Watches
    _lane: Lane | None = field(default=None, init=False)
    _time: LiteralString = field(default="", init=False)
    _timer: IDelayedCall | None = field(default=None, init=False)
    _under_way: bool = field(default=False, init=False)
    #: Whether to look again at once.
    _again: bool = field(default=False, init=False)
    _log: Logger = field(factory=Logger, init=False)

    def begin(self, lane: Lane, time: LiteralString) -> None:
        """Look through this lane from now on; `time` reads the time, in SQL."""
        self._lane, self._time = lane, time

    def stop(self) -> None:
        """Look no more."""
        self._lane = None
        self._cancel()

    def later(self) -> None:
        """Look after the pause."""
        if self._timer is None and not self._under_way:
            self._timer = self.clock.callLater(_PAUSE, self._look)

    def hurry(self) -> None:
        """Look now if anybody watches, because something has happened on this server."""
        if not self.watches:
            return
        self._again = self._under_way
        if not self._under_way:
            self._cancel()
            self._timer = self.clock.callLater(0, self._look)

    def _cancel(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()

    def _look(self) -> None:
        self._timer = None
        lane = self._lane
        if lane is None or not (self.waiting or self.watches):
            return
        self._under_way, self._again = True, False
        names, ends, numbers = self.waiting.line.names(), self.waiting.ends.places(), self.watches.numbers()

        def work(connection: "Connection[Row]") -> _Seen:
            """One look, on the lane's thread."""
            rows = lane.session.rows
            read = read_watched(connection, rows, self._time, numbers) if numbers else None
            return look(connection, rows, names, ends), read

        lane.thread(lambda: lane.session.run(work)).addCallbacks(self._seen, self._failed).addBoth(self._go_on)

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
        if self._again:
            self.hurry()
        elif self._lane is not None and (self.waiting or self.watches):
            self.later()
