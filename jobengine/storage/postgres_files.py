"""
The calls of Files on PostgreSQL: a file is rows of bytes, and each write is one commit in one round trip.

A write is carried out only while its server leads: it reads the epoch of its cell with a lock that a takeover has to
wait for. It also needs the file to have its name, and the piece before it to be there. So whoever lost the lead, or a
database that forgot commits in a failover, can't get bytes behind a gap.
"""

import errno
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Thread
from typing import Any, Final

from attrs import define, field
from psycopg import Connection, Error, InterfaceError, OperationalError
from psycopg.errors import AdminShutdown, CrashShutdown, DiskFull, ReadOnlySqlTransaction, UniqueViolation

from .errors import NO_ROOM, CommitsLost, DatabaseAway, LeadLost, NoRoom

#: Seconds for which a write whose answer was lost is cleared up.
_PATIENCE: Final = 30.0
_PAUSE: Final = 0.2
#: Bytes that are read ahead, and how many pieces of an unnamed file are deleted at a time.
_BLOCK: Final = 4 << 20
_DELETED_AT_ONCE: Final = 200

#: Creates the tables. `lead`: who leads a cell, and in which epoch. A file without a name is to be deleted.
TABLES: Final = (
    "CREATE SCHEMA IF NOT EXISTS jobengine",
    "CREATE TABLE IF NOT EXISTS jobengine.lead (cell text PRIMARY KEY, epoch bigint NOT NULL, holder text NOT NULL, "
    "address text NOT NULL, until timestamptz NOT NULL) WITH (fillfactor = 50)",
    "CREATE TABLE IF NOT EXISTS jobengine.files (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "
    "cell text NOT NULL, name text, UNIQUE (cell, name))",
    "CREATE TABLE IF NOT EXISTS jobengine.pieces (file bigint NOT NULL, position bigint NOT NULL, "
    "bytes bytea NOT NULL, PRIMARY KEY (file, position))",
    # The bytes are encrypted: compressing them would only take time.
    "ALTER TABLE jobengine.pieces ALTER COLUMN bytes SET STORAGE EXTERNAL",
)

# A renewal of the lease changes no key, so it waits for no write; a takeover locks the whole row, and does.
_APPEND: Final = """
    WITH held AS (
        SELECT FROM jobengine.lead l, jobengine.files f
        WHERE l.cell = %(cell)s AND l.epoch = %(epoch)s AND f.id = %(file)s AND f.name = %(name)s
        FOR KEY SHARE OF l)
    INSERT INTO jobengine.pieces AS p (file, position, bytes)
    SELECT %(file)s, %(position)s, %(bytes)s FROM held
    WHERE %(before)s::bigint IS NULL
        OR EXISTS (SELECT FROM jobengine.pieces WHERE file = %(file)s AND position = %(before)s)
    ON CONFLICT (file, position) DO UPDATE SET bytes = EXCLUDED.bytes WHERE p.bytes = ANY(%(unclear)s::bytea[])"""
_STATE: Final = """
    SELECT (SELECT epoch FROM jobengine.lead WHERE cell = %(cell)s),
        (SELECT name FROM jobengine.files WHERE id = %(file)s),
        (SELECT bytes FROM jobengine.pieces WHERE file = %(file)s AND position = %(position)s)"""
_READ: Final = """
    SELECT position, bytes FROM jobengine.pieces
    WHERE file = %(file)s AND position < %(end)s AND position >= coalesce(
        (SELECT max(position) FROM jobengine.pieces WHERE file = %(file)s AND position <= %(begin)s), 0)
    ORDER BY position"""
_END: Final = """
    SELECT position, octet_length(bytes) FROM jobengine.pieces WHERE file = %s ORDER BY position DESC LIMIT 1"""

#: What a database raises that is away, or read-only after a failover.
_FAILURES: Final = (OperationalError, InterfaceError, ReadOnlySqlTransaction)
#: Those of a connection that is being closed; a statement sent on it may have been carried out.
_UNCLEAR: Final = (AdminShutdown, CrashShutdown, InterfaceError)


