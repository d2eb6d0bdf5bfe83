"""A file that gets its name when it is whole and on disk."""

import errno
import os
from contextlib import suppress
from secrets import token_hex

__all__ = ["NewFile"]


class NewFile:
    """What comes of a file under a temporary name. Every method blocks, and raises OSError."""

    def __init__(self, path: "str | os.PathLike[str]") -> None:
        """Begin it (0600); raises FileExistsError if there is a file at `path`."""
        self._path = os.path.abspath(path)
        if os.path.lexists(self._path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), self._path)
        self._temporary = f"{self._path}.new-{token_hex(4)}"
        self._file = os.fdopen(os.open(self._temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
        #: How many bytes it has.
        self.size = 0

    def write(self, part: bytes) -> None:
        """Put bytes behind what is there."""
        self._file.write(part)
        self.size += len(part)

    def finish(self) -> None:
        """Give it its name, when it is on disk; raises FileExistsError if there is a file of that name now."""
        self._file.flush()
        os.fsync(self._file.fileno())
        # Unlike a rename, a link never takes the place of a file that is there.
        os.link(self._temporary, self._path)
        directory = os.open(os.path.dirname(self._path), os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def close(self) -> None:
        """Close it, and remove its temporary name."""
        with suppress(OSError):  # what could not be written is not to be kept
            self._file.close()
        os.unlink(self._temporary)
