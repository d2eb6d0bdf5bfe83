"""Rewrites a database with another SECRET."""

import errno
import os
from time import time_ns

from ..daemon.secret_file import BadSecret
from ..storage.files import Files
from ..storage.frames import Kdf
from ..storage.journal import Journal
from .source import Progress, no_progress
from .target import NewDatabase, new_target


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
    Rewrite a database in place with a new SECRET and a new data key. Returns the new length.

    After a crash the file has either the old contents or the new. Raises Locked if a server uses the database,
    BadSecret if the database has the new SECRET already, StorageError, FileNotFoundError and OSError; after an error
    the database is unchanged, except that an incomplete last write was cut off.
    """
    files = files or Files()
    journal = Journal(path, files=files)
    if not journal.exists:  # the lock would create a missing directory
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    try:
        journal.lock()
        journal.open(secret)
        if new_secret == secret:
            raise BadSecret(f"{path} has this SECRET already; nothing was rewritten")
        with new_target(journal.path, files, replaces=True) as file:
            database = NewDatabase(file, new_secret, kdf or Kdf())
            _copy(journal, database, progress)
        return file.size
    finally:
        journal.close(orderly=False)


def _copy(journal: Journal, database: NewDatabase, progress: Progress) -> None:
    for records in journal.recover(time_ns() // 1_000_000):
        database.add(records)
        progress(*journal.read_so_far)
    database.finish()
