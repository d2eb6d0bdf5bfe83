"""
Copies a database. The first frames of a database, however many, are a consistent backup with the same key. A closing
frame ends each copy, so a copy that is cut off later is detected.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from attrs import frozen

from ..storage.files import Files
from .job_counts import JobCounts, QueueCount, counts_in
from .live_records import LiveRecords
from .source import Progress, Source, no_progress, open_source
from .target import NewFile, check_free, new_target


@frozen(kw_only=True)
class Copied:
    """The result of a copy."""

    #: The length of the new file in bytes.
    size: int
    #: The length in bytes of an incomplete last frame, which is not copied.
    unfinished: int
    #: Whether the copied file ends with a closing frame, as every backup does.
    ended: bool


def backup(
    path: str, target: str, secret: bytes, progress: Progress = no_progress, *, files: Files | None = None
) -> Copied:
    """
    Copy a database as of the start of the copy, and check every frame. A server may use the database. Raises
    StorageError, TargetExists and OSError; then there is no `target`.
    """
    with _copying(path, target, secret, files) as (source, file):
        for _ in source.frames(progress):
            file.write(*source.walk.last)
        return _ended(source, file)


def restore(
    path: str, target: str, secret: bytes, progress: Progress = no_progress, *, files: Files | None = None
) -> tuple[Copied, Sequence[QueueCount]]:
    """
    Check every record of a database and copy it; returns also its queues and job counts. Raises StorageError,
    TargetExists and OSError; then there is no `target`.
    """
    live = LiveRecords(path, JobCounts)
    with _copying(path, target, secret, files) as (source, file):
        for frame in source.frames(progress):
            live.add(frame.records)
            file.write(*source.walk.last)
        return _ended(source, file), counts_in(live)


@contextmanager
def _copying(path: str, target: str, secret: bytes, files: Files | None) -> Iterator[tuple[Source, NewFile]]:
    """Open source and target, and copy the header."""
    files = files or Files()
    check_free(target, files)
    with open_source(path, secret, files) as source, new_target(target, files) as file:
        file.write(source.header)
        yield source, file


def _ended(source: Source, file: NewFile) -> Copied:
    """Write the closing frame. It states that all bytes before it are on disk: the file gets its name after a sync."""
    file.write(source.walk.chain.backup_end(file.size))
    return Copied(size=file.size, unfinished=source.unfinished, ended=source.walk.closed)
