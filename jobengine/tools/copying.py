"""Copies a database: any prefix of whole frames is a consistent backup, with the same key."""

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
    #: The bytes of an incomplete last frame, which is not copied.
    unfinished: int


def backup(
    path: str, target: str, secret: bytes, progress: Progress = no_progress, *, files: Files | None = None
) -> Copied:
    """
    Copy a database as of the start of the copy; every frame is checked. A server may run on it.

    Raises StorageError, TargetExists and OSError, and then makes no `target`.
    """
    with _copying(path, target, secret, files) as (source, file):
        for _ in source.frames(progress):
            file.write(*source.walk.last)
        return Copied(size=file.size, unfinished=source.unfinished)


def restore(
    path: str, target: str, secret: bytes, progress: Progress = no_progress, *, files: Files | None = None
) -> tuple[Copied, Sequence[QueueCount]]:
    """
    Copy a database after reading every record, and report its queues and jobs.

    Raises StorageError, TargetExists and OSError, and then makes no `target`.
    """
    live = LiveRecords(path, JobCounts)
    with _copying(path, target, secret, files) as (source, file):
        for frame in source.frames(progress):
            live.add(frame.records)
            file.write(*source.walk.last)
        return Copied(size=file.size, unfinished=source.unfinished), counts_in(live)


@contextmanager
def _copying(path: str, target: str, secret: bytes, files: Files | None) -> Iterator[tuple[Source, NewFile]]:
    """Open source and target, and copy the header."""
    files = files or Files()
    check_free(target, files)
    with open_source(path, secret, files) as source, new_target(target, files) as file:
        file.write(source.header)
        yield source, file
