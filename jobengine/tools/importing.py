"""Makes a database from the lines of an export."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from attrs import define, field, frozen

from ..core.fact_codec import encode
from ..core.fact_lines import (
    BadLine,
    EndLine,
    HistoryLine,
    ItemLine,
    JobLine,
    NewerLines,
    QueueLine,
    read_begin,
    read_line,
    record_in,
)
from ..core.facts import ClockSet
from ..storage.files import Files
from ..storage.frames import MAX_BOX, Kdf
from .source import Progress, no_progress, open_file
from .target import NewDatabase, check_free, new_target

#: Bytes that are read at a time.
_BLOCK: Final = 1 << 16
#: The most bytes of a line; a longer job could not be stored.
_LONGEST_LINE: Final = MAX_BOX


class BadExport(Exception):
    """A file that is not an export, or an incomplete one; str() names the line."""


@frozen(kw_only=True)
class Imported:
    """The result of an import."""

    #: The length of the database file in bytes; None for PostgreSQL.
    size: int | None
    queues: int
    jobs: int


def import_lines(
    path: str,
    target: str,
    secret: bytes,
    progress: Progress = no_progress,
    *,
    files: Files | None = None,
    kdf: Kdf | None = None,
) -> Imported:
    """
    Make a database from an export. It has the same contents as the exported database, with a new file id and data key.
    The uids are kept in memory, some 110 bytes for each job. Raises BadExport, NotADatabase, TargetExists and OSError;
    then there is no `target`.
    """
    files = files or Files()
    check_free(target, files)
    with reading(path, files, progress) as read, new_target(target, files) as file:
        database = NewDatabase(file, secret, kdf or Kdf())
        for records in read.blocks():
            database.add(records)
        database.finish()
        return Imported(size=file.size, queues=read.queues, jobs=read.jobs)


@contextmanager
def reading(path: str, files: Files, progress: Progress) -> Iterator["Reader"]:
    """Open an export to read it; raises NotADatabase and OSError."""
    with open_file(path, files) as descriptor:
        yield Reader(path, _blocks(path, descriptor, files, progress))


@define
class Reader:
    """Converts lines into records, and checks that they are consistent."""

    _path: str
    _lines: Iterator[list[bytes]]
    jobs: int = field(default=0, init=False)
    _number: int = field(default=0, init=False)
    _uids: dict[str, set[str]] = field(factory=dict, init=False)
    _end: EndLine | None = field(default=None, init=False)

    @property
    def queues(self) -> int:
        """The number of queues so far."""
        return len(self._uids)

    def blocks(self) -> Iterator[list[bytes]]:
        """Yield all records, in lists. Raises BadExport for a bad line, and at the end if lines are missing."""
        for lines in self._lines:
            yield self._records(lines)
        self._check_end()

    def _records(self, lines: list[bytes]) -> list[bytes]:
        try:
            return [record for line in lines if (record := self._record(line)) is not None]
        except (BadLine, NewerLines) as error:
            raise BadExport(f"{self._path}: line {self._number}: {error}") from None

    def _check_end(self) -> None:
        if self._end is None:
            raise BadExport(
                f"{self._path}: it ends after line {self._number} without the line `end`: the rest is missing"
            )

    def _record(self, text: bytes) -> bytes | None:
        self._number += 1
        if self._end is not None:
            raise BadLine("this line follows the line `end`")
        if self._number == 1:
            begin = read_begin(text)
            return encode(ClockSet(begin.ahead)) if begin.ahead else None
        line = read_line(text)
        if isinstance(line, JobLine):
            return self._job(line)
        if isinstance(line, QueueLine):
            return self._queue(line)
        if isinstance(line, HistoryLine | ItemLine):
            if line.queue not in self._uids:
                raise BadLine(f"it belongs to the queue {line.queue!r}, whose own line must come earlier in the file")
            return record_in(line)
        if isinstance(line, EndLine):
            self._finish(line)
            return None
        raise BadLine("this header line may only be the first line of an export")

    def _job(self, line: JobLine) -> bytes:
        uids = self._uids.get(line.queue)
        if uids is None:
            raise BadLine(f"it belongs to the queue {line.queue!r}, whose own line must come earlier in the file")
        if line.uid in uids:
            raise BadLine(f"the queue {line.queue!r} has two jobs {line.uid}")
        uids.add(line.uid)
        self.jobs += 1
        return record_in(line)

    def _queue(self, line: QueueLine) -> bytes:
        if line.name in self._uids:
            raise BadLine(f"there are two queues {line.name!r}")
        self._uids[line.name] = set()
        return record_in(line)

    def _finish(self, line: EndLine) -> None:
        if (line.queues, line.jobs) != (self.queues, self.jobs):
            raise BadLine(
                f"{line.queues} queues and {line.jobs} jobs were exported, "
                f"but the file has {self.queues} and {self.jobs}"
            )
        self._end = line


def _blocks(path: str, descriptor: int, files: Files, progress: Progress) -> Iterator[list[bytes]]:
    size, position, rest = files.size(descriptor), 0, b""
    # For a long line the blocks grow, which limits how often its beginning is copied.
    while block := files.read(descriptor, max(_BLOCK, len(rest)), position):
        position += len(block)
        *lines, rest = (rest + block).split(b"\n")
        yield lines
        if len(rest) > _LONGEST_LINE:
            raise BadExport(f"{path}: the line that ends near byte {position} is too long for an export")
        progress(position, size)
    if rest:
        yield [rest]
