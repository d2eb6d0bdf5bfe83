# Made from _async/backup.py by tests/client/twin.py: edit that one and run it again.
"""Downloads a copy of the server's database."""

import os
from contextlib import closing
from http import HTTPStatus

from .. import calls
from ..errors import Unavailable
from ..http_codec import Broken, NotConnected, Response
from ..new_file import NewFile
from .caller import Caller
from .transport import blocking

_BYTES = "application/octet-stream"


def save(caller: Caller, path: "str | os.PathLike[str]") -> int:
    """Write a copy to a new file as it arrives, and return its length in bytes. Raises JobEngineError and OSError."""
    file = blocking(NewFile, path)
    try:
        _receive(caller, file)
        blocking(file.finish)
    except (NotConnected, Broken) as error:
        raise Unavailable(f"No complete copy came from {caller.pool.address.url}: {error}.") from None
    finally:
        blocking(file.close)
    return file.size


def _receive(caller: Caller, file: NewFile) -> None:
    head, refusal = Response(0, {}, b""), b""
    with closing(caller.pool.stream(caller.request(calls.BACKUP), caller.timeout)) as parts:
        for part in parts:
            if isinstance(part, Response):
                head = part
                head.url = caller.pool.address.url
                if head.status == HTTPStatus.OK and head.media_type != _BYTES:
                    raise calls.not_jobengine(head, "it is not a copy of a database")
            elif head.status == HTTPStatus.OK:
                blocking(file.write, part)
            else:
                refusal += part
    if head.status != HTTPStatus.OK:
        head.body = refusal
        raise calls.failure(head)
