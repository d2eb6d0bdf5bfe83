"""How much of an answer the client has acknowledged, according to the operating system."""

import struct
from fcntl import ioctl
from socket import IPPROTO_TCP, TCP_INFO
from termios import TIOCOUTQ
from typing import Any, Final

from twisted.internet.interfaces import ISSLTransport

__all__ = ["is_all_taken", "taken"]

#: Where struct tcp_info of Linux has tcpi_bytes_acked, as 64 bits (since Linux 4.1).
_ACKED_AT: Final = 120
_ACKED: Final = struct.Struct("=Q")


def taken(transport: Any) -> int | None:
    """The bytes that the other side of a TCP connection has acknowledged; None if that is unknown."""
    try:
        info = _socket(transport).getsockopt(IPPROTO_TCP, TCP_INFO, _ACKED_AT + _ACKED.size)
        acked: int = _ACKED.unpack_from(info, _ACKED_AT)[0]
    except (AttributeError, OSError, struct.error):
        return None
    return acked


def is_all_taken(transport: Any) -> bool:
    """Whether the other side has acknowledged everything, as far as the system knows."""
    try:
        (waiting,) = struct.unpack("=i", ioctl(_socket(transport).fileno(), TIOCOUTQ, bytes(4)))
    except (AttributeError, OSError):
        return True
    return not waiting


def _socket(transport: Any) -> Any:
    """The socket of a connection, also under TLS."""
    beneath: Any = transport.transport if ISSLTransport.providedBy(transport) else transport  # type: ignore[attr-defined]  # TLS wraps it
    return beneath.getHandle()
