"""Copies of a database: a prefix of whole frames is a consistent backup, with the same key."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from attrs import frozen

from ..storage.files import Files
from .census import Census, QueueCount, add_to
from .source import Progress, Source, no_progress, open_source
from .target import NewFile, check_free, new_target

__all__ = ["Copied", "backup", "restore"]


@frozen(kw_only=True)
class Copied:
    """What a copy has come to."""

    #: Its length in bytes.
    size: int
    #: The bytes of a last frame that is not whole, which is not in the copy.
    unfinished: int


def backup(
    path: str, target: str, secret: bytes, progress: Progress = no_progress, *, files: Files | None = None
) -> Copied:
    """
    Copy a database as it is when this begins, each frame checked on the way; a server may run on it.

    Raises StorageError, TargetExists and OSError; there is no `target` then.
    """
    with _copying(path, target, secret, files) as (source, file):
        for _ in source.frames(progress):
            file.write(*source.walk.last)
        return Copied(size=file.size, unfinished=source.unfinished)


def restore(
    path: str, target: str, secret: bytes, progress: Progress = no_progress, *, files: Files | None = None
) -> tuple[Copied, Sequence[QueueCount]]:
    """
    Copy a database in which every record can be read, and say which queues and jobs it has.

    Raises StorageError, TargetExists and OSError; there is no `target` then.
    """
    census = Census()
    with _copying(path, target, secret, files) as (source, file):
        for frame in source.frames(progress):
            add_to(census, path, frame.records)
            file.write(*source.walk.last)
        return Copied(size=file.size, unfinished=source.unfinished), list(census.queues())


@contextmanager
def _copying(path: str, target: str, secret: bytes, files: Files | None) -> Iterator[tuple[Source, NewFile]]:
    """Open both ends; the header is copied."""
    files = files or Files()
    check_free(target, files)
    with open_source(path, secret, files) as source, new_target(target, files) as file:
        file.write(source.header)
        yield source, file
