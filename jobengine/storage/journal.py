"""
The database file: opened under its lock, appended to, synced, and compacted into a new file.

Everything here blocks. After it has been opened a journal is used by one thread alone, the writer.
"""

import errno
import os.path
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from time import perf_counter
from typing import Final

from attrs import define, field, frozen

from .errors import Damaged, Locked, NoRoom, NotADatabase, StorageBroken, StorageError, Unclear
from .files import Files
from .frames import HEADER_SIZE, MAX_BOX, Chain, Kdf, Kind, Lock, new_file, open_header
from .recovery import Recovery

__all__ = ["Journal", "Torn", "check_secret"]

#: A write that fails with one of these can succeed later: no room, quota, file-size limit.
_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
#: Bytes of records in one frame, if they are not one record; well below MAX_BOX, though each takes a few more.
_MOST: Final = MAX_BOX // 2
#: Bytes of a copy after which it is synced.
_COPY_STEP: Final = 1 << 19


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
        frames, chain, end = [], self.chain, self.end
        for part in _parts(records):
            frame, chain = chain.seal(kind, part, end)
            frames.append(frame)
            end += len(frame)
        try:
            self.files.write(self.descriptor, b"".join(frames), self.end)
        except OSError as error:
            self.cut_back(self.end, error)
            raise
        self.chain, self.end = chain, end

    def cut_back(self, end: int, cause: Exception) -> None:
        """Take off what stands behind `end`; raises StorageBroken."""
        try:
            self.files.truncate(self.descriptor, end)
        except OSError as error:
            raise StorageBroken(f"a write failed ({cause}), and so did cutting it off ({error})") from error


@define
class Journal:
    """One database file, from `open` to `close`."""

    #: Where it is, as an absolute path.
    path: str
    _files: Files = field(factory=Files)
    _kdf: Kdf = field(factory=Kdf)
    #: What recovery cut off, if it did.
    torn: Torn | None = field(default=None, init=False)
    #: Whether the file was new or closed in good order; if not, `rewrite` it before it is used.
    clean: bool = field(default=False, init=False)
    #: How often it was synced since it was opened, and the seconds this took in all.
    syncs: int = field(default=0, init=False)
    sync_seconds: float = field(default=0.0, init=False)
    _lock_file: int | None = field(default=None, init=False)
    _lock: Lock | None = field(default=None, init=False)
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

    def open(self, secret: bytes, now: int) -> Iterator[tuple[bytes, ...]]:
        """
        Take the lock, make the file if there is none, and give the records of every frame in order.

        The journal can be used once the iterator has come to its end. `now` (milliseconds) names the copy of a torn
        tail. Raises a StorageError, with nothing of the file changed, and OSError.
        """
        self._take_lock()
        try:
            yield from self._recover(secret, now)
        except BaseException as error:
            self._release()
            if isinstance(error, StorageError):
                raise type(error)(f"{self.path}: {error}{_advice(error)}") from None
            raise

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

    def rewrite(self, slices: Iterable[Sequence[bytes]]) -> None:
        """Put a new file with this snapshot in the place of the old one; raises StorageBroken."""
        try:
            self.start_copy()
            for records in slices:
                self._write_copy(records)
            assert self._copy is not None
            self._complete_copy(self._copy)
        except OSError as error:
            self.drop_copy()
            raise StorageBroken(
                f"{self.path}: after an unclean end it has to be written anew, and that failed ({error}). Nothing was "
                "changed. Make room for a second file of its size, then start again."
            ) from error
        self._switch_over(self._copy)

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

    def _take_lock(self) -> None:
        try:
            self._lock_file = self._files.lock(self.path + ".lock")
        except BlockingIOError:
            raise Locked(f"{self.path}: another JobEngine is running on this database; stop it first") from None

    def _recover(self, secret: bytes, now: int) -> Iterator[tuple[bytes, ...]]:
        if not self._files.exists(self.path):
            self._files.remove(self._copy_path)
            self._make(secret)
            return
        descriptor = self._files.open(self.path)
        try:
            recovery = self._open_header(descriptor, secret)
            for frame in recovery.frames():
                if frame.records:
                    yield frame.records
            self._cut_torn(descriptor, recovery, now)
        except BaseException:
            self._files.close(descriptor)
            raise
        self._files.remove(self._copy_path)
        self.clean = recovery.closed
        self._main = _FrameFile(self._files, descriptor, recovery.chain, recovery.end)

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

    def _make(self, secret: bytes) -> None:
        self._lock = Lock.derive(secret, self._kdf)
        self.start_copy()
        assert self._copy is not None
        self._complete_copy(self._copy)
        self._switch_over(self._copy)
        self.clean = True

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
            self._files.sync_directory(os.path.dirname(self.path))
        except OSError as error:
            self._broken = True
            raise StorageBroken(f"sync of the directory failed: {error}") from error

    def _release(self) -> None:
        self.drop_copy()
        if self._main is not None:
            self._files.close(self._main.descriptor)
            self._main = None
        if self._lock_file is not None:
            self._files.close(self._lock_file)
            self._lock_file = None


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
        return ". Nothing was changed. Keep a copy of the file, then restore a backup."
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
