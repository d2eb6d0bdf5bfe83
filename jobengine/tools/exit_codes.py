"""The exit codes of `jobengine db`, by error."""

from collections.abc import Mapping
from enum import IntEnum
from typing import Final

from ..daemon.secret_file import BadSecret, BlankSecret
from ..storage.errors import Damaged, Locked, NewerFormat, NotADatabase, StorageError, Unclear, WrongSecret
from .exporting import NoSuchQueue
from .go_file import BadGoFile
from .importing import BadExport
from .importing_go import BeyondLimits
from .target import TargetExists

__all__ = ["Ending", "ending_of"]


class Ending(IntEnum):
    """The exit codes of a command that works on files."""

    DONE = 0
    #: It failed, or the target exists.
    COULD_NOT = 1
    USAGE = 2
    WRONG_SECRET = 3
    #: The file is damaged, not a database, or of a newer version.
    DAMAGED = 4
    IN_USE = 5


#: The first class that matches an error counts.
_ENDINGS: Final[Mapping[type[Exception], Ending]] = {
    BadSecret: Ending.USAGE,
    BlankSecret: Ending.USAGE,
    WrongSecret: Ending.WRONG_SECRET,
    Damaged: Ending.DAMAGED,
    Unclear: Ending.DAMAGED,
    NotADatabase: Ending.DAMAGED,
    NewerFormat: Ending.DAMAGED,
    Locked: Ending.IN_USE,
    BadExport: Ending.DAMAGED,
    BadGoFile: Ending.DAMAGED,
    BeyondLimits: Ending.COULD_NOT,
    NoSuchQueue: Ending.COULD_NOT,
    TargetExists: Ending.COULD_NOT,
    StorageError: Ending.COULD_NOT,
    OSError: Ending.COULD_NOT,
}


def ending_of(error: Exception) -> Ending | None:
    """The exit code for an error; None if the error is a bug."""
    return next((ending for kind, ending in _ENDINGS.items() if isinstance(error, kind)), None)
