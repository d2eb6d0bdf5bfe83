"""
Reads a database: yields every whole frame in turn, then judges the end of the file.

docs/database-format.md, "Recovery", lists the four cases. A bad frame counts as torn only if a crash during the last
write explains it; anything else is refused.
"""

from collections.abc import Callable, Iterator
from typing import Final

from attrs import define

from .errors import Damaged, Unclear
from .frames import FRAME_HEAD, HEADER_SIZE, MARKER, BadFrame, Chain, Frame, Kind, box_length

#: Reads bytes: takes a length and a position, and returns fewer bytes only at the end of the file.
Read = Callable[[int, int], bytes]

#: The number of bytes that a disk writes atomically.
_SECTOR: Final = 512
_SCAN: Final = 1 << 20
#: The kinds of frames that are written only after everything before them was synced.
_VOUCHING: Final = frozenset({Kind.SNAPSHOT_END, Kind.CLOSE})


@define(kw_only=True)
class Recovery:
    """A walk over the frames of one file, and its result."""

    #: Reads from the file.
    read: Read
    #: The length of the file.
    size: int
    #: The chain that the next frame must continue.
    chain: Chain
    #: The offset of the next frame; after the walk, the end of the good frames.
    end: int = HEADER_SIZE
    #: The number of bytes known to be on disk: a snapshot is synced before its file is renamed, and a file is synced
    #: before a closing frame is written.
    sure: int = HEADER_SIZE
    #: Whether the snapshot at the beginning is complete.
    whole_snapshot: bool = False
    #: The bytes of the frame yielded last: its head and its box.
    last: tuple[bytes, bytes] = (b"", b"")

    @property
    def torn(self) -> bool:
        """Whether an incomplete write follows the good frames; valid after the walk."""
        return self.end < self.size

    @property
    def closed(self) -> bool:
        """Whether the file ends with a closing frame; valid after the walk."""
        return self.chain.closed and not self.torn

    def frames(self) -> Iterator[Frame]:
        """
        Yield every good frame in order; the rest of the file is then a torn last write, or nothing.

        Raises Damaged or Unclear if no crash could leave such a file.
        """
        while self.end < self.size:
            try:
                frame, length = self._next()
            except BadFrame as error:
                self._judge(str(error))
                break
            if frame.kind in _VOUCHING:
                self.sure = self.end
            self.end += length
            self.whole_snapshot = self.whole_snapshot or frame.kind is Kind.SNAPSHOT_END
            yield frame
        if not self.whole_snapshot:
            raise Damaged("the file ends in the middle of its snapshot")

    def _next(self) -> tuple[Frame, int]:
        head = self.read(FRAME_HEAD, self.end)
        box = self.read(box_length(head, self.end), self.end + FRAME_HEAD)
        frame, self.chain = self.chain.open(box)
        self.last = head, box
        return frame, FRAME_HEAD + len(box)

    def _judge(self, reason: str) -> None:
        """Return if the rest of the file is a torn last write; raise Damaged or Unclear otherwise."""
        place = f"at byte {self.end} of {self.size}: {reason}"
        if any(self.good_boxes()):
            raise Damaged(f"{place}, and good frames follow")
        if not self.whole_snapshot:
            raise Damaged(f"{place}, and the snapshot is not complete there")
        if not (self._cut_short() or self._unwritten_sector()):
            raise Unclear(f"{place}, in a way that no crash explains")

    def good_boxes(self) -> Iterator[int]:
        """
        Yield the length of each good box from `end` on that was encrypted for this file, even if it is at a wrong
        position.
        """
        return (length for position in self._markers() if (length := self._box_at(position)))

    def _markers(self) -> Iterator[int]:
        position = self.end
        while position < self.size:
            # Pieces overlap, to find a marker that crosses the border of two pieces.
            piece = self.read(_SCAN + len(MARKER) - 1, position)
            at = piece.find(MARKER)
            while at >= 0:
                yield position + at
                at = piece.find(MARKER, at + 1)
            position += _SCAN

    def _box_at(self, position: int) -> int:
        """The length of the box after the marker at `position`; 0 if the box is bad."""
        head = self.read(FRAME_HEAD, position)
        length = int.from_bytes(head[len(MARKER) : len(MARKER) + 4], "big")
        if position + FRAME_HEAD + length > self.size:
            return 0
        return length if self.chain.is_frame(self.read(length, position + FRAME_HEAD)) else 0

    def _last_frame_end(self) -> int:
        """Where the frame that begins here would end; if the frame's head is damaged, the end of the file."""
        try:
            return self.end + FRAME_HEAD + box_length(self.read(FRAME_HEAD, self.end), self.end)
        except BadFrame:
            return self.size

    def _cut_short(self) -> bool:
        rest = self.size - self.end
        if rest < FRAME_HEAD:
            start = self.read(rest, self.end)[: len(MARKER)]
            return MARKER.startswith(start)
        return self._last_frame_end() > self.size

    def _unwritten_sector(self) -> bool:
        """Whether some sector of the last frame is all zeros: a crash left it unwritten."""
        return any(not any(piece) for piece in self._pieces(min(self.size, self._last_frame_end())))

    def _pieces(self, end: int) -> Iterator[bytes]:
        """Yield the bytes from here to `end`, split at sector borders."""
        position = self.end
        while position < end:
            length = min(end - position, _SECTOR - position % _SECTOR)
            yield self.read(length, position)
            position += length
