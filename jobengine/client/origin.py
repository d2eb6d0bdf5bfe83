"""Describes this process in claims, for the operators of queues."""

import os
import socket
from collections.abc import Mapping
from typing import Final

from .. import __version__

#: The most characters of each text that a server accepts.
_LONGEST: Final = 100


def origin() -> Mapping[str, str]:
    """The fields `host`, `pid` and `client` of claims; without `host` if the machine has no name."""
    fields = {"host": socket.gethostname(), "pid": str(os.getpid()), "client": f"jobengine-python/{__version__}"}
    return {name: text[:_LONGEST] for name, text in fields.items() if text}
