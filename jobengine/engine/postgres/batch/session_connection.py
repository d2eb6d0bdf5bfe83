"""A session's connection, which is replaced when it is lost; the log says once why no connection can be made."""

from collections.abc import Callable
from contextlib import suppress
from threading import Lock
from typing import Final

from attrs import define, field
from psycopg import Connection, InterfaceError, OperationalError
from twisted.logger import Logger

from ....storage.errors import StorageError
from ...door import Busy
from ..database.connection import NotConnected, connected
from ..database.pipeline import Row
from .totals import Totals

#: Seconds between attempts of `reconnect`.
_RETRY: Final = 1.0


@define(eq=False)
class Reach:
    """Logs that a session can't connect, once for each kind of reason, and when all sessions can connect again."""

    _failing: set[object] = field(factory=set, init=False)
    #: The kinds of reasons that were logged since all sessions were last connected.
    _logged: set[str] = field(factory=set, init=False)
    _lock: Lock = field(factory=Lock, init=False)
    _log: Logger = field(factory=Logger, init=False)

    def failed(self, session: object, kind: str, why: str) -> None:
        """Record that a session can't connect. `kind` is for everybody, `why` only for the log."""
        with self._lock:
            self._failing.add(session)
            is_new = kind not in self._logged
            self._logged.add(kind)
        if is_new:
            self._log.error("{kind}: {why}", kind=kind, why=why)

    def succeeded(self, session: object) -> None:
        """Record that a session is connected."""
        with self._lock:
            self._failing.discard(session)
            has_ended = bool(self._logged) and not self._failing
            if has_ended:
                self._logged.clear()
        if has_ended:
            self._log.info("the database is reached again")


@define(kw_only=True, eq=False)
class SessionConnection:
    """Connects when a connection is needed."""

    url: str = field(repr=False)
    #: Whether commits do not wait for the disk.
    interval: bool
    totals: Totals
    reach: Reach
    #: The monotonic clock, in seconds.
    steady: Callable[[], float]
    #: The kind of reason why the last attempt to connect failed; empty if it succeeded. It has no secrets.
    trouble: str = field(default="", init=False)
    _tried_at: float = field(default=0, init=False)
    _made: "Connection[Row] | None" = field(default=None, init=False)

    def get(self) -> "Connection[Row]":
        """The connection; makes one if there is none. Raises Busy if that fails."""
        if self._made is None:
            self._tried_at = self.steady()
            try:
                self._made = connected(self.url, interval=self.interval, round_trip=self.totals.count_round_trip)
            except StorageError as error:
                raise self._failed(error) from None
            self.trouble = ""
            self.reach.succeeded(self)
            self.totals.connected += 1
        return self._made

    def _failed(self, error: StorageError) -> Busy:
        kind, why = "the database is not usable", str(error)
        if isinstance(error, NotConnected):
            kind, why = error.kind, error.why
        self.trouble = kind
        self.reach.failed(self, kind, why)
        return Busy(f"{kind.capitalize()} now; nothing was carried out. Try again.")

    def reconnect(self) -> None:
        """Try again to connect, at most once a second, if the last attempt failed."""
        if self.trouble and self.steady() >= self._tried_at + _RETRY:
            with suppress(Busy):
                self.get()

    def roll_back(self) -> None:
        """End the transaction, if there is a connection."""
        if self._made is not None:
            try:
                self._made.execute("ROLLBACK")
            except (OperationalError, InterfaceError):
                self.close()

    def close(self) -> None:
        """Close the connection; the next task makes a new one."""
        if self._made is not None:
            self._made.close()
            self._made = None
