"""For any file, recovery has the same result as a plain reader that follows docs/database-format.md."""

import struct
from typing import Final

from attrs import define, evolve, field

from jobengine.storage.errors import StorageError
from jobengine.storage.frames import HEADER_SIZE, Chain, Kind
from jobengine.storage.recovery import Recovery

from .clear_frames import FILE_ID, ClearBox, Found, ReferenceReader, chain, head
from .pieces import Pieces

#: The most bytes of a file, and the most steps in which it is made.
_LONGEST: Final = 1 << 15
_STEPS: Final = 40


def frames(data: bytes) -> None:
    """Make a file of whole and broken frames from the data, and read it with both readers."""
    made = _File()
    pieces = Pieces(data)
    for _ in range(_STEPS):
        if not pieces or len(made.content) > _LONGEST:
            break
        _STEPS_OF_ALL[pieces.number() % len(_STEPS_OF_ALL)](made, pieces)
    file = bytes(made.content)
    expected, found = ReferenceReader(file).read(), _recovered(file)
    assert found == expected, (found, expected, file)


def _recovered(file: bytes) -> Found:
    recovery = Recovery(read=lambda length, at: file[at : at + length], size=len(file), chain=chain())
    records = []
    try:
        for frame in recovery.frames():
            records.append(frame.records)
        verdict = "torn" if recovery.torn else "whole"
    except StorageError as error:
        verdict = type(error).__name__
    closed = recovery.closed and verdict == "whole"
    return Found(tuple(records), verdict, recovery.end, closed)


@define
class _File:
    """A file that grows."""

    content: bytearray = field(factory=lambda: bytearray(HEADER_SIZE))
    chain: Chain = field(factory=chain)
    #: The offsets at which frames begin and end.
    places: list[slice] = field(factory=list)

    def add(self, data: bytes) -> None:
        self.places.append(slice(len(self.content), len(self.content) + len(data)))
        self.content += data

    def seal(self, clear: bytes) -> None:
        box = ClearBox().encrypt(clear)
        self.add(head(len(box), len(self.content)) + box)

    def prefix(self) -> bytes:
        return struct.pack(">16sQ16s", FILE_ID, self.chain.number, self.chain.tag)


def _next_frame(made: _File, pieces: Pieces) -> None:
    kind = Kind(1 + pieces.number() % 4)
    records = [pieces.piece(pieces.number()) for _ in range(pieces.number() % 4)]
    frame, made.chain = made.chain.seal(kind, records, len(made.content))
    made.add(frame)


def _long_frame(made: _File, pieces: Pieces) -> None:
    record = bytes([pieces.number()]) * (pieces.number(2) % 3000)
    frame, made.chain = made.chain.seal(Kind.COMMIT, [record], len(made.content))
    made.add(frame)


def _any_kind_and_body(made: _File, pieces: Pieces) -> None:
    made.seal(made.prefix() + pieces.piece(1 + pieces.number()))


def _wrong_prefix(made: _File, pieces: Pieces) -> None:
    prefix = bytearray(made.prefix())
    prefix[pieces.number() % len(prefix)] ^= pieces.number()
    made.seal(bytes(prefix) + bytes([pieces.number() % 6]) + pieces.piece(pieces.number()))


def _any_clear_text(made: _File, pieces: Pieces) -> None:
    made.seal(pieces.piece(pieces.number()))


def _any_bytes(made: _File, pieces: Pieces) -> None:
    made.content += pieces.piece(pieces.number())


def _zeros(made: _File, pieces: Pieces) -> None:
    made.content += bytes(pieces.number(2) % 3000)


def _again(made: _File, pieces: Pieces) -> None:
    if made.places:
        made.content += made.content[made.places[pieces.number() % len(made.places)]]


def _left_out(made: _File, pieces: Pieces) -> None:
    """Number the next frame as if another frame came before it."""
    made.chain = evolve(made.chain, number=made.chain.number + 1)


def _cut_off(made: _File, pieces: Pieces) -> None:
    del made.content[max(HEADER_SIZE, len(made.content) - pieces.number(2) % 3000) :]


def _changed(made: _File, pieces: Pieces) -> None:
    at = HEADER_SIZE + pieces.number(2)
    if at < len(made.content):
        made.content[at] ^= pieces.number()


def _zeroed_sector(made: _File, pieces: Pieces) -> None:
    begin = max(HEADER_SIZE, 512 * (pieces.number() % 64))
    end = min(len(made.content), (begin // 512 + 1) * 512)
    if begin < end:
        made.content[begin:end] = bytes(end - begin)


_STEPS_OF_ALL: Final = (
    *[_next_frame, _next_frame, _long_frame, _any_kind_and_body, _wrong_prefix, _any_clear_text, _any_bytes, _zeros],
    *[_again, _left_out, _cut_off, _changed, _zeroed_sector],
)
