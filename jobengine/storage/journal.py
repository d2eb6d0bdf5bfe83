"""
The database file: lock and open it, append to it, sync it, and compact it into a new file.

All calls block. At the start, a server calls `lock`, `open`, `make` and `recover` on its reactor thread, and `close` if
the start fails. From `confirm` on, all calls that touch the file are on the writer thread: `append`, `sync`,
`backup_reader`, `start_copy`, `finish_copy` and the orderly `close`. The reactor thread then reads only `size`,
`compacting`, `copy_error`, `syncs` and `sync_seconds`, each of which is a single value.
"""

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from time import perf_counter
from typing import Final

from attrs import define, field, frozen

from .backup_reader import BackupReader
from .errors import NO_ROOM, Damaged, FileChanged, NoRoom, NotADatabase, Stalled, StorageBroken, StorageError, Unclear
from .files import Files, lock_database, lock_open, real_path
from .frames import HEADER_SIZE, Chain, Kdf, Kind, Lock, check_magic, frames_of, new_file, open_header
from .recovery import Recovery

#: A copy is synced each time it has grown by this many bytes.
_COPY_STEP: Final = 1 << 19
_MOVED: Final = (
    "the database file was moved, deleted or replaced while the server runs: put it back, or save a backup of the "
    "server before you restart it"
)
_OVERWRITTEN: Final = (
    "another program has written to the database file: the server still answers reads, so save what you need before "
    "you restart it to use the file as it is now"
)
#: Bytes that `confirm` writes at a time.
_CONFIRMED_AT_ONCE: Final = 1 << 20


@frozen
class Torn:
    """The incomplete last write before a crash, which recovery has cut off."""

    #: The path of a file with a copy of the cut-off bytes.
    copy: str
    #: The number of cut-off bytes.
    length: int


