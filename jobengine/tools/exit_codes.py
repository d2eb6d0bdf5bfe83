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


class DbExit(IntEnum):
    """The exit codes of a command that works on files."""

    DONE = 0
    #: The command failed, or the target exists.
    COULD_NOT = 1
    USAGE = 2
    WRONG_SECRET = 3
    #: The file is damaged, not a database, or of a newer version.
    DAMAGED = 4
    IN_USE = 5


#: The exit code of each class; the first class that matches an error decides.
_EXITS: Final[Mapping[type[Exception], DbExit]] = {
    BadSecret: DbExit.USAGE,
    BlankSecret: DbExit.USAGE,
    WrongSecret: DbExit.WRONG_SECRET,
    Damaged: DbExit.DAMAGED,
    Unclear: DbExit.DAMAGED,
    NotADatabase: DbExit.DAMAGED,
    NewerFormat: DbExit.DAMAGED,
    Locked: DbExit.IN_USE,
    BadExport: DbExit.DAMAGED,
    BadGoFile: DbExit.DAMAGED,
    BeyondLimits: DbExit.COULD_NOT,
    NoSuchQueue: DbExit.COULD_NOT,
    TargetExists: DbExit.COULD_NOT,
    StorageError: DbExit.COULD_NOT,
    OSError: DbExit.COULD_NOT,
}


def db_exit_of(error: Exception) -> DbExit | None:
    """The exit code for an error; None if the error is a bug."""
    return next((ending for kind, ending in _EXITS.items() if isinstance(error, kind)), None)
