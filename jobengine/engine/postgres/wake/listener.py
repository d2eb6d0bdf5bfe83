"""
Receives the notifications of other servers, on a separate connection.

The reactor waits for its socket: a thread that blocks on the socket could not be stopped.
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
from ..database.pipeline import Row

#: The echo of the server's own notification must arrive within _ECHO seconds; the next test follows after _PAUSE
#: seconds.
_ECHO, _PAUSE = 2.0, 30.0
#: Seconds before a connection that was lost, or has no echoes, is replaced.
_RETRY: Final = 5.0


@implementer(IReadDescriptor)
@define(kw_only=True, eq=False)
class Listener:
    """
    A connection that listens for notifications, and is replaced when it is lost.

    To test the connection, this server notifies itself over another connection, and waits for the echo. Behind a pooler
    in transaction mode there is no echo, because between two statements the listener has no database connection. The
    test uses another connection, because each connection receives its own notifications, even behind such a pooler.
    """

    #: Makes a connection that listens; blocks.
    connect: "Callable[[], Connection[Row]]"
    thread: Thread
    readers: IReactorFDSet
    clock: IReactorTime
    #: Sends a notification over another connection.
    hello: Callable[[], None]
    #: Called with each notification; returns whether this server has sent it.
    on_notification: Callable[[str], bool]
    #: Called when notifications are no longer received.
    silenced: Callable[[], None]
    #: Whether notifications are received.
    receives: bool = field(default=False, init=False)
    #: How many notifications of other servers were received.
    received: int = field(default=0, init=False)
    #: How many connections were made.
    connected: int = field(default=0, init=False)
    _connection: "Connection[Row] | None" = field(default=None, init=False)
    #: A duplicate of the socket's descriptor. The driver closes its own when the connection is lost, and the reactor
    #: can't remove a closed descriptor.
    _descriptor: int = field(default=-1, init=False)
    _timer: IDelayedCall | None = field(default=None, init=False)
    _stopped: bool = field(default=False, init=False)

    def begin(self) -> None:
        """Connect and listen."""
        self.thread(self.connect).addCallbacks(self._begun, lambda _: self._end())

    def stop(self) -> None:
        """Stop listening."""
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
        self._send_hello()

    def _send_hello(self) -> None:
        self.hello()
        self._set(_ECHO, self._end)

    def _end(self) -> None:
        """Close the connection, and reconnect after _RETRY seconds."""
        receives, self.receives = self.receives, False
        connection, self._connection = self._connection, None
        if connection is not None:
            self._close(connection)
        self._set(_RETRY, self.begin)
        if receives:
            self.silenced()

    def _close(self, connection: "Connection[Row]") -> None:
        if self._descriptor != -1:
            self.readers.removeReader(self)
            os.close(self._descriptor)
            self._descriptor = -1
        connection.close()

    def _set(self, seconds: float, then: Callable[[], None]) -> None:
        """Call `then` after some seconds, instead of any earlier call."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None if self._stopped else self.clock.callLater(seconds, then)

    # IReadDescriptor

    def fileno(self) -> int:
        """The socket; -1 without a connection."""
        return self._descriptor

    def doRead(self) -> None:
        """Read the arrived notifications, without blocking."""
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

    def _take(self, text: str) -> None:
        if not self.on_notification(text):
            self.received += 1
            return
        self.receives = True
        self._set(_PAUSE, self._send_hello)

    def connectionLost(self, reason: Failure) -> None:
        """Called by the reactor when the socket is unusable."""
        self._end()

    def logPrefix(self) -> str:
        """The listener's name in the log."""
        return "listening to the database"
