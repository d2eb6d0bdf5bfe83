"""How many bytes of an answer the client has not read yet, according to the operating system."""

import struct
from fcntl import ioctl
from termios import TIOCOUTQ
from typing import Any

from twisted.internet.interfaces import ISSLTransport

#: The bytes that the system holds for the other side of a connection, and the bytes still in this process. For TCP the
#: system counts unacknowledged bytes; for a Unix socket the memory of unread data, which shrinks in steps of up to 36
#: KiB. If the value stays equal and nothing is written, the other side has read nothing.
Unsent = tuple[int, int]


def unsent(transport: Any) -> Unsent | None:
    """The bytes that the other side of a connection has not read yet; None if unknown."""
    beneath: Any = transport.transport if ISSLTransport.providedBy(transport) else transport  # type: ignore[attr-defined]  # what TLS wraps; no interface names it
    try:
        (held,) = struct.unpack("=i", ioctl(beneath.getHandle().fileno(), TIOCOUTQ, bytes(4)))
        return held, len(beneath.dataBuffer) - beneath.offset
    except (AttributeError, OSError):
        return None


def is_all_sent(transport: Any) -> bool:
    """Whether the other side has read everything; also True if that is unknown."""
    left = unsent(transport)
    return left is None or not any(left)
