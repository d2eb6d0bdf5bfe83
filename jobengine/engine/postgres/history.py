"""
Saves this server's counts in the table `history`.

There is a row for each queue, period and server, with total counts, not differences: writing a row twice changes
nothing. A row is written some seconds after a change, in a separate transaction. A server that is killed loses the
counts of these seconds.
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
    """Writes this server's counts to the database, some seconds after a count has changed."""

    clock: IReactorTime
    activity: ServerActivity
    lane: Lane
    _timer: IDelayedCall | None = field(default=None, init=False)
    _stopped: bool = field(default=False, init=False)
    _log: Logger = field(factory=Logger, init=False)

    def write_later(self) -> None:
        """Schedule a write, after a count has changed."""
        if self._timer is None and not self._stopped:
            self._timer = self.clock.callLater(_PAUSE, self._begin)

    async def stop(self) -> None:
        """Stop the timer and write unsaved counts, unless the database is unreachable."""
        self._stopped = True
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        if not self.lane.session.connection.trouble:
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
            """Write on the lane's thread. The commit need not wait for the disk: the next write replaces a lost one."""
            with connection.transaction():
                connection.execute("SET LOCAL synchronous_commit TO off")
                write_periods(connection, server, counted)

        return self.lane.thread(lambda: self.lane.session.run(work)).addErrback(self._failed, taken)

    def _failed(self, failure: Failure, taken: Mapping[str, Unsaved]) -> None:
        self.activity.put_back(taken)
        self.write_later()
        if not failure.check(Unavailable):
            self._log.failure("the history of queues could not be kept", failure)
