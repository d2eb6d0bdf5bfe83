"""A file that gets its name once it is complete and on disk."""

import errno
import os
from contextlib import suppress
from secrets import token_hex


class NewFile:
    """A file under a temporary name. Every method blocks, and raises OSError."""

    def __init__(self, path: "str | os.PathLike[str]") -> None:
        """Create the file (mode 0600); raises FileExistsError if `path` exists."""
        self._path = os.path.abspath(path)
        if os.path.lexists(self._path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), self._path)
        self._temporary = f"{self._path}.new-{token_hex(4)}"
        self._file = os.fdopen(os.open(self._temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
        #: The file's length in bytes.
        self.size = 0

    def write(self, part: bytes) -> None:
        """Append bytes."""
        self._file.write(part)
        self.size += len(part)

    def finish(self) -> None:
        """Sync the file and give it its name; raises FileExistsError if that name exists by now."""
        self._file.flush()
        os.fsync(self._file.fileno())
        # Unlike a rename, a link never replaces an existing file.
        os.link(self._temporary, self._path)
        directory = os.open(os.path.dirname(self._path), os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def close(self) -> None:
        """Close the file and remove the temporary name."""
        with suppress(OSError):  # an incomplete file is not kept
            self._file.close()
        os.unlink(self._temporary)
