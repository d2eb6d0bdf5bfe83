"""Helpers that write and read small databases whose records are plain bytes."""

import os
from collections.abc import Iterable
from pathlib import Path

from jobengine.storage.files import Files
from jobengine.storage.frames import FRAME_HEAD, HEADER_SIZE
from jobengine.storage.journal import Journal
from tests.doubles import QUICK_KDF, SECRET

Commit = tuple[bytes, ...]
NOW = 1_800_000_000_000


def opened(path: Path, files: Files | None = None, secret: bytes = SECRET) -> tuple[Journal, list[Commit]]:
    """An open and confirmed journal, and the commits that it has read."""
    return recovered(Journal(str(path), files=files or Files(), kdf=QUICK_KDF), secret)


def recovered(journal: Journal, secret: bytes = SECRET, now: int = NOW) -> tuple[Journal, list[Commit]]:
    """
    Open a journal on an existing file or a new one, without confirming it; returns it with the commits that it has
    read.
    """
    try:
        if journal.lock():
            journal.open(secret)
            return journal, list(journal.recover(now))
        journal.make(secret)
    except BaseException:
        journal.close(orderly=False)
        raise
    return journal, []


def read(path: Path, secret: bytes = SECRET) -> list[Commit]:
    """The commits in a file."""
    journal, commits = opened(path, secret=secret)
    journal.close(orderly=False)
    return commits


def write(path: Path, commits: Iterable[Commit], *, orderly: bool = False, secret: bytes = SECRET) -> bytes:
    """Make a file of these commits and return its bytes."""
    journal, _ = opened(path, secret=secret)
    for records in commits:
        journal.append(records)
    journal.close(orderly=orderly)
    return path.read_bytes()


def frame_starts(data: bytes) -> list[int]:
    """The offset of each frame, and the end of the last."""
    starts = [HEADER_SIZE]
    while starts[-1] < len(data):
        length = int.from_bytes(data[starts[-1] + 4 : starts[-1] + 8], "big")
        starts.append(starts[-1] + FRAME_HEAD + length)
    return starts


def without_end(backup: bytes) -> bytes:
    """A backup without its last frame, the closing frame that every backup has."""
    return backup[: frame_starts(backup)[-2]]


def listing(folder: Path) -> list[str]:
    """The names of the files in a folder, without the lock file."""
    return sorted(name for name in os.listdir(folder) if not name.endswith(".lock"))
