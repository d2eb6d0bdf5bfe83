"""
Hears the notifications of other servers, on a connection of its own.

The reactor waits for its socket, as for those of clients. A thread that waits for it could not be stopped.
"""

import os
from collections.abc import Callable
from typing import Final

from attrs import define, field
from psycopg import Connection, OperationalError
from twisted.internet.interfaces import IDelayedCall, IReactorFDSet, IReactorTime, IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from ...threads import Thread
from ..database.connection import Row

__all__ = ["Listening"]

#: Seconds within which it must hear the echo of its server's notification; seconds from an echo to the next such trial.
_ECHO, _PAUSE = 2.0, 30.0
#: Seconds until a connection that was lost, or on which no echo came, is made anew.
_RETRY: Final = 5.0


@implementer(IReadDescriptor)
@define(kw_only=True, eq=False)
class Listening:
    """
    A connection that listens, and is made anew when it is lost.

    Notifications count as heard while it hears the echo of those that this server sends over another connection. Behind
    a pooler in transaction mode there is no echo: between two statements it has no connection to the database. It must
    be another connection that sends, because a connection hears its own notifications even there.
    """

    #: Makes the connection, which listens; blocks.
    connect: "Callable[[], Connection[Row]]"
    thread: Thread
    readers: IReactorFDSet
    clock: IReactorTime
    #: Sends a notification over another connection.
    hello: Callable[[], None]
    #: Told of each notification; returns whether this server has sent it.
    heard: Callable[[str], bool]
    #: Told when notifications are no longer heard.
    deafened: Callable[[], None]
    #: Whether notifications are heard.
    hears: bool = field(default=False, init=False)
    #: How many notifications of other servers were heard.
    received: int = field(default=0, init=False)
    #: How many connections were made.
    connected: int = field(default=0, init=False)
    _connection: "Connection[Row] | None" = field(default=None, init=False)
    #: A second descriptor of its socket. The driver closes the first one when the connection is lost, and the reactor
    #: can't remove a closed one.
    _descriptor: int = field(default=-1, init=False)
    _timer: IDelayedCall | None = field(default=None, init=False)
    _stopped: bool = field(default=False, init=False)

    def begin(self) -> None:
        """Connect and listen."""
        self.thread(self.connect).addCallbacks(self._begun, lambda _: self._end())

    def stop(self) -> None:
        """Listen no more."""
        self._stopped = True
        self._end()

    def _begun(self, connection: "Connection[Row]") -> None:
        self.connected += 1
        self._connection = connection
        if self._stopped:
            self._end()
            return
        self._descriptor = os.dup(connection.fileno())
        self.readers.addReader(self)
        self._say_hello()

    def _say_hello(self) -> None:
        self.hello()
        self._set(_ECHO, self._end)

    def _end(self) -> None:
        """Give the connection up, and try anew in a while."""
        hears, self.hears = self.hears, False
        connection, self._connection = self._connection, None
        if connection is not None:
            self._close(connection)
        self._set(_RETRY, self.begin)
        if hears:
            self.deafened()

    def _close(self, connection: "Connection[Row]") -> None:
        if self._descriptor != -1:
            self.readers.removeReader(self)
            os.close(self._descriptor)
            self._descriptor = -1
        connection.close()

    def _set(self, seconds: float, then: Callable[[], None]) -> None:
        """Set the one timer."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None if self._stopped else self.clock.callLater(seconds, then)

    # IReadDescriptor

    def fileno(self) -> int:
        """The socket; -1 without a connection."""
        return self._descriptor

    def doRead(self) -> None:
        """Take what has come; nothing here blocks."""
        if self._connection is None:
            return
        database = self._connection.pgconn
        try:
            database.consume_input()
        except OperationalError:
            self._end()
            return
        while (notification := database.notifies()) is not None:
            self._take(notification.extra.decode(errors="replace"))

    def _take(self, said: str) -> None:
        if not self.heard(said):
            self.received += 1
            return
        self.hears = True
        self._set(_PAUSE, self._say_hello)

    def connectionLost(self, reason: Failure) -> None:
        """Told by the reactor that the socket is of no use any more."""
        self._end()

    def logPrefix(self) -> str:
        """What it is called in the log."""
        return "listening to the database"
