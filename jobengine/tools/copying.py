"""Copies of a database: a prefix of whole frames is a consistent backup, with the same key."""

from attrs import frozen

from .source import Progress, no_progress, open_source
from .target import check_free, new_target

__all__ = ["Copied", "copy"]


@frozen(kw_only=True)
class Copied:
    """What a copy has come to."""

    #: Its length in bytes.
    size: int
    #: The bytes of a last frame that is not whole, which is not in the copy.
    unfinished: int


def copy(path: str, target: str, secret: bytes, progress: Progress = no_progress) -> Copied:
    """
    Copy a database as it is when this begins, each frame checked on the way; a server may run on it.

    Raises StorageError, TargetExists and OSError; there is no `target` then.
    """
    check_free(target)
    with open_source(path, secret) as source, new_target(target) as file:
        file.write(source.header)
        for _ in source.frames(progress):
            file.write(*source.walk.last)
        return Copied(size=file.size, unfinished=source.unfinished)
