"""Writes a database anew under another SECRET."""

import errno
import os
from time import time_ns

from ..storage.files import Files
from ..storage.frames import Kdf
from ..storage.journal import Journal
from .source import Progress, no_progress
from .target import NewDatabase, new_target

__all__ = ["rekey"]


def rekey(
    path: str,
    secret: bytes,
    new_secret: bytes,
    progress: Progress = no_progress,
    *,
    files: Files | None = None,
    kdf: Kdf | None = None,
) -> int:
    """
    Write a database anew under a new SECRET and a new data key, and put it in its place; its new length.

    A crash at any moment leaves one or the other under its name. Raises Locked if a server runs on it, StorageError,
    FileNotFoundError and OSError, with nothing changed but that a torn last write was cut off as the server would have.
    """
    files = files or Files()
    path = os.path.abspath(path)
    if not files.exists(path):  # the lock would make a directory that is not there
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    journal = Journal(path, files=files)
    try:
        journal.lock()
        journal.open(secret)
        with new_target(path, files, replaces=True) as file:
            database = NewDatabase(file, new_secret, kdf or Kdf())
            for records in journal.recover(time_ns() // 1_000_000):
                database.add(records)
                progress(*journal.read_so_far)
            database.finish()
        return file.size
    finally:
        journal.close(orderly=False)
