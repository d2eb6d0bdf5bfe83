"""What a database file holds at one moment, to be read while it is written to and compacted."""

from typing import Final

from attrs import frozen

from .files import Files

__all__ = ["Prefix"]

#: Bytes that are read at a time.
_PIECE: Final = 256 << 10


@frozen
class Prefix:
    """
    The first whole frames of a file, from its header on: a consistent copy with the same key.

    Nothing of it changes. The file may lose its name meanwhile, as it does in a compaction; it is there until `close`.
    """

    _files: Files
    _descriptor: int
    #: How many bytes it has.
    size: int

    def read(self, position: int) -> bytes:
        """Some bytes from `position` on, none behind the end; raises OSError."""
        return self._files.read(self._descriptor, min(_PIECE, self.size - position), position)

    def close(self) -> None:
        """Let go of the file; does not wait for its room to be given back."""
        self._files.discard(self._descriptor)