@define(eq=False)
class _Open:
    """An open file."""

    id: int
    name: str
    #: The length in bytes, and the position of the last piece; None in an empty file.
    end: int = 0
    last: int | None = None
    #: The bytes at `end` of writes that were not cleared up: the database may have one of them.
    unclear: list[bytes] = field(factory=list)
    #: The bytes that were read last, and where they begin.
    block: bytes = b""
    begin: int = 0


@define(eq=False, kw_only=True)
class PostgresFiles:
    """
    The files of one cell, for one thread at a time.

    Every method blocks. Raises DatabaseAway and NoRoom, which are OSErrors, if the call was not carried out; LeadLost
    if the epoch has moved; and CommitsLost if the database lacks bytes that it had acknowledged.
    """

    #: Makes a connection in autocommit mode.
    connect: Callable[[], Connection[Any]]
    #: The cell whose files these are.
    cell: str
    #: The epoch in which this server leads the cell; 0 if it does not: then every write raises LeadLost.
    epoch: int = 0
    #: The monotonic clock, and a function that waits.
    seconds: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    _connection: Connection[Any] | None = field(default=None, init=False)
    _opened: dict[int, _Open] = field(factory=dict, init=False)
    _next: int = field(default=0, init=False)

    # Names

    def exists(self, path: str) -> bool:
        return self._find(path) is not None

    def create(self, path: str) -> int:
        """Like Files.create. If the answer is lost, an empty file may exist: `remove` it."""
        self._check_lead()
        try:
            with self._statement() as connection:
                row = connection.execute(
                    "INSERT INTO jobengine.files (cell, name) VALUES (%s, %s) RETURNING id", [self.cell, path]
                ).fetchone()
        except UniqueViolation:
            raise FileExistsError(errno.EEXIST, "there is a file of this name", path) from None
        assert row is not None
        return self._enter(_Open(row[0], path))

    def open(self, path: str) -> int:
        file = self._find(path)
        if file is None:
            raise FileNotFoundError(errno.ENOENT, "there is no file of this name", path)
        return self._enter(self._measured(file, path))

    def open_to_read(self, path: str) -> int:
        return self.open(path)

    def open_again(self, descriptor: int) -> int:
        opened = self._opened[descriptor]
        return self._enter(self._measured(opened.id, opened.name))

    def rename(self, old: str, new: str) -> None:
        """Like Files.rename. The file that had the name is deleted when it is discarded."""
        file = self._find(old)
        if file is None:
            raise FileNotFoundError(errno.ENOENT, "there is no file of this name", old)
        self._repeat(lambda connection: self._rename(connection, file, new))
        for opened in self._opened.values():
            if opened.id == file:
                opened.name = new

    def remove(self, path: str) -> None:
        self._check_lead()
        with self._statement() as connection:
            connection.execute(
                "UPDATE jobengine.files SET name = NULL WHERE cell = %s AND name = %s", [self.cell, path]
            )

    def has_name(self, descriptor: int, path: str) -> bool:
        """Whether the file was opened or renamed as `path`; each write checks that it still has this name."""
        return self._opened[descriptor].name == path

    # Bytes

    def size(self, descriptor: int) -> int:
        """The length in bytes, as this object has read or written it."""
        return self._opened[descriptor].end

    def read(self, descriptor: int, length: int, position: int) -> bytes:
        """Like Files.read. A missing piece reads as zeros; one that was made longer shifts the bytes after it."""
        opened = self._opened[descriptor]
        length = min(length, opened.end - position)
        if length <= 0:
            return b""
        at = position - opened.begin
        if at < 0 or at + length > len(opened.block):
            self._fill(opened, position, max(length, _BLOCK))
            at = position - opened.begin
        return opened.block[at : at + length]

    def write(self, descriptor: int, data: bytes, position: int) -> None:
        """Append `data` in one commit; raises ValueError if `position` is not the end."""
        opened = self._opened[descriptor]
        if position != opened.end:
            raise ValueError("bytes in a database can only be appended")
        if not data:
            return
        self._repeat(lambda connection: self._append(connection, opened, data))
        opened.unclear, opened.last, opened.end = [], position, position + len(data)

    def truncate(self, descriptor: int, length: int) -> None:
        """Do nothing if the file ends there: a write fails as a whole. Raises ValueError for a shorter length."""
        if length != self._opened[descriptor].end:
            raise ValueError("bytes in a database are never cut off")

    def sync(self, descriptor: int) -> None:
        """Do nothing: a write has returned after its commit."""

    def begin_sync(self, descriptor: int, position: int, length: int) -> None:
        """Do nothing, see `sync`."""

    # What a file system has and a database does not need

    def lock(self, path: str) -> int:
        """Do nothing, since the lead is the lock; returns a descriptor to close."""
        return self._enter(_Open(0, path))

    def lock_open(self, descriptor: int) -> None:
        """Do nothing, see `lock`."""

    def open_directory(self, path: str) -> int:
        return self.lock(path)

    def sync_directory(self, descriptor: int) -> None:
        """Do nothing: a rename has returned after its commit."""

    def is_regular(self, descriptor: int) -> bool:
        return True

    def close(self, descriptor: int) -> None:
        self._opened.pop(descriptor, None)

    def discard(self, descriptor: int) -> None:
        """Close a file; if it has no name any more, delete its pieces step by step in the background."""
        opened = self._opened.pop(descriptor)
        if not any(one.id == opened.id for one in self._opened.values()):
            Thread(target=_delete_unnamed, args=(self.connect, opened.id), daemon=True).start()

    # The connection

    def disconnect(self) -> None:
        """Close the connection; the next call makes another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Error):
                connection.close()

    def _connected(self) -> Connection[Any]:
        if self._connection is None or self._connection.closed:
            self._connection = self.connect()
        return self._connection

    @contextmanager
    def _statement(self) -> Iterator[Connection[Any]]:
        """Around statements that need not be cleared up: a failure of the database becomes an OSError."""
        try:
            yield self._connected()
        except DiskFull as error:
            raise _no_room(error) from None
        except _FAILURES as error:
            self.disconnect()
            raise _away(error) from None

    def _repeat(self, act: Callable[[Connection[Any]], None]) -> None:
        """
        Carry out a change that may be repeated, until its outcome is clear. Raises DatabaseAway or NoRoom if the change
        was not made, and DatabaseAway if after _PATIENCE it is still unclear whether it was.
        """
        until, sent = self.seconds() + _PATIENCE, False
        while True:
            try:
                connection = self._connected()
                sent = True
                act(connection)
            except DiskFull as error:
                raise _no_room(error) from None
            except _FAILURES as error:
                if not (sent and self._is_unclear(error) and self.seconds() < until):
                    raise _away(error) from None
                self.disconnect()
                self.sleep(_PAUSE)
            else:
                return

    def _is_unclear(self, error: Error) -> bool:
        """Whether the statement may have been carried out: the connection was lost, or is being closed."""
        return isinstance(error, _UNCLEAR) or self._connection is None or self._connection.closed

    def _append(self, connection: Connection[Any], opened: _Open, data: bytes) -> None:
        its: dict[str, Any] = {"cell": self.cell, "epoch": self.epoch, "file": opened.id, "name": opened.name}
        its.update(position=opened.end, bytes=data, before=opened.last, unclear=opened.unclear)
        opened.unclear = [*opened.unclear, data]
        if connection.execute(_APPEND, its, binary=True).rowcount != 1:
            self._check_written(connection, opened, data)

    def _check_written(self, connection: Connection[Any], opened: _Open, data: bytes) -> None:
        """Return if an earlier try has stored the bytes; otherwise raise LeadLost or CommitsLost."""
        its = {"cell": self.cell, "file": opened.id, "position": opened.end}
        row = connection.execute(_STATE, its, binary=True).fetchone()
        assert row is not None
        epoch, name, there = row
        if (epoch or 0) > self.epoch:
            raise LeadLost(f"another server leads the cell {self.cell!r} since epoch {epoch}")
        if epoch != self.epoch or name != opened.name or there != data:
            raise CommitsLost(
                "the database lacks changes that it had acknowledged, as after a failover to a standby that was "
                "behind; set synchronous_standby_names to prevent this"
            )

    def _rename(self, connection: Connection[Any], file: int, new: str) -> None:
        with connection.transaction():
            self._hold_lead(connection)
            connection.execute(
                "UPDATE jobengine.files SET name = NULL WHERE cell = %s AND name = %s AND id <> %s",
                [self.cell, new, file],
            )
            connection.execute("UPDATE jobengine.files SET name = %s WHERE id = %s", [new, file])

    def _check_lead(self) -> None:
        with self._statement() as connection:
            self._hold_lead(connection)

    def _hold_lead(self, connection: Connection[Any]) -> None:
        """Raise LeadLost if another server leads; otherwise a takeover waits for the end of this transaction."""
        held = "SELECT FROM jobengine.lead WHERE cell = %s AND epoch = %s FOR KEY SHARE"
        if connection.execute(held, [self.cell, self.epoch]).rowcount != 1:
            raise LeadLost(f"this server does not lead the cell {self.cell!r}")

    def _find(self, path: str) -> int | None:
        with self._statement() as connection:
            row = connection.execute(
                "SELECT id FROM jobengine.files WHERE cell = %s AND name = %s", [self.cell, path]
            ).fetchone()
        return None if row is None else int(row[0])

    def _measured(self, file: int, path: str) -> _Open:
        with self._statement() as connection:
            row = connection.execute(_END, [file]).fetchone()
        return _Open(file, path) if row is None else _Open(file, path, end=row[0] + row[1], last=row[0])

    def _fill(self, opened: _Open, begin: int, length: int) -> None:
        """Read the pieces of at least these bytes, as far as the file has them."""
        end = min(begin + length, opened.end)
        with self._statement() as connection:
            rows = connection.execute(_READ, {"file": opened.id, "begin": begin, "end": end}, binary=True).fetchall()
        opened.begin = min([begin, *(position for position, _ in rows[:1])])
        block = bytearray()
        for position, piece in rows:
            block += bytes(max(0, position - opened.begin - len(block)))
            block += piece
        block += bytes(max(0, end - opened.begin - len(block)))
        opened.block = bytes(block)

    def _enter(self, opened: _Open) -> int:
        self._next += 1
        self._opened[self._next] = opened
        return self._next


def make_tables(connection: Connection[Any]) -> None:
    """Create the tables that are missing."""
    with connection.transaction():
        for statement in TABLES:
            connection.execute(statement)


def _no_room(error: Error) -> NoRoom:
    return NoRoom(min(NO_ROOM), f"the database has no room: {_first_line(error)}")


def _away(error: Error) -> DatabaseAway:
    return DatabaseAway(errno.EIO, f"the database can't be written now: {_first_line(error)}")


def _first_line(error: Error) -> str:
    return str(error).strip().partition("\n")[0]


def _delete_unnamed(connect: Callable[[], Connection[Any]], file: int) -> None:
    """Delete a file and its pieces if it has no name, in small steps, so that no commit waits for it."""
    step = (
        "DELETE FROM jobengine.pieces WHERE file = (SELECT id FROM jobengine.files WHERE id = %s AND name IS NULL) "
        "AND position IN (SELECT position FROM jobengine.pieces WHERE file = %s ORDER BY position LIMIT %s)"
    )
    # What a lost connection leaves is deleted with the next file.
    with suppress(Error), connect() as connection:
        while connection.execute(step, [file, file, _DELETED_AT_ONCE]).rowcount:
            time.sleep(_PAUSE / 20)
        connection.execute("DELETE FROM jobengine.files WHERE id = %s AND name IS NULL", [file])
