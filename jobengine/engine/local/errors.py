"""Errors of storage, as callers of the engine get them."""

from ...storage.committer import Backlog
from ...storage.errors import NoRoom, StorageError
from ..door import Busy, Full, OutcomeUnknown, Unavailable


def unavailable(error: StorageError) -> Unavailable:
    """What a caller gets for an error of storage: it says whether the change was made, and what to do."""
    if isinstance(error, NoRoom):
        return Full(
            "The disk has no room for the change. It was not made now; it may still be made when there is room, so "
            "look before you repeat it. Reads are answered."
        )
    if isinstance(error, Backlog):
        return Busy("More changes are waiting to be written than may wait; this one was not made. Try again.")
    return OutcomeUnknown(
        "Storage has failed and the server is stopping: the change may or may not be there when it is back. Look "
        "before you repeat it."
    )