@define
class _FrameFile:
    """An open file of frames, written at a tracked offset."""

    files: Files
    descriptor: int
    chain: Chain
    #: The offset of the next frame: the end of the last whole frame.
    end: int

    def append(self, kind: Kind, records: Sequence[bytes]) -> None:
        """
        Write the records in one frame, or in several if they are too long, without syncing. On an error the file is cut
        back to its earlier length, and the error raised; raises StorageBroken if cutting back fails.
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
        """Truncate the file to `end`; raises StorageBroken."""
        try:
            self.files.truncate(self.descriptor, end)
        except OSError as error:
            raise StorageBroken(
                f"a write failed ({cause}), and removing its incomplete bytes failed too ({error})"
            ) from error


@define
class Journal:
    """
    One database file, from `lock` to `close`.

    After `lock`, call `open`, `recover` and `confirm`, in this order, for an existing file, or `make` for a new one.
    """

    #: The file's path, without links.
    path: str = field(converter=real_path)
    _files: Files = field(factory=Files)
    _kdf: Kdf = field(factory=Kdf)
    #: The torn write that recovery cut off, if any.
    torn: Torn | None = field(default=None, init=False)
    #: Whether the file was new or closed in an orderly way.
    clean: bool = field(default=False, init=False)
    #: The number of syncs since the file was opened, and the seconds that they took in total.
    syncs: int = field(default=0, init=False)
    sync_seconds: float = field(default=0.0, init=False)
    #: Why the last copy failed: the error and the copy's path.
    copy_error: str = field(default="", init=False)
    _lock_file: int | None = field(default=None, init=False)
    #: The file's directory, kept open for syncs: later the process may have no free descriptor to open it.
    _directory: int | None = field(default=None, init=False)
    _lock: Lock | None = field(default=None, init=False)
    #: The recovery in progress, and the file descriptor it reads.
    _walk: tuple[Recovery, int] | None = field(default=None, init=False)
    #: The number of bytes known to be on disk when the file was opened.
    _sure: int = field(default=0, init=False)
    #: Whether a write or sync has failed permanently, so that no more may be written.
    _broken: bool = field(default=False, init=False)
    _main: _FrameFile | None = field(default=None, init=False)
    _copy: _FrameFile | None = field(default=None, init=False)
    #: How many bytes of the copy are on disk.
    _copied: int = field(default=0, init=False)

    @property
    def size(self) -> int:
        """The length of the file in bytes."""
        return self._current.end

    @property
    def compacting(self) -> bool:
        """Whether a copy is in progress."""
        return self._copy is not None

    @property
    def exists(self) -> bool:
        """Whether there is a file."""
        return self._files.exists(self.path)

    def lock(self) -> bool:
        """Take the lock and return whether the file exists; raises Locked and OSError."""
        self._lock_file = lock_database(self.path, self._files)
        self._directory = self._files.open_directory(os.path.dirname(self.path))
        return self.exists

    def open(self, secret: bytes) -> None:
        """Open an existing file and check its header, without changing it; raises StorageError and OSError."""
        with self._explained():
            descriptor = self._files.open(self.path)
            try:
                lock_open(descriptor, self._files)
                self._walk = self._open_header(descriptor, secret), descriptor
            except BaseException:
                self._files.close(descriptor)
                raise

    def make(self, secret: bytes) -> None:
        """Create an empty file; raises OSError and StorageBroken."""
        self._files.remove(self._copy_path)
        self._lock = Lock.derive(secret, self._kdf)
        self.start_copy()
        assert self._copy is not None
        self._complete_copy(self._copy)
        self._switch_over(self._copy)
        self.clean = True

    def recover(self, now: int) -> Iterator[tuple[bytes, ...]]:
        """
        Yield the records of each frame, in order; `progress` shows how much of the file was read. If the last write is
        torn, it is cut off and copied to a file whose name has `now` (milliseconds). Raises OSError, or StorageError,
        which leaves the file unchanged.
        """
        assert self._walk is not None, "the journal is not open"
        recovery, descriptor = self._walk
        with self._explained():
            for frame in recovery.frames():
                if records := frame.records:
                    yield records
            self._cut_torn(descriptor, recovery, now)
        self._files.remove(self._copy_path)
        self.clean, self._sure = recovery.closed, recovery.sure
        self._main, self._walk = _FrameFile(self._files, descriptor, recovery.chain, recovery.end), None

    @property
    def opened(self) -> bool:
        """Whether a file is open and not yet read to its end."""
        return self._walk is not None

    @property
    def progress(self) -> float:
        """The part of the file that was read, from 0 to 1."""
        done, size = self.read_so_far
        return done / size if size else 0.0

    @property
    def read_so_far(self) -> tuple[int, int]:
        """The number of bytes read, and the size of the file."""
        if self._walk is None:
            return self._current.end, self._current.end
        recovery, _ = self._walk
        return recovery.end, recovery.size

    def confirm(self) -> None:
        """
        Make sure that the recovered data is on disk before any answer uses it; raises StorageBroken.

        Recovery may have read the kernel's cache. After a failed sync the kernel may regard pages as written that are
        not on disk (docs/database-format.md, "Recovery"). So all bytes that may be unsynced are written again, in place
        and unchanged. The rewrite needs no disk space, and a crash during it leaves each sector unchanged.
        """
        main = self._current
        try:
            for position in range(self._sure, main.end, _CONFIRMED_AT_ONCE):
                length = min(_CONFIRMED_AT_ONCE, main.end - position)
                self._files.write(main.descriptor, self._files.read(main.descriptor, length, position), position)
        except OSError as error:
            self._broken = True
            raise StorageBroken(f"{self.path}: the recovered data could not be synced to disk: {error}") from error
        self.sync()
        self._sync_directory()

    def append(self, records: Sequence[bytes], slice_: Sequence[bytes] = (), *, sync: bool = True) -> None:
        """
        Make one commit of `records`, and append a slice of the snapshot to the copy in progress. Returns when the
        commit is on disk or, without `sync`, when the kernel has it. Raises Stalled if the file can't be written now,
        also without records; it is then unchanged. Raises StorageBroken if nothing more may be written.
        """
        self._check_whole()
        try:
            self._check_file()
            if records:
                self._commit(records)
        except Stalled as error:
            self._keep_copy_error(error)
            self.drop_copy()
            raise
        if records and sync:
            self.sync()
        if self._copy is not None:
            self._append_copy(slice_, records)

    def sync(self) -> None:
        """Return when all appended records are on disk; raises StorageBroken on any error."""
        self._check_whole()
        began = perf_counter()
        try:
            self._files.sync(self._current.descriptor)
        except OSError as error:
            self._broken = True
            raise StorageBroken(f"sync failed ({error}): the last writes may or may not be on disk") from error
        self.syncs += 1
        self.sync_seconds += perf_counter() - began

    def backup_reader(self) -> BackupReader:
        """
        A reader of all frames that the file has now, and of a closing frame, for any thread; raises OSError and
        FileChanged. The reader opens the file again, so that Files.discard does not truncate it after a compaction.
        """
        main = self._current
        self._check_length(main)
        again = self._files.open_again(main.descriptor)
        return BackupReader(self._files, again, main.end, main.chain.backup_end(main.end))

    def start_copy(self) -> None:
        """Start a copy beside this file; from now on commits go to both. Raises OSError."""
        assert self._copy is None
        try:
            self._copy, self._copied = self._new_file(), 0
        except OSError as error:
            self._keep_copy_error(error)
            raise

    def finish_copy(self) -> bool:
        """
        Finish the copy and replace this file by it. Returns False if the copy failed and was dropped. Raises
        StorageBroken if it is unknown which of the two files a crash would leave under the name.
        """
        if self._copy is None:
            return False
        try:
            self._check_file()
            self._complete_copy(self._copy)
        except (OSError, Stalled, StorageBroken) as error:
            self._keep_copy_error(error)
            self.drop_copy()
            return False
        self._switch_over(self._copy)
        return True

    def drop_copy(self) -> None:
        """Give up the copy in progress, if any."""
        if self._copy is not None:
            copy, self._copy = self._copy, None
            with suppress(OSError):
                self._files.remove(self._copy_path)
            self._files.discard(copy.descriptor)

    def close(self, *, orderly: bool) -> None:
        """Close the file and release the lock; with `orderly` a closing frame is written first."""
        try:
            if orderly and self._main is not None:
                self._close_in_order(self._main)
        finally:
            self._release()

    def _close_in_order(self, main: _FrameFile) -> None:
        # The closing frame states that everything before it is on disk. So sync first, and remove the frame if its own
        # sync fails.
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
            raise StorageBroken("an earlier write or sync failed: nothing more may be written")

    def _check_file(self) -> None:
        main = self._current
        if not self._files.has_name(main.descriptor, self.path):
            raise FileChanged(_MOVED)
        self._check_length(main)

    def _check_length(self, main: _FrameFile) -> None:
        if self._files.size(main.descriptor) != main.end:
            raise FileChanged(_OVERWRITTEN)

    @property
    def _current(self) -> _FrameFile:
        assert self._main is not None, "the journal is not open"
        return self._main

    @property
    def _copy_path(self) -> str:
        return self.path + ".new"

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Add to an error the file's path and what to do."""
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
        """
        Finish the snapshot in the copy and rename the copy. Until the directory is synced, a crash may leave either
        file under the name.
        """
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
            lock_open(descriptor, self._files)
            self._files.write(descriptor, header, 0)
        except OSError:
            self._files.close(descriptor)
            self._files.remove(self._copy_path)
            raise
        return _FrameFile(self._files, descriptor, chain, HEADER_SIZE)

    def _commit(self, records: Sequence[bytes]) -> None:
        try:
            self._current.append(Kind.COMMIT, records)
        except StorageBroken:
            self._broken = True
            raise
        except Stalled:
            raise
        except OSError as error:
            if error.errno in NO_ROOM:
                raise NoRoom(f"the database can't grow: {error.strerror}") from error
            self._broken = True
            raise StorageBroken(f"a write failed: {error}") from error

    def _append_copy(self, slice_: Sequence[bytes], records: Sequence[bytes]) -> None:
        """Append to the copy; an error drops the copy but does not fail the commit."""
        try:
            self._write_copy(slice_)
            self._write_copy(records, Kind.COMMIT)
            self._sync_copy_in_steps()
        except (OSError, StorageBroken) as error:
            self._keep_copy_error(error)
            self.drop_copy()

    def _keep_copy_error(self, error: OSError | StorageError) -> None:
        what = str(error.strerror or error) if isinstance(error, OSError) else str(error)
        self.copy_error = f"{what}: {self._copy_path}"

    def _sync_copy_in_steps(self) -> None:
        """
        Sync the copy each time it has grown by `_COPY_STEP`: one sync of the whole copy at the end
        would delay commits.
        """
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
        # Release the lock last, so that its next holder finds everything closed.
        opened = (None if main is None else main.descriptor, None if walk is None else walk[1], directory, lock)
        for descriptor in opened:
            if descriptor is not None:
                self._files.close(descriptor)


def _advice(error: StorageError) -> str:
    if isinstance(error, Damaged | Unclear):
        return (
            ". Nothing was changed. Keep this file. `jobengine db check` says whether the last backup is whole, and "
            "`jobengine db restore` puts it here; `jobengine db repair` writes the undamaged part to a new file."
        )
    if isinstance(error, NotADatabase):
        return ". Nothing was changed. Is DB_PATH right?"
    return ""


def check_beginning(path: str) -> None:
    """Raise NotADatabase unless the file begins like a database. Needs no SECRET. Raises OSError."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # opening a pipe would wait for its writer
            raise NotADatabase("it is not a file")
        with open(path, "rb") as file:
            check_magic(file.read(HEADER_SIZE))
    except NotADatabase as error:
        raise NotADatabase(f"{path}: {error}{_advice(error)}") from None


def check_secret(path: str, secret: bytes) -> None:
    """Raise a StorageError if the SECRET does not open an existing database; changes nothing."""
    try:
        with open(path, "rb") as file:
            header = file.read(HEADER_SIZE)
    except FileNotFoundError:
        return
    try:
        open_header(header, secret)
    except StorageError as error:
        raise type(error)(f"{path}: {error}{_advice(error)}") from None
