"""The few things the journal asks of a file system; tests put faults and simulated crashes in their place."""

import fcntl
import os
from contextlib import suppress
from threading import Thread

__all__ = ["Files"]


class Files:
    """The real file system. Every method blocks, and raises OSError when it fails."""

    def create(self, path: str) -> int:
        """Open a new file, 0600, for reading and writing; it must not exist."""
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def open(self, path: str) -> int:
        """Open an existing file for reading and writing."""
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)

    def lock(self, path: str) -> int:
        """
        Open or make a lock file and take its lock; raises BlockingIOError if another process has it.

        flock and not fcntl: a fcntl lock is gone as soon as any descriptor of the file is closed.
        """
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise
        return descriptor

    def close(self, descriptor: int) -> None:
        """Close a descriptor, and with it the lock it may hold."""
        os.close(descriptor)

    def discard(self, descriptor: int) -> None:
        """Close a file without a name, and do not wait: to free 400 MB takes more than 100 ms."""
        Thread(target=os.close, args=(descriptor,), daemon=True).start()

    def exists(self, path: str) -> bool:
        """Whether there is a file of that name."""
        return os.path.lexists(path)

    def size(self, descriptor: int) -> int:
        """The length of the file in bytes."""
        return os.fstat(descriptor).st_size

    def read(self, descriptor: int, length: int, position: int) -> bytes:
        """The bytes at `position`, fewer than `length` only where the file ends."""
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
        """Return when the data, and the length it needs, are on disk."""
        os.fdatasync(descriptor)

    def sync_directory(self, path: str) -> None:
        """Return when the names in the directory are on disk."""
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def rename(self, old: str, new: str) -> None:
        """Give a file a new name; one that has it is replaced in the same instant."""
        os.replace(old, new)

    def remove(self, path: str) -> None:
        """Remove a file; it is no error if there is none."""
        with suppress(FileNotFoundError):
            os.unlink(path)
