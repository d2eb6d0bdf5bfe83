"""
Frames whose boxes need no key, and a second, plain reader of frames, written from docs/database-format.md.

With real boxes, a fuzzer would never make a valid authentication tag.
"""

import struct
from hashlib import blake2b
from typing import Any, Final
from zlib import crc32

from attrs import define, field, frozen
from nacl.exceptions import CryptoError

from jobengine.storage.frames import HEADER_SIZE, Chain

FILE_ID: Final = b"the file's id..."
_NONCE: Final = 24
_TAG: Final = 16
_CLEAR_FROM: Final = _NONCE + _TAG
_PREFIX: Final = struct.Struct(">16sQ16sB")
_MARKER: Final = b"\xf2JEF"
_HEAD: Final = 12
_MOST: Final = 1 << 28
_SNAPSHOT_END: Final = 2
_CLOSE: Final = 4


class ClearBox:
    """Seals as SecretBox does, but hides nothing and has no key."""

    def encrypt(self, clear: bytes) -> bytes:
        return bytes(_NONCE) + self._tag(clear) + clear

    def decrypt(self, box: bytes) -> bytes:
        clear = box[_CLEAR_FROM:]
        if box[_NONCE:_CLEAR_FROM] != self._tag(clear):
            raise CryptoError("the tag is wrong")
        return clear

    def _tag(self, clear: bytes) -> bytes:
        return blake2b(clear, digest_size=_TAG).digest()


def chain() -> Chain:
    """The chain of a new file."""
    box: Any = ClearBox()
    return Chain(box=box, file_id=FILE_ID)


def head(length: int, position: int) -> bytes:
    """The head of a frame whose box has this length."""
    return struct.pack(">4sII", _MARKER, length, crc32(struct.pack(">IQ", length, position)))


@frozen
class Found:
    """The contents of a file."""

    #: The records of each good frame from the beginning on.
    frames: tuple[tuple[bytes, ...], ...]
    #: How the file ends: "whole", "torn", or the name of the error.
    verdict: str
    #: Where the good part ends.
    end: int
    closed: bool


class _Newer(Exception):
    """A frame of a kind that is not known."""


@define
class ReferenceReader:
    """Reads one file, by plain searches through all of its bytes."""

    data: bytes
    _end: int = field(default=HEADER_SIZE, init=False)
    _tag: bytes = field(default=bytes(_TAG), init=False)
    _kinds: list[int] = field(factory=list, init=False)
    _frames: list[tuple[bytes, ...]] = field(factory=list, init=False)

    def read(self) -> Found:
        """Read the whole file."""
        try:
            while self._end < len(self.data) and self._take():
                pass
            verdict = self._verdict()
        except _Newer:
            verdict = "NewerFormat"
        closed = verdict == "whole" and self._kinds[-1:] == [_CLOSE]
        return Found(tuple(self._frames), verdict, self._end, closed)

    def _take(self) -> bool:
        """Take the next frame if it is good; returns whether it was."""
        length = self._length()
        if length is None or self._end + _HEAD + length > len(self.data):
            return False
        box = self.data[self._end + _HEAD :][:length]
        if not _is_sealed(box):
            return False
        file_id, number, tag, kind = _PREFIX.unpack_from(box, _CLEAR_FROM)
        if (file_id, number, tag) != (FILE_ID, len(self._kinds), self._tag):
            return False
        if kind not in (1, 2, 3, 4):
            raise _Newer
        records = _records(box[_CLEAR_FROM + _PREFIX.size :])
        if records is None:
            return False
        self._frames.append(records)
        self._kinds.append(kind)
        self._tag, self._end = box[_NONCE:_CLEAR_FROM], self._end + _HEAD + length
        return True

    def _length(self) -> int | None:
        """The length that the head of the next frame gives, if the head is good."""
        given = self.data[self._end : self._end + _HEAD]
        length = int.from_bytes(given[4:8], "big")
        bounded = _CLEAR_FROM + _PREFIX.size <= length <= _MOST
        return length if bounded and given == head(length, self._end) else None

    def _verdict(self) -> str:
        complete = _SNAPSHOT_END in self._kinds
        if self._end == len(self.data):
            return "whole" if complete else "Damaged"
        if self._good_follows() or not complete:
            return "Damaged"
        return "torn" if self._crash_explains() else "Unclear"

    def _good_follows(self) -> bool:
        places = (at for at in range(self._end, len(self.data)) if self.data.startswith(_MARKER, at))
        lengths = ((at + _HEAD, int.from_bytes(self.data[at + 4 : at + 8], "big")) for at in places)
        return any(start + size <= len(self.data) and _is_sealed(self.data[start:][:size]) for start, size in lengths)

    def _crash_explains(self) -> bool:
        rest, length = self.data[self._end :], self._length()
        last = rest if length is None else rest[: _HEAD + length]
        short = _MARKER.startswith(rest[:4]) if len(rest) < _HEAD else length is not None and _HEAD + length > len(rest)
        to_border = 512 - self._end % 512
        sectors = [last[:to_border], *(last[at : at + 512] for at in range(to_border, len(last), 512))]
        return short or not any(rest) or any(not any(sector) for sector in sectors)


def _is_sealed(box: bytes) -> bool:
    """Whether the bytes are a frame with this file's key, whatever its place."""
    try:
        return len(ClearBox().decrypt(box)) >= _PREFIX.size
    except CryptoError:
        return False


def _records(body: bytes) -> tuple[bytes, ...] | None:
    """The records, or None if they don't fill it."""
    records = []
    while body:
        length = int.from_bytes(body[:4], "big")
        record, rest = body[4 : 4 + length], body[4 + length :]
        if len(body) < 4 or len(record) < length:
            return None
        records.append(record)
        body = rest
    return tuple(records)
