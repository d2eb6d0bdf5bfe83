"""A new file that gets its name when it is complete. Existing files are never overwritten."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from os.path import abspath, dirname, isdir
from secrets import token_hex
from typing import Final

from attrs import define, field

from ..storage.files import Files, lock_database, real_path
from ..storage.frames import Chain, Kdf, Kind, Lock, frames_of, new_file

#: Bytes that are written at a time.
_WRITTEN_AT_ONCE: Final = 1 << 17
#: Each time this many bytes are written, the system is requested to start putting them on disk; a backup is a sixth
#: faster with this (ext4, two cores).
_BEGUN_AT_ONCE: Final = 8 << 20
#: A sync follows each time this many bytes are written, so that the last sync is short.
_SYNCED_AT_ONCE: Final = 64 << 20


class TargetExists(Exception):
    """The target exists already; str() names it."""


@define
class NewFile:
    """A new file under a temporary name."""

    _files: Files
    _descriptor: int
    #: The name that the file will get.
    _path: str
    #: The file's length in bytes.
    size: int = field(default=0, init=False)
    _parts: list[bytes] = field(factory=list, init=False)
    _waiting: int = field(default=0, init=False)
    #: The offset up to which writing to disk has started.
    _begun: int = field(default=0, init=False)
    #: The offset up to which bytes are synced.
    _synced: int = field(default=0, init=False)

    def write(self, *parts: bytes) -> None:
        """Append bytes; raises OSError."""
        self._parts += parts
        length = sum(map(len, parts))
        self.size += length
        self._waiting += length
        if self._waiting >= _WRITTEN_AT_ONCE:
            self._flush()
            if self.size - self._synced >= _SYNCED_AT_ONCE:
                self.sync()
            elif self.size - self._begun >= _BEGUN_AT_ONCE:
                self._files.begin_sync(self._descriptor, self._begun, self.size - self._begun)
                self._begun = self.size

    def read(self, length: int, position: int) -> bytes:
        """Read `length` of the written bytes, from `position` on; raises OSError."""
        if self._waiting:
            self._flush()
        return self._files.read(self._descriptor, length, position)

    def sync(self) -> None:
        """Write everything to the disk; raises OSError."""
        self._flush()
        with self._named():
            self._files.sync(self._descriptor)
        self._begun = self._synced = self.size

    def _flush(self) -> None:
        parts, self._parts = self._parts, []
        with self._named():
            self._files.write(self._descriptor, b"".join(parts), self.size - self._waiting)
        self._waiting = 0

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Add the file's name to an OSError that the block raises."""
        try:
            yield
        except OSError as error:
            error.filename = self._path
            raise


@define
class NewDatabase:
    """A new database with a new data key, consisting of one snapshot."""

    _file: NewFile
    _secret: bytes = field(repr=False)
    _kdf: Kdf = field(factory=Kdf)
    _chain: Chain = field(init=False)

    def __attrs_post_init__(self) -> None:
        header, self._chain = new_file(Lock.derive(self._secret, self._kdf))
        self._file.write(header)

    def add(self, records: Sequence[bytes]) -> None:
        """Append records to the snapshot, in the order of recovery; raises OSError."""
        if records:
            self._append(Kind.SLICE, records)

    def finish(self) -> None:
        """End the snapshot, and mark the file as closed in an orderly way; raises OSError."""
        self._append(Kind.SNAPSHOT_END, ())
        # The mark states that all bytes before it are on disk. That will be true: the file gets its name only after a
        # sync.
        self._append(Kind.CLOSE, ())

    def _append(self, kind: Kind, records: Sequence[bytes]) -> None:
        frames, self._chain = frames_of(self._chain, kind, records, self._file.size)
        self._file.write(*frames)


def check_free(path: str, files: Files | None = None) -> None:
    """Raise Locked if a server uses `path`, even if that file was moved away, and TargetExists if the file exists."""
    files = files or Files()
    if files.exists(f"{real_path(path)}.lock"):
        files.close(lock_database(real_path(path), files))
    if isdir(path):
        raise TargetExists(f"{path} is a directory; name a file in it")
    if files.exists(path):
        raise TargetExists(f"{path} exists already and is not overwritten; name a new file, or move that one away")


@contextmanager
def new_target(path: str, files: Files | None = None, *, replaces: bool = False) -> Iterator[NewFile]:
    """
    Make a file (mode 0600) that gets its name once it is complete and on disk; after an error there is no file.

    If `path` exists, raises TargetExists or, with `replaces`, replaces the file atomically and keeps its owner. Raises
    Locked as `check_free` does, and OSError. A kill leaves a file `path`.new-…, which nothing reads.
    """
    files = files or Files()
    if not replaces:
        check_free(path, files)
    path = abspath(path)
    temporary = f"{path}.new-{token_hex(4)}"
    directory = files.open_directory(dirname(path))
    try:
        descriptor = files.create(temporary)
        try:
            if replaces:
                files.keep_owner(descriptor, path)
            file = NewFile(files, descriptor, path)
            yield file
            file.sync()
            _name(files, temporary, path, replaces=replaces)
        finally:
            files.remove(temporary)
            files.close(descriptor)
        files.sync_directory(directory)
    finally:
        files.close(directory)


@contextmanager
def unnamed_file(path: str, files: Files) -> Iterator[NewFile]:
    """A temporary file without a name (0600) in the directory of `path`; it is gone after the block."""
    temporary = f"{abspath(path)}.new-{token_hex(4)}"
    descriptor = files.create(temporary)
    try:
        files.remove(temporary)
        yield NewFile(files, descriptor, path)
    finally:
        files.close(descriptor)


def _name(files: Files, temporary: str, path: str, *, replaces: bool) -> None:
    if replaces:
        files.rename(temporary, path)
        return
    try:
        # Unlike a rename, a link never replaces an existing file.
        files.link(temporary, path)
    except FileExistsError:
        check_free(path, files)
        raise
