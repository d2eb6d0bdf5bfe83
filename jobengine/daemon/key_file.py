"""The key file, which holds the SECRET if no SECRET is set."""

import os
from contextlib import suppress
from secrets import token_hex

from twisted.logger import Logger

from ..storage.errors import WrongSecret
from ..storage.files import Files
from .secret_file import read_key_file

_log = Logger()


def key_file_secret(db_path: str, files: Files | None = None) -> bytes:
    """
    The SECRET in the file `db_path`.key; for a new database, the file is made with a random SECRET. Raises OSError, and
    WrongSecret if the file has no secret or is missing beside an existing database.
    """
    path = db_path + ".key"
    with suppress(FileNotFoundError):
        return read_key_file(path)
    if os.path.exists(db_path):
        raise WrongSecret(f"{db_path}: no SECRET is set and {path} does not exist; set the SECRET of this database")
    try:
        return _make(path, files or Files())
    except FileExistsError:  # another start has just made one: use it
        return read_key_file(path)


def _make(path: str, files: Files) -> bytes:
    """Make the key file, whole or not at all; raises FileExistsError if it exists."""
    secret = token_hex(32).encode()
    beside = f"{path}.new-{token_hex(4)}"
    try:
        _write(beside, secret + b"\n", files)
        # Unlike a rename, a link never replaces an existing file.
        files.link(beside, path)
    finally:
        files.remove(beside)
    directory = files.open_directory(os.path.dirname(path))
    try:
        files.sync_directory(directory)
    finally:
        files.close(directory)
    _log.warn("no SECRET is set: a random one was made in {path}; keep a copy away from the database", path=path)
    return secret


def _write(path: str, content: bytes, files: Files) -> None:
    descriptor = files.create(path)
    try:
        files.write(descriptor, content, 0)
        files.sync(descriptor)
    finally:
        files.close(descriptor)
