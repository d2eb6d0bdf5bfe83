"""
The database file: opened under its lock, appended to, synced, and compacted into a new file.

Everything here blocks. After it has been opened a journal is used by one thread alone, the writer.
"""

import errno
import os.path
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from time import perf_counter
from typing import Final

from attrs import define, field, frozen

from .errors import Damaged, Locked, NoRoom, NotADatabase, StorageBroken, StorageError, Unclear
from .files import Files
from .frames import HEADER_SIZE, MAX_BOX, Chain, Kdf, Kind, Lock, new_file, open_header
from .prefix import Prefix
from .recovery import Recovery

__all__ = ["Journal", "Torn", "check_secret", "frames_of"]

#: A write that fails with one of these can succeed later: no room, quota, file-size limit.
_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
#: Bytes of records in one frame, if they are not one record; well below MAX_BOX, though each takes a few more.
_MOST: Final = MAX_BOX // 2
#: Bytes of a copy after which it is synced.
_COPY_STEP: Final = 1 << 19
#: Bytes that `confirm` writes at a time.
_CONFIRMED_AT_ONCE: Final = 1 << 20


@frozen
class Torn:
    """A last write that a crash had cut short, and that was therefore cut off."""

    #: Where its bytes were copied to.
    copy: str
    #: How many bytes.
    length: int


@define
class _FrameFile:
    """An open file of frames, written at a tracked offset."""

    files: Files
    descriptor: int
    chain: Chain
    #: Where the next frame goes: the end of the last whole frame.
    end: int

    def append(self, kind: Kind, records: Sequence[bytes]) -> None:
        """
        Write one frame, or as many as it takes for that much, without syncing.

        On an error the file is cut back to what it was, or StorageBroken.
        """
        frames, chain = frames_of(self.chain, kind, records, self.end)
        written = b"".join(frames)
        try:
            self.files.write(self.descriptor, written, self.end)
        except OSError as error:
            self.cut_back(self.end, error)
            raise
        self.chain, self.end = chain, self.end + len(written)

    def cut_back(self, end: int, cause: Exception) -> None:
        """Take off what stands behind `end`; raises StorageBroken."""
        try:
            self.files.truncate(self.descriptor, end)
        except OSError as error:
            raise StorageBroken(f"a write failed ({cause}), and so did cutting it off ({error})") from error


