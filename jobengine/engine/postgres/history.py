"""
Saves this server's counts in the table `history`, and reads those of all servers.

There is a row for each queue, period and server, with whole counts and not differences: writing it twice changes
nothing. It is written some seconds after a change, in a transaction of its own; without changes, nothing is written. A
server that is killed loses the counts of these seconds.
"""

from collections.abc import Mapping
from typing import Final

from attrs import define, field
from psycopg import Connection
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ...core.activity import Unsaved
from ..door import Unavailable
from .batch.lane import Lane
from .database.history_rows import write_periods
from .database.pipeline import Row
from .stats import ServerActivity

#: Seconds from a change to the write of its counts.
_PAUSE: Final = 5.0


@define(kw_only=True, eq=False)
class HistoryKeeper:
    """The timer of the writes."""

    clock: IReactorTime
    activity: ServerActivity
    lane: Lane
    _timer: IDelayedCall | None = field(default=None, init=False)
    _stopped: bool = field(default=False, init=False)
    _log: Logger = field(factory=Logger, init=False)

    def write_later(self) -> None:
        """Schedule a write, because something was counted."""
        if self._timer is None and not self._stopped:
            self._timer = self.clock.callLater(_PAUSE, self._begin)

    async def stop(self) -> None:
        """Write the rest, unless the database is unreachable."""
        self._stopped = True
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        if not self.lane.session.trouble:
            await self._write()

    def _begin(self) -> None:
        self._timer = None
        self._write()

    def _write(self) -> "Deferred[None]":
        taken = self.activity.take_unsaved()
        if not taken:
            return succeed(None)
        server, ids = self.activity.server, dict(self.activity.ids)
        counted = [(ids[name], its) for name, its in taken.items() if name in ids]

        def work(connection: "Connection[Row]") -> None:
            """Write on the lane's thread; the next write makes up for a lost one."""
            with connection.transaction():
                connection.execute("SET LOCAL synchronous_commit TO off")
                write_periods(connection, server, counted)

        return self.lane.thread(lambda: self.lane.session.run(work)).addErrback(self._failed, taken)

    def _failed(self, failure: Failure, taken: Mapping[str, Unsaved]) -> None:
        self.activity.put_back(taken)
        self.write_later()
        if not failure.check(Unavailable):
            self._log.failure("the history of queues could not be kept", failure)
