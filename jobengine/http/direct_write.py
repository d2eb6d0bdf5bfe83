"""Writes to a socket at once, as long as the client reads fast enough."""

from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.interfaces import ISSLTransport
from twisted.internet.tcp import Connection


def writer(transport: Any) -> Callable[[bytes], None]:
    """
    A function that writes to the transport: if it is a socket without TLS, at once while the socket has room.

    Twisted waits for the reactor's next turn with each write, and makes a system call before and after it. Without
    this wait and these calls, a request takes a tenth less time.
    """
    if isinstance(transport, Connection) and not ISSLTransport.providedBy(transport):
        return partial(_write_now, transport)
    write: Callable[[bytes], None] = transport.write
    return write


def _write_now(transport: Connection, data: bytes) -> None:
    """Write bytes if none wait before them; the transport writes what is left when the socket has room."""
    sent: object = 0
    if transport.connected and not (transport.dataBuffer or transport._tempDataLen):
        sent = transport.writeSomeData(data)
        if sent == len(data):
            return
    # If the connection was lost, `sent` is an exception: the transport now meets the same error, and reports it.
    transport.write(data[sent:] if isinstance(sent, int) else data)