@define
class Journal:
    """
    One database file, from `lock` to `close`.

    After `lock`, a file that is there is opened (`open`), read (`recover`) and confirmed (`confirm`), in this order;
    one that is not is made (`make`).
    """

    #: Where it is, as an absolute path.
    path: str
    _files: Files = field(factory=Files)
    _kdf: Kdf = field(factory=Kdf)
    #: What recovery cut off, if it did.
    torn: Torn | None = field(default=None, init=False)
    #: Whether the file was new or closed in good order.
    clean: bool = field(default=False, init=False)
    #: How often it was synced since it was opened, and the seconds this took in all.
    syncs: int = field(default=0, init=False)
    sync_seconds: float = field(default=0.0, init=False)
    _lock_file: int | None = field(default=None, init=False)
    #: The directory of the file, open to be synced: when it is needed, there may be no descriptor left to open it.
    _directory: int | None = field(default=None, init=False)
    _lock: Lock | None = field(default=None, init=False)
    #: The walk over the file, until it has come to its end, and the descriptor it reads.
    _walk: tuple[Recovery, int] | None = field(default=None, init=False)
    #: How much of the file was on disk for certain when it was opened.
    _sure: int = field(default=0, init=False)
    #: Whether a write or sync has failed so that nothing may be written any more.
    _broken: bool = field(default=False, init=False)
    _main: _FrameFile | None = field(default=None, init=False)
    _copy: _FrameFile | None = field(default=None, init=False)
    #: How much of the copy is on disk.
    _copied: int = field(default=0, init=False)

    @property
    def size(self) -> int:
        """The length of the file in bytes."""
        return self._current.end

    @property
    def compacting(self) -> bool:
        """Whether a copy is being made."""
        return self._copy is not None

    def lock(self) -> bool:
        """Take the lock, and say whether there is a file to be opened; raises Locked and OSError."""
        try:
            self._lock_file = self._files.lock(self.path + ".lock")
        except BlockingIOError:
            raise Locked(f"{self.path}: another JobEngine is running on this database; stop it first") from None
        self._directory = self._files.open_directory(os.path.dirname(self.path))
        return self._files.exists(self.path)

    def open(self, secret: bytes) -> None:
        """Open the file that is there and check its header, with nothing changed; raises StorageError and OSError."""
        with self._explained():
            descriptor = self._files.open(self.path)
            try:
                self._walk = self._open_header(descriptor, secret), descriptor
            except BaseException:
                self._files.close(descriptor)
                raise

    def make(self, secret: bytes) -> None:
        """Make the file, empty; raises OSError and StorageBroken."""
        self._files.remove(self._copy_path)
        self._lock = Lock.derive(secret, self._kdf)
        self.start_copy()
        assert self._copy is not None
        self._complete_copy(self._copy)
        self._switch_over(self._copy)
        self.clean = True

    def recover(self, now: int) -> Iterator[tuple[bytes, ...]]:
        """
        Give the records of every frame, in order; `progress` says how far it is.

        `now` (milliseconds) names the copy of a torn tail. Raises a StorageError, with nothing of the file changed, and
        OSError.
        """
        assert self._walk is not None, "the journal is not open"
        recovery, descriptor = self._walk
        with self._explained():
            for frame in recovery.frames():
                if frame.records:
                    yield frame.records
            self._cut_torn(descriptor, recovery, now)
        self._files.remove(self._copy_path)
        self.clean, self._sure = recovery.closed, recovery.sure
        self._main, self._walk = _FrameFile(self._files, descriptor, recovery.chain, recovery.end), None

    @property
    def opened(self) -> bool:
        """Whether there is a file that was opened and is not read yet."""
        return self._walk is not None

    @property
    def progress(self) -> float:
        """How much of the file was read, from 0 to 1."""
        done, size = self.read_so_far
        return done / size if size else 0.0

    @property
    def read_so_far(self) -> tuple[int, int]:
        """How many bytes of the file were read, and how many it has."""
        if self._walk is None:
            return self._current.end, self._current.end
        recovery, _ = self._walk
        return recovery.end, recovery.size

    def confirm(self) -> None:
        """
        Make sure that what was read is on disk, so that it can be shown; raises StorageBroken.

        It may have come from the kernel's cache, and after a sync that failed the kernel may hold for written what is
        not (docs/database-format.md, "Recovery"). So what no sync vouches for is written once more, as it is and where
        it is: that takes no room, and a crash meanwhile leaves each sector as it was or as it is to be.
        """
        main = self._current
        try:
            for position in range(self._sure, main.end, _CONFIRMED_AT_ONCE):
                length = min(_CONFIRMED_AT_ONCE, main.end - position)
                self._files.write(main.descriptor, self._files.read(main.descriptor, length, position), position)
        except OSError as error:
            self._broken = True
            raise StorageBroken(f"{self.path}: what was read could not be put on disk for certain: {error}") from error
        self.sync()
        self._sync_directory()

    def append(self, records: Sequence[bytes], slice_: Sequence[bytes] = (), *, sync: bool = True) -> None:
        """
        Make one commit of `records`, and put a slice of the snapshot into the copy that is being made.

        When it returns, the commit is on disk (`sync`) or handed to the kernel. Raises NoRoom, with nothing changed,
        or StorageBroken, after which nothing may be written.
        """
        if records:
            self._commit(records)
            if sync:
                self.sync()
        if self._copy is not None:
            self._append_copy(slice_, records)

    def sync(self) -> None:
        """Return when all that was appended is on disk; raises StorageBroken, whatever the reason it is not."""
        self._check_whole()
        began = perf_counter()
        try:
            self._files.sync(self._current.descriptor)
        except OSError as error:
            self._broken = True
            raise StorageBroken(f"sync failed ({error}): what was written last may or may not be on disk") from error
        self.syncs += 1
        self.sync_seconds += perf_counter() - began

    def prefix(self) -> Prefix:
        """
        All frames that the file has now, to be read on any thread; raises OSError.

        Opened anew, so that the file is not made shorter when a compaction has taken its name (see Files.discard).
        """
        return Prefix(self._files, self._files.open(self.path), self._current.end)

    def start_copy(self) -> None:
        """Begin a new file beside this one; from now on commits go to both. Raises OSError."""
        assert self._copy is None
        self._copy, self._copied = self._new_file(), 0

    def finish_copy(self) -> bool:
        """
        End the snapshot in the copy and put it in this file's place. False if the copy was given up.

        Raises StorageBroken if it is not known which of the two would be there after a crash.
        """
        if self._copy is None:
            return False
        try:
            self._complete_copy(self._copy)
        except (OSError, StorageBroken):
            self.drop_copy()
            return False
        self._switch_over(self._copy)
        return True

    def drop_copy(self) -> None:
        """Give up the copy that is being made, if there is one."""
        if self._copy is not None:
            copy, self._copy = self._copy, None
            with suppress(OSError):
                self._files.remove(self._copy_path)
            self._files.discard(copy.descriptor)

    def close(self, *, orderly: bool) -> None:
        """Let go of the file and its lock; `orderly` says in the file that all is well."""
        try:
            if orderly and self._main is not None:
                self._close_in_order(self._main)
        finally:
            self._release()

    def _close_in_order(self, main: _FrameFile) -> None:
        # The closing frame vouches for all before it, so that is synced first, and the frame taken off if it can't be.
        self.sync()
        end = main.end
        main.append(Kind.CLOSE, ())
        try:
            self.sync()
        except StorageBroken as error:
            main.cut_back(end, error)
            raise

    def _check_whole(self) -> None:
        if self._broken:
            raise StorageBroken("a write or sync has failed before: nothing may be written any more")

    @property
    def _current(self) -> _FrameFile:
        assert self._main is not None, "the journal is not open"
        return self._main

    @property
    def _copy_path(self) -> str:
        return self.path + ".new"

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Say of an error in which file it is, and what to do."""
        try:
            yield
        except StorageError as error:
            raise type(error)(f"{self.path}: {error}{_advice(error)}") from None

    def _open_header(self, descriptor: int, secret: bytes) -> Recovery:
        def read(length: int, position: int) -> bytes:
            return self._files.read(descriptor, length, position)

        self._lock, chain = open_header(read(HEADER_SIZE, 0), secret)
        return Recovery(read=read, size=self._files.size(descriptor), chain=chain)

    def _cut_torn(self, descriptor: int, recovery: Recovery, now: int) -> None:
        if not recovery.torn:
            return
        tail = self._files.read(descriptor, recovery.size - recovery.end, recovery.end)
        path = f"{self.path}.torn-{now}"
        copy = self._files.create(path)
        try:
            self._files.write(copy, tail, 0)
            self._files.sync(copy)
        except OSError:
            self._files.remove(path)
            raise
        finally:
            self._files.close(copy)
        self._sync_directory()
        self._files.truncate(descriptor, recovery.end)
        self.torn = Torn(path, len(tail))

    def _complete_copy(self, copy: _FrameFile) -> None:
        """End the snapshot in the copy and give it this file's name; after this the name may stand for either."""
        copy.append(Kind.SNAPSHOT_END, ())
        self._files.sync(copy.descriptor)
        self._files.rename(self._copy_path, self.path)

    def _switch_over(self, copy: _FrameFile) -> None:
        old, self._main, self._copy = self._main, copy, None
        self._sync_directory()
        if old is not None:
            self._files.discard(old.descriptor)

    def _new_file(self) -> _FrameFile:
        assert self._lock is not None
        header, chain = new_file(self._lock)
        descriptor = self._files.create(self._copy_path)
        try:
            self._files.write(descriptor, header, 0)
        except OSError:
            self._files.close(descriptor)
            self._files.remove(self._copy_path)
            raise
        return _FrameFile(self._files, descriptor, chain, HEADER_SIZE)

    def _commit(self, records: Sequence[bytes]) -> None:
        self._check_whole()
        try:
            self._current.append(Kind.COMMIT, records)
        except StorageBroken:
            self._broken = True
            raise
        except OSError as error:
            if error.errno in _ROOM:
                self.drop_copy()
                raise NoRoom(f"the database can't grow: {error.strerror}") from error
            self._broken = True
            raise StorageBroken(f"a write failed: {error}") from error

    def _append_copy(self, slice_: Sequence[bytes], records: Sequence[bytes]) -> None:
        """The copy's share of an append; the commit stands whatever happens to the copy."""
        try:
            self._write_copy(slice_)
            self._write_copy(records, Kind.COMMIT)
            self._sync_copy_in_steps()
        except (OSError, StorageBroken):
            self.drop_copy()

    def _sync_copy_in_steps(self) -> None:
        """At the end, all of it at once would keep the commits that come meanwhile waiting."""
        if self._copy is not None and self._copy.end - self._copied > _COPY_STEP:
            self._files.sync(self._copy.descriptor)
            self._copied = self._copy.end

    def _write_copy(self, records: Sequence[bytes], kind: Kind = Kind.SLICE) -> None:
        if records and self._copy is not None:
            self._copy.append(kind, records)

    def _sync_directory(self) -> None:
        try:
            assert self._directory is not None, "the journal is not open"
            self._files.sync_directory(self._directory)
        except OSError as error:
            self._broken = True
            raise StorageBroken(f"sync of the directory failed: {error}") from error

    def _release(self) -> None:
        self.drop_copy()
        main, self._main = self._main, None
        walk, self._walk = self._walk, None
        directory, self._directory = self._directory, None
        lock, self._lock_file = self._lock_file, None
        # The lock goes last: who has it next finds all the rest closed.
        opened = (None if main is None else main.descriptor, None if walk is None else walk[1], directory, lock)
        for descriptor in opened:
            if descriptor is not None:
                self._files.close(descriptor)


