"""The contents of a database file at one moment, which can be read during writes and compactions."""

from typing import Final

from attrs import frozen

from .files import Files

#: Bytes that are read at a time.
_PIECE: Final = 256 << 10


@frozen
class BackupReader:
    """
    The first whole frames of a file, from its header on, and a closing frame: a consistent copy with the same key.

    The copy never changes. The file may lose its name, as in a compaction, but exists until `close`.
    """

    _files: Files
    _descriptor: int
    #: The length in bytes of the copied frames.
    _copied: int
    #: The closing frame behind the copied frames.
    _end: bytes

    def read(self, position: int) -> bytes:
        """Some bytes from `position` on; empty at the end. Raises OSError."""
        if position < self._copied:
            return self._files.read(self._descriptor, min(_PIECE, self._copied - position), position)
        return self._end[position - self._copied :]

    def close(self) -> None:
        """Close the file; its space may be freed later."""
        self._files.discard(self._descriptor)
