"""How much of an answer the client has yet to take, according to the operating system."""

import struct
from fcntl import ioctl
from termios import TIOCOUTQ
from typing import Any

from twisted.internet.interfaces import ISSLTransport

#: What the system holds for the other side of a connection, and the bytes behind that, which the system has not got
#: yet. Of TCP the system counts the bytes that were not acknowledged; of a Unix socket the memory of what was not read,
#: which becomes less in steps of up to 36 KiB. While nothing is written, two of them are the same only if the other
#: side took nothing in between.
Unsent = tuple[int, int]


def unsent(transport: Any) -> Unsent | None:
    """What the other side of a connection has yet to take; None if that is unknown."""
    beneath: Any = transport.transport if ISSLTransport.providedBy(transport) else transport  # type: ignore[attr-defined]  # TLS wraps it
    try:
        (held,) = struct.unpack("=i", ioctl(beneath.getHandle().fileno(), TIOCOUTQ, bytes(4)))
        return held, len(beneath.dataBuffer) - beneath.offset
    except (AttributeError, OSError):
        return None


def is_all_sent(transport: Any) -> bool:
    """Whether the other side has taken everything, as far as is known."""
    left = unsent(transport)
    return left is None or not any(left)