def frames_of(chain: Chain, kind: Kind, records: Sequence[bytes], position: int) -> tuple[list[bytes], Chain]:
    """One frame with the records, to be written at `position`, or as many as it takes for that much; and the chain."""
    frames = []
    for part in _parts(records):
        frame, chain = chain.seal(kind, part, position)
        frames.append(frame)
        position += len(frame)
    return frames, chain


def _parts(records: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """The records as they are, or in parts where they are too much for one frame."""
    begin = size = 0
    for at, record in enumerate(records):
        size += len(record)
        if size > _MOST and at > begin:
            yield records[begin:at]
            begin, size = at, len(record)
    yield records[begin:]


def _advice(error: StorageError) -> str:
    if isinstance(error, Damaged | Unclear):
        return (
            ". Nothing was changed. Keep this file. `jobengine db check` says whether the last backup is whole, and "
            "`jobengine db restore` puts it here; `jobengine db repair` writes what is whole of this one to a new file."
        )
    if isinstance(error, NotADatabase):
        return ". Nothing was changed. Is DB_PATH right?"
    return ""


def check_secret(path: str, secret: bytes) -> None:
    """Raise a StorageError if there is a database whose header does not open with the SECRET; changes nothing."""
    try:
        with open(path, "rb") as file:
            header = file.read(HEADER_SIZE)
    except FileNotFoundError:
        return
    try:
        open_header(header, secret)
    except StorageError as error:
        raise type(error)(f"{path}: {error}{_advice(error)}") from None
