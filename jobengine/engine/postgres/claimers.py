"""
Shares with other servers which claims wait on this server, and when its clients last claimed from each queue.

Each server has one row in the table `claimers`. A server writes its row half a second after a claim, and then every
five seconds while claims wait or were recent; a row without updates is soon outdated. Other servers' rows are read when
a client's request needs them, at most once a second. So an idle server does nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from secrets import randbits
from typing import Final, LiteralString, TypeVar

from attrs import define, field
from msgspec import DecodeError, Struct
from msgspec.json import Decoder, Encoder
from psycopg import Connection
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ...core.claimers import Claimers, Origin, WaitingClaim
from ...storage.errors import Damaged
from ..claimers import ClaimLog
from ..door import Unavailable
from .batch.lane import Lane
from .database.pipeline import Row
from .database.rows import Rows
from .sql import named

R = TypeVar("R")

#: Seconds from a claim to the write of the row, and between writes while claims wait.
_FIRST, _PAUSE = 0.5, 5.0
#: Milliseconds after which another server's row is outdated: that server has stopped, or can't reach the database.
_VALID: Final = 12_000
#: Milliseconds after which a row is removed.
_OLD: Final = 3_600_000
#: Seconds for which rows are cached.
_READ: Final = 1.0
#: How many waiting claims, and how many worker origins, a server's row in the database holds at most.
_MOST: Final = 1_000
_WRITE_CLAIMERS: Final = named("write_claimers")
_DELETE_OLD_CLAIMERS: Final = named("delete_old_claimers")
_READ_CLAIMERS: Final = named("read_claimers")


class _ServerClaims(Struct):
    """The claims of one server."""

    #: The waiting claims, at most _MOST.
    waiting: list[WaitingClaim] = []
    #: How many claims wait for each queue.
    counts: dict[str, int] = {}
    #: By queue, the elapsed time of its last claim, if that is not too long ago; see _VALID.
    last: dict[str, int] = {}
    #: The origin (host, pid, client) of each worker, by queue and worker.
    origins: dict[str, dict[str, Origin]] = {}


_encode: Final = Encoder().encode
_decode: Final = Decoder(_ServerClaims).decode


@define(kw_only=True, eq=False)
class SharedClaims:
    """The claims of all servers, as far as this server knows them."""

    clock: IReactorTime
    own: ClaimLog
    #: Elapsed time now, in milliseconds.
    elapsed: Callable[[], int]
    #: The SQL expression that reads the database's time.
    time: LiteralString
    lane: Lane
    rows: Rows
    _server: int = field(factory=lambda: randbits(62), init=False)
    _others: Sequence[_ServerClaims] = field(default=(), init=False)
    _timer: IDelayedCall | None = field(default=None, init=False)
    _stopped: bool = field(default=False, init=False)
    #: When the rows of other servers were read, by the monotonic clock.
    _read_at: float | None = field(default=None, init=False)
    _log: Logger = field(factory=Logger, init=False)

    # Rules call these methods on the threads of lanes.

    def claimers(self, name: str) -> Claimers:
        own = self.own.claimers(name)
        waiting = [one for server in self._others for one in server.waiting if name in one.queues]
        origins: dict[str, Origin] = {}
        for server in self._others:
            origins |= server.origins.get(name, {})
        return Claimers(
            waiting=sorted([*own.waiting, *waiting], key=lambda one: one.since),
            origins={**origins, **own.origins},
        )

    def claims(self, name: str) -> tuple[int, int | None]:
        count = self.own.waiting(name) + sum(one.counts.get(name, 0) for one in self._others)
        times = [self.own.last.get(name), *(one.last.get(name) for one in self._others)]
        return count, max((one for one in times if one is not None), default=None)

    # Reading

    async def refresh(self) -> None:
        """Read the rows of other servers, unless they were read within the last second."""
        now = self.clock.seconds()
        if self._read_at is not None and now < self._read_at + _READ:
            return
        self._read_at = now
        try:
            self._others = await self._run(self._find)
        except Unavailable:
            # No error is raised here: the command that needs these rows fails with the same error.
            self._read_at = None

    def _find(self, connection: "Connection[Row]") -> Sequence[_ServerClaims]:
        found = _READ_CLAIMERS.at(self.time).execute(connection, server=self._server, age=_VALID).fetchall()
        return [claims for (sealed,) in found if (claims := self._opened(sealed)) is not None]

    def _opened(self, sealed: bytes) -> _ServerClaims | None:
        """The claims in a row; None if the row is damaged, or is from a version with other fields."""
        try:
            return _decode(self.rows.seal.open(sealed))
        except (Damaged, DecodeError):
            return None

    # Writing

    def write_later(self) -> None:
        """Schedule a write of this server's row, after a claim."""
        if self._timer is None and not self._stopped:
            self._timer = self.clock.callLater(_FIRST, self._write_now)

    def stop(self) -> None:
        """Stop writing. The row is not removed, because an unreachable database would delay the stop."""
        self._stopped = True
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def _write_now(self) -> None:
        claims = self._own_claims()
        self._run(lambda connection: self._write(connection, claims)).addErrback(self._failed).addBoth(
            self._go_on, bool(claims.waiting or claims.last)
        )

    def _go_on(self, _: object, again: bool) -> None:  # an argument of a callback
        self._timer = None
        if again and not self._stopped:
            self._timer = self.clock.callLater(_PAUSE, self._write_now)

    def _failed(self, failure: Failure) -> None:
        if not failure.check(Unavailable):
            self._log.failure("waiting claims could not be shared with other servers", failure)

    def _own_claims(self) -> _ServerClaims:
        log, lately = self.own, self.elapsed() - _VALID
        last = {name: at for name, at in log.last.items() if at >= lately}
        waiting: dict[int, WaitingClaim] = {}
        counts = {name: log.waiting(name) for name in log.line.names()}
        for name in counts:
            if len(waiting) < _MOST:
                waiting |= {id(one): shown for one in log.line.claims(name) if (shown := log.shown(one))}
        return _ServerClaims(list(waiting.values())[:_MOST], counts, last, _some(log.origins, _MOST))

    def _write(self, connection: "Connection[Row]", claims: _ServerClaims) -> None:
        sealed = self.rows.seal.seal(_encode(claims))
        with connection.transaction():
            # The commit need not wait for the disk: the next write replaces a lost one.
            connection.execute("SET LOCAL synchronous_commit TO off")
            _WRITE_CLAIMERS.at(self.time).execute(connection, server=self._server, sealed=sealed)
            _DELETE_OLD_CLAIMERS.at(self.time).execute(connection, age=_OLD)

    def _run(self, work: "Callable[[Connection[Row]], R]") -> "Deferred[R]":
        return self.lane.thread(lambda: self.lane.session.run(work))


def _some(origins: Mapping[str, Mapping[str, Origin]], most: int) -> dict[str, dict[str, Origin]]:
    """The origins of at most `most` workers; of each queue, the workers with the latest claims."""
    some: dict[str, dict[str, Origin]] = {}
    for name, its in origins.items():
        if most <= 0:
            break
        some[name] = dict(list(its.items())[-most:])
        most -= len(some[name])
    return some
