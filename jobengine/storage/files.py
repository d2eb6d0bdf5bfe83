"""The few file system calls of the journal; tests replace them by faults and simulated crashes."""

import fcntl
import os
import stat
from contextlib import suppress
from threading import Thread
from time import sleep
from typing import Final

from .errors import Locked

#: The bytes by which a discarded file is truncated at a time, and the seconds between two truncations.
_FREED_AT_ONCE: Final = 8 << 20
_PAUSE: Final = 0.01
_RUNNING: Final = "another JobEngine is running on this database; stop it first"


def real_path(path: str) -> str:
    """The path of a database without links: the file then has one lock, and a compaction replaces it, not the link."""
    return os.path.realpath(path)


def lock_database(path: str, files: "Files") -> int:
    """Take the lock of the database `path`, and return its descriptor; raises Locked and OSError."""
    try:
        return files.lock(f"{path}.lock")
    except BlockingIOError:
        raise Locked(f"{path}: {_RUNNING}") from None


def lock_open(descriptor: int, files: "Files") -> None:
    """
    Lock the open file of a database; raises Locked and OSError. The file may have other names: hard links, a mount, or
    a name from before it was moved.
    """
    try:
        files.lock_open(descriptor)
    except BlockingIOError:
        raise Locked(_RUNNING) from None


class Files:
    """The real file system. Every method blocks, and raises OSError when it fails."""

    def create(self, path: str) -> int:
        """Open a new file, 0600, for reading and writing; it must not exist."""
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def open(self, path: str) -> int:
        """Open an existing file for reading and writing."""
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)

    def open_to_read(self, path: str) -> int:
        """Open an existing file for reading only. Opening a pipe returns at once, without waiting for a writer."""
        return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)

    def is_regular(self, descriptor: int) -> bool:
        """Whether the descriptor is of a regular file, not of a directory, pipe or device."""
        return stat.S_ISREG(os.fstat(descriptor).st_mode)

    def has_name(self, descriptor: int, path: str) -> bool:
        """Whether the open file is the one at `path`; True if the system doesn't say."""
        try:
            return os.path.samestat(os.fstat(descriptor), os.stat(path))
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return True

    def open_again(self, descriptor: int) -> int:
        """Open an open file once more for reading only, whatever its name is now."""
        return os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_CLOEXEC)

    def keep_owner(self, descriptor: int, path: str) -> None:
        """Give the open file the owner and group of the file at `path`, which it is to replace."""
        there = os.stat(path)
        os.fchown(descriptor, there.st_uid, there.st_gid)

    def lock(self, path: str) -> int:
        """
        Open or create a lock file and lock it. A missing directory is created too (0700). Raises BlockingIOError if
        another process holds the lock.

        Uses flock, not fcntl: a process loses a fcntl lock when it closes any descriptor of the file.
        """
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self.lock_open(descriptor)
        except OSError:
            os.close(descriptor)
            raise
        return descriptor

    def lock_open(self, descriptor: int) -> None:
        """Lock an open file until it is closed; raises BlockingIOError if another process holds the lock."""
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def close(self, descriptor: int) -> None:
        """Close a descriptor, which also releases a lock taken through it."""
        os.close(descriptor)

    def discard(self, descriptor: int) -> None:
        """Close a file in the background. If the file has no name any more, its space is freed first, step by step."""
        try:
            Thread(target=_free, args=(descriptor,), daemon=True).start()
        except RuntimeError:  # no thread can be started: do it here
            _close(descriptor)

    def exists(self, path: str) -> bool:
        """Whether there is a file of that name."""
        return os.path.lexists(path)

    def size(self, descriptor: int) -> int:
        """The length of the file in bytes."""
        return os.fstat(descriptor).st_size

    def read(self, descriptor: int, length: int, position: int) -> bytes:
        """The bytes at `position`; fewer than `length` only at the end of the file."""
        parts = []
        while length and (part := os.pread(descriptor, length, position)):
            parts.append(part)
            length -= len(part)
            position += len(part)
        return b"".join(parts)

    def write(self, descriptor: int, data: bytes, position: int) -> None:
        """Write all of `data` at `position`; on an error, some of it may be in the file."""
        rest = memoryview(data)
        while rest:
            written = os.pwrite(descriptor, rest, position)
            rest = rest[written:]
            position += written

    def truncate(self, descriptor: int, length: int) -> None:
        """Cut the file to `length` bytes."""
        os.ftruncate(descriptor, length)

    def sync(self, descriptor: int) -> None:
        """Return when the data are on disk, with all metadata needed to read them."""
        os.fdatasync(descriptor)

    def begin_sync(self, descriptor: int, position: int, length: int) -> None:
        """
        Start to write these bytes to disk, so that a later sync takes less time; returns at once. The system may drop
        the bytes from its cache.
        """
        # Advises Linux to drop these pages from its cache, so it starts to write them to disk. Errors do not matter:
        # this is only advice.
        with suppress(OSError):
            os.posix_fadvise(descriptor, position, length, os.POSIX_FADV_DONTNEED)

    def open_directory(self, path: str) -> int:
        """Open a directory, to sync it later."""
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def sync_directory(self, descriptor: int) -> None:
        """Return when the names in the directory are on disk."""
        os.fsync(descriptor)

    def rename(self, old: str, new: str) -> None:
        """Rename a file atomically; an existing file at the new name is replaced."""
        os.replace(old, new)

    def link(self, old: str, new: str) -> None:
        """Give a file a second name; raises FileExistsError if that name exists."""
        os.link(old, new)

    def remove(self, path: str) -> None:
        """Remove a file; a missing file is no error."""
        with suppress(FileNotFoundError):
            os.unlink(path)


def _free(descriptor: int) -> None:
    """
    Close a file. Truncate it first, step by step, if it has no name any more and is not open elsewhere.

    Freeing 450 MB at once delays each sync on the file system by up to 80 ms; freeing in steps, by 2 ms.
    """
    with suppress(OSError):  # closing the file frees the rest of its space
        if os.fstat(descriptor).st_nlink == 0 and _is_open_once(descriptor):
            size = os.fstat(descriptor).st_size
            while size > 0:
                size = max(0, size - _FREED_AT_ONCE)
                os.ftruncate(descriptor, size)
                sleep(_PAUSE)
    _close(descriptor)


def _close(descriptor: int) -> None:
    """Close a file whose contents no longer matter."""
    with suppress(OSError):
        os.close(descriptor)


def _is_open_once(descriptor: int) -> bool:
    """Whether the file is open only once: neither another process nor a BackupReader of this one reads it."""
    try:
        # The kernel grants a write lease only if nobody else has the file open (fcntl(2)). The lease is released at
        # once.
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except (OSError, AttributeError):  # it is open elsewhere, or the system has no leases
        return False
    return True
