"""Maps storage errors to the engine's public errors."""

from ..storage.committer import Backlog
from ..storage.errors import FileChanged, NoRoom, StorageError
from .door import Busy, Full, OutcomeUnknown, Unavailable


def unavailable(error: StorageError) -> Unavailable:
    """The public error for a storage error; its text says whether the change was made, and what to do."""
    if isinstance(error, NoRoom):
        return Full(
            "The disk has no room for the change. It was not made now, but may still be made when there is room: "
            "check before you repeat it. Reads are answered."
        )
    if isinstance(error, FileChanged):
        return Full(
            "The database file was moved, deleted, replaced or overwritten while the server runs; the server's /readyz "
            "says what to do. The change was not made now, but is made later if the file comes back: check before you "
            "repeat it. Reads are answered."
        )
    if isinstance(error, Backlog):
        return Busy("Too many changes are waiting to be written; this one was not made. Try again.")
    return OutcomeUnknown(
        "Storage has failed and the server is stopping: the change may or may not have been made. Check after the "
        "restart, before you repeat it."
    )
