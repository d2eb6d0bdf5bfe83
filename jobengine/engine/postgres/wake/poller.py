"""Polls for changes by other servers while a client waits or watches here."""

from collections.abc import Callable
from typing import Final, LiteralString

from attrs import define, field
from psycopg import Connection
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ...door import Unavailable
from ..batch.lane import Lane
from ..database.pipeline import Row
from .event_log import ReadEvents, Watches, read_watched
from .waiters import PollResult, Waiters, poll

#: Seconds to the first poll for a waiter: its claim may have skipped jobs that another connection had locked. If that
#: connection does not claim the jobs, no notification follows. Also the seconds between polls while no notifications
#: are received.
_PAUSE: Final = 0.25
#: Seconds between polls while notifications are received.
_RECEIVING: Final = 2.0
#: The least seconds between polls that notifications cause.
_PACE: Final = 0.05
_Polled = tuple[PollResult, ReadEvents | None]


@define(kw_only=True, eq=False)
class Poller:
    """Polls with a pause after each poll, as long as there are waiters or watchers."""

    clock: IReactorTime
    waiters: Waiters
    watches: Watches
    #: Whether notifications of other servers are received.
    receives: Callable[[], bool]
    _lane: Lane | None = field(default=None, init=False)
    _time: LiteralString = field(default="", init=False)
    _timer: IDelayedCall | None = field(default=None, init=False)
    _under_way: bool = field(default=False, init=False)
    #: When the next poll is due, by the monotonic clock.
    _wanted: float | None = field(default=None, init=False)
    #: When the last poll began, by the monotonic clock.
    _began: float = field(default=0, init=False)
    _log: Logger = field(factory=Logger, init=False)

    def begin(self, lane: Lane, time: LiteralString) -> None:
        """Begin to poll through this lane; `time` is the SQL expression that reads the time."""
        self._lane, self._time = lane, time

    def stop(self) -> None:
        """Stop polling."""
        self._lane = None
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def later(self) -> None:
        """Poll after _PAUSE: a client has begun to wait, or notifications are no longer received."""
        self._poll_within(_PAUSE)

    def soon(self) -> None:
        """Poll at once or, if the last poll was recent, shortly: a notification has arrived, and more may follow."""
        self._poll_within(self._began + _PACE - self.clock.seconds())

    def hurry(self) -> None:
        """Poll now if there are watchers, because of a change on this server."""
        if self.watches:
            self._poll_within(0)

    def _poll_within(self, seconds: float) -> None:
        when = self.clock.seconds() + max(0.0, seconds)
        self._wanted = when if self._wanted is None else min(self._wanted, when)
        if not self._under_way:
            self._set()

    def _set(self) -> None:
        if self._lane is None or self._wanted is None:
            return
        wait = max(0.0, self._wanted - self.clock.seconds())
        if self._timer is None:
            self._timer = self.clock.callLater(wait, self._poll)
        elif self._timer.getTime() > self._wanted:
            self._timer.reset(wait)

    def _poll(self) -> None:
        self._timer, self._wanted = None, None
        lane = self._lane
        if lane is None or not (self.waiters or self.watches):
            return
        self._under_way, self._began = True, self.clock.seconds()
        names, ends, numbers = self.waiters.line.names(), self.waiters.ends.places(), self.watches.numbers()

        def work(connection: "Connection[Row]") -> _Polled:
            """One poll, on the lane's thread."""
            rows = lane.session.rows
            read = read_watched(connection, rows, self._time, numbers) if numbers else None
            return poll(connection, rows, names, ends), read

        polled = lane.thread(lambda: lane.session.run(work))
        polled.addCallback(self._apply).addErrback(self._failed).addBoth(self._go_on)

    def _apply(self, polled: _Polled) -> None:
        result, read = polled
        self.waiters.apply_poll(result)
        if read is not None:
            self.watches.deliver(read)

    def _failed(self, failure: Failure) -> None:
        if not failure.check(Unavailable):
            self._log.failure("a poll of the database has failed", failure)

    def _go_on(self, _: object) -> None:
        self._under_way = False
        if self.waiters or self.watches:
            self._poll_within(_RECEIVING if self.receives() else _PAUSE)
        self._set()
