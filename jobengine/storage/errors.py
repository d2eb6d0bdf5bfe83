"""Errors of the database file; str() of each is a message for the operator and says what to do next."""

import errno
from typing import Final

#: Codes of an OSError after which a write can succeed later: disk full, quota, file-size limit.
NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
#: The advice in an error about the missing driver of PostgreSQL.
INSTALL_DRIVER: Final = (
    "in a checkout, run pip install --no-deps --require-hashes -r requirements-postgres.lock, or "
    "pip install '.[postgres]'"
)


class StorageError(Exception):
    """The database can't be opened or written."""


class BadUrl(StorageError):
    """DATABASE_URL is not a connection string."""


class WrongSecret(StorageError):
    """The header is intact, but this SECRET does not decrypt its data key."""


class Locked(StorageError):
    """Another process holds the database."""


class NotADatabase(StorageError):
    """The file does not begin as a JobEngine database does."""


class NewerFormat(StorageError):
    """The file was written by a newer JobEngine, in a format that this version does not know."""


class Damaged(StorageError):
    """The file was altered after it was written, somewhere before its last frame."""


class Unclear(StorageError):
    """The last frame of the file is bad, in a way that no crash explains."""


class Stalled(StorageError):
    """The file can't be written now. It ends with its last whole frame, and can be written when the cause is gone."""


class NoRoom(Stalled, OSError):
    """A write failed for lack of room."""


class DatabaseAway(Stalled, OSError):
    """PostgreSQL can't be reached, or refuses writes now."""


class FileChanged(Stalled):
    """The file is not as this process left it: it was moved, deleted, replaced or overwritten."""


class StorageBroken(StorageError):
    """A write or sync failed, and the contents of the file on disk are unknown: nothing more may be written."""


class LeadLost(StorageBroken, OSError):
    """Another server leads: this one may write nothing more."""


class CommitsLost(LeadLost):
    """The database has lost what it had acknowledged: whoever leads has to read it again."""
