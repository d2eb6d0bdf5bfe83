"""Reads a fuzzer's bytes as numbers and pieces; after the end, numbers are 0 and pieces are empty."""

from attrs import define


@define
class Pieces:
    """Bytes that are read from their beginning."""

    _data: bytes
    _at: int = 0

    def __bool__(self) -> bool:
        return self._at < len(self._data)

    def number(self, size: int = 1) -> int:
        """The number in the next bytes."""
        return int.from_bytes(self.piece(size), "big")

    def piece(self, length: int) -> bytes:
        """The next bytes; fewer at the end."""
        self._at += length
        return self._data[self._at - length : self._at]

    def rest(self) -> bytes:
        """All that is left."""
        return self.piece(len(self._data))
