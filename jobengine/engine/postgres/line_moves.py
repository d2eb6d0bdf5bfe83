"""
Lets one server move the jobs of a queue to their new places, and another continue if that server has ended.

The column `moving` of a queue is the time, by the database's clock, until which a server moves its jobs. That server
keeps extending this time; once it has passed, any server takes up the move.
"""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from math import inf
from typing import Final, LiteralString

from attrs import define, field
from psycopg import Connection
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ...core.model import Queue
from ...storage.errors import Damaged
from ..door import Unavailable
from ..line_mover import LineMover
from ..sweeps import Asks
from .batch.lane import Lane
from .database.pipeline import Row
from .database.rows import Rows
from .sql import named

#: Seconds between checks of all queues.
_PAUSE: Final = 10.0
#: Milliseconds for which a move belongs to a server that does not renew it.
_LEASE: Final = 30_000
_TAKE_MOVES: Final = named("take_moves")
_LEAVE_MOVES: Final = named("leave_moves")


@define(kw_only=True, eq=False)
class LineMoves:
    """The moves of this server."""

    engine: Asks
    clock: IReactorTime
    #: A lane for short work.
    lane: Lane
    rows: Rows
    #: The SQL expression that reads the time.
    time: LiteralString
    #: Waits for the end of all changes that began before the present order was set.
    ready: Callable[[], Awaitable[object]]
    _mover: LineMover = field(init=False)
    #: When the next check is due, by the monotonic clock.
    _due: float = field(default=0, init=False)
    _log: Logger = field(factory=Logger, init=False)

    def __attrs_post_init__(self) -> None:
        self._mover = LineMover(self.engine, self.clock, self._claimed)

    def begin(self, queue: Queue) -> None:
        """Start moving the jobs of a queue to their new places; see LineMover."""
        self._mover.begin(queue)

    def look(self) -> None:
        """Renew the moves of this server, and take up those that other servers have left; at most once in _PAUSE."""
        if self.clock.seconds() >= self._due:
            self._due = self.clock.seconds() + _PAUSE
            self.lane.thread(lambda: self.lane.session.run(self._take)).addCallback(self._go_on).addErrback(
                self._failed
            )

    async def stop(self) -> None:
        """Stop after the present slices, and leave the remaining moves to other servers."""
        names, self._due = self._names(), inf
        self._mover.stop()
        if names:
            leaving = self.lane.thread(lambda: self.lane.session.run(lambda it: _LEAVE_MOVES.execute(it, names=names)))
            await leaving.addErrback(self._failed)

    async def _claimed(self) -> None:
        """Claim a move for this server, then wait until it may begin."""
        self._go_on(await self.lane.thread(lambda: self.lane.session.run(self._take)))
        await self.ready()

    def _names(self) -> list[bytes]:
        return [self.rows.name(name) for name in self._mover.queues]

    def _take(self, connection: "Connection[Row]") -> list[Queue]:
        found = []
        for row in _TAKE_MOVES.at(self.time).execute(connection, names=self._names(), lease=_LEASE).fetchall():
            with suppress(Damaged):
                found.append(self.rows.queue(*row))
        return found

    def _go_on(self, queues: Sequence[Queue]) -> None:
        for queue in queues:
            if queue.name not in self._mover.queues:
                self._mover.begin(queue)

    def _failed(self, failure: Failure) -> None:
        if not failure.check(Unavailable):
            self._log.failure("the queues whose jobs have to move were not found", failure)
