"""Copies of a database: a prefix of whole frames is a consistent backup, with the same key."""

from collections.abc import Callable, Sequence

from attrs import frozen

from ..core.fact_codec import UnknownRecord
from .census import Census, QueueCount
from .checking import newer
from .source import Progress, no_progress, open_source
from .target import check_free, new_target

__all__ = ["Copied", "backup", "restore"]


@frozen(kw_only=True)
class Copied:
    """What a copy has come to."""

    #: Its length in bytes.
    size: int
    #: The bytes of a last frame that is not whole, which is not in the copy.
    unfinished: int


def backup(path: str, target: str, secret: bytes, progress: Progress = no_progress) -> Copied:
    """
    Copy a database as it is when this begins, each frame checked on the way; a server may run on it.

    Raises StorageError, TargetExists and OSError; there is no `target` then.
    """
    return _copy(path, target, secret, progress, lambda _: None)


def restore(
    path: str, target: str, secret: bytes, progress: Progress = no_progress
) -> tuple[Copied, Sequence[QueueCount]]:
    """
    Copy a database in which every record can be read, and say which queues and jobs it has.

    Raises StorageError, TargetExists and OSError; there is no `target` then.
    """
    census = Census()
    try:
        copied = _copy(path, target, secret, progress, census.add)
    except UnknownRecord as error:
        raise newer(path, error) from None
    return copied, list(census.queues())


def _copy(path: str, target: str, secret: bytes, progress: Progress, look: Callable[[Sequence[bytes]], None]) -> Copied:
    check_free(target)
    with open_source(path, secret) as source, new_target(target) as file:
        file.write(source.header)
        for frame in source.frames(progress):
            look(frame.records)
            file.write(*source.walk.last)
        return Copied(size=file.size, unfinished=source.unfinished)
