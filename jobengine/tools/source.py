"""A database opened for reading; a server may write to it and compact it meanwhile."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from attrs import define, evolve, field

from ..storage.errors import Damaged, NotADatabase, StorageError, Unclear
from ..storage.files import Files
from ..storage.frames import HEADER_SIZE, Chain, Frame, format_version, open_header
from ..storage.recovery import Read, Recovery

#: A callback for progress, called with the number of bytes done so far, and the total.
Progress = Callable[[int, int], None]

#: Bytes that are read at a time; progress is reported after each block.
_BLOCK: Final = 1 << 20


def no_progress(_done: int, _size: int) -> None:
    """Ignore the progress."""


@define
class Source:
    """
    A database as it was when it was opened: bytes appended later are not read, unless a bad frame is read again. If a
    server compacts the database meanwhile, a new file gets the name, and the opened file stays unchanged.
    """

    path: str
    #: The first 160 bytes of the file.
    header: bytes
    #: The version of the file's format, such as "1.0".
    version: str
    _descriptor: int
    _files: Files
    #: The walk over the file's frames.
    walk: Recovery
    _reread_at: int = field(default=0, init=False)
    #: The chain that the first frame must continue.
    _chain: Chain = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._chain = self.walk.chain

    def frames(self, progress: Progress = no_progress) -> Iterator[Frame]:
        """
        Yield every good frame in order; `walk.last` has the bytes of the frame yielded last.

        Afterwards `walk.torn` shows whether an incomplete frame follows: a server is writing that frame, or was killed
        while writing it. Raises Damaged or Unclear if the file is damaged, and NewerFormat for an unknown frame.
        """
        reported = 0
        while True:
            try:
                for frame in self.walk.frames():
                    yield frame
                    if self.walk.end - reported >= _BLOCK:
                        reported = self.walk.end
                        progress(reported, self.walk.size)
            except (Damaged, Unclear) as error:
                if not self._reread():
                    raise explained(self.path, error) from None
            except StorageError as error:
                raise explained(self.path, error) from None
            else:
                progress(self.walk.end, self.walk.size)
                return

    @property
    def unfinished(self) -> int:
        """The length in bytes of an incomplete last frame; valid after all frames were read."""
        return max(0, self.walk.size - self.walk.end)

    def begin_again(self) -> None:
        """Go back to the first frame. A second walk ends at the same frame as the first."""
        self.walk = Recovery(read=self.walk.read, size=self.walk.end, chain=self._chain)
        self._reread_at = 0

    def _reread(self) -> bool:
        """
        Retry after the last good frame, once per frame; returns whether a retry is left.

        A bad frame may have been read while a server wrote it: on a full disk a server cuts off an incomplete write,
        and writes again.
        """
        if self._reread_at == self.walk.end:
            return False
        self._reread_at = self.walk.end
        self.walk = evolve(
            self.walk, read=_in_blocks(self._files, self._descriptor), size=self._files.size(self._descriptor)
        )
        return True


@contextmanager
def open_source(path: str, secret: bytes, files: Files | None = None) -> Iterator[Source]:
    """Open a database to read it; raises StorageError and OSError."""
    files = files or Files()
    with open_file(path, files) as descriptor:
        read = _in_blocks(files, descriptor)
        header = read(HEADER_SIZE, 0)
        try:
            _, chain = open_header(header, secret)
        except StorageError as error:
            raise explained(path, error) from None
        walk = Recovery(read=read, size=files.size(descriptor), chain=chain)
        yield Source(path, header, format_version(header), descriptor, files, walk)


@contextmanager
def open_file(path: str, files: Files) -> Iterator[int]:
    """Open a file to read it; raises NotADatabase for a folder, pipe or device, and OSError."""
    descriptor = files.open_to_read(path)
    try:
        if not files.is_regular(descriptor):
            raise NotADatabase(f"{path}: it is not a file")
        yield descriptor
    finally:
        files.close(descriptor)


def explained(path: str, error: StorageError) -> StorageError:
    """A copy of the error with the file's name before its text."""
    return type(error)(f"{path}: {error}")


def _in_blocks(files: Files, descriptor: int) -> Read:
    """A reader that reads large blocks ahead, since most reads are short and contiguous."""
    begin, block = 0, b""

    def read(length: int, position: int) -> bytes:
        nonlocal begin, block
        at = position - begin
        if at < 0 or at + length > len(block):
            begin, at, block = position, 0, files.read(descriptor, max(length, _BLOCK), position)
        return block[at : at + length]

    return read
