"""What can go wrong with the database file; str() of each is written for the operator and says what to do next."""

__all__ = [
    "Damaged",
    "Locked",
    "NewerFormat",
    "NoRoom",
    "NotADatabase",
    "StorageBroken",
    "StorageError",
    "Unclear",
    "WrongSecret",
]


class StorageError(Exception):
    """Anything that keeps the database from being opened or written."""


class WrongSecret(StorageError):
    """The header is intact, but the data key does not open with this SECRET."""


class Locked(StorageError):
    """Another process holds the database."""


class NotADatabase(StorageError):
    """The file does not begin as a JobEngine database does."""


class NewerFormat(StorageError):
    """The file was written by a version whose format is not known here."""


class Damaged(StorageError):
    """Something in the middle of the file is not as it was written."""


class Unclear(StorageError):
    """The end of the file is not as it was written, and not as a crash would leave it either."""


class NoRoom(StorageError):
    """A write failed for lack of room; the file was cut back to its last whole frame and can be written again."""


class StorageBroken(StorageError):
    """A write or sync failed in a way that leaves open what is on disk: nothing may be written any more."""
