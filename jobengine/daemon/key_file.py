"""The key file that stands in for a SECRET which nobody has set."""

import os
from secrets import token_hex

from twisted.logger import Logger

from ..storage.errors import WrongSecret

__all__ = ["key_file_secret"]

_log = Logger()


def key_file_secret(db_path: str) -> bytes:
    """
    The SECRET in the file `db_path`.key, which is made with a random one if the database is yet to be made.

    Raises WrongSecret if there is a database but no such file, and OSError.
    """
    path = db_path + ".key"
    try:
        with open(path, "rb") as file:
            return file.read().removesuffix(b"\n")
    except FileNotFoundError:
        pass
    if os.path.exists(db_path):
        raise WrongSecret(f"{db_path}: no SECRET is set and there is no {path}; set the SECRET it was made with")
    return _make(path)


def _make(path: str) -> bytes:
    secret = token_hex(32).encode()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(secret + b"\n")
        file.flush()
        os.fsync(descriptor)
    _log.warn("no SECRET is set: a random one was made in {path}; keep a copy of it apart from the database", path=path)
    return secret
