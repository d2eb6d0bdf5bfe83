"""Writes the contents of a database as lines of text."""

from array import array
from collections.abc import Collection, Iterator, Sequence
from difflib import get_close_matches
from typing import Final

from attrs import define, field, frozen

from ..core.fact_codec import is_job_added
from ..core.fact_lines import BeginLine, EndLine, history_line, item_line, job_line, line_of, queue_line
from ..storage.errors import Damaged
from ..storage.files import Files
from .live_records import LiveRecords
from .source import Progress, Source, no_progress, open_source
from .target import NewFile, check_free, new_target, unnamed_file

#: The bytes of the length field before each change in the temporary file.
_LENGTH: Final = 4


class NoSuchQueue(Exception):
    """The database has no queue of that name; str() names similar ones."""


@frozen(kw_only=True)
class Exported:
    """The result of an export."""

    #: The length of the new file in bytes.
    size: int
    queues: int
    jobs: int
    #: The length in bytes of an incomplete last frame, which is not exported.
    unfinished: int
    #: The damaged rows of PostgreSQL, which are not exported.
    damaged: tuple[str, ...] = ()


class _LastChanges:
    """
    Keeps the last "job-changed" record of each job in a temporary file. The key of a job is the number of its
    "job-added" record.
    """

    def __init__(self, file: NewFile) -> None:
        self._file = file
        #: The position of each job's last change in the file, from 1; 0 for a job without a change.
        self._places = array("Q")

    def put(self, number: int, record: bytes) -> None:
        """Keep a record as the last change of the job with this number; raises OSError."""
        if (missing := number + 1 - len(self._places)) > 0:
            self._places.frombytes(bytes(missing * self._places.itemsize))
        self._places[number] = self._file.size + 1
        self._file.write(len(record).to_bytes(_LENGTH, "big"), record)

    def of(self, number: int) -> bytes | None:
        """The last change of a job, if there is one; only after the last `put`. Raises OSError."""
        place = self._places[number] if number < len(self._places) else 0
        if not place:
            return None
        length = int.from_bytes(self._file.read(_LENGTH, place - 1), "big")
        return self._file.read(length, place - 1 + _LENGTH)


@define
class _LiveJobs:
    """The exported jobs of a queue."""

    _changes: _LastChanges
    #: The number of each job's last "job-added" record, by uid.
    numbers: dict[str, int] = field(factory=dict)

    def add(self, uid: str, number: int, record: bytes) -> None:
        self.numbers[uid] = number

    def change(self, uid: str, record: bytes) -> None:
        if (number := self.numbers.get(uid)) is not None:
            self._changes.put(number, record)

    def remove(self, uid: str) -> None:
        self.numbers.pop(uid, None)


def export(
    path: str,
    target: str,
    secret: bytes,
    progress: Progress = no_progress,
    *,
    queue: str | None = None,
    files: Files | None = None,
) -> Exported:
    """
    Write the queues and jobs of a database, or one queue and its jobs, as of the start of the export.

    A server may use the database. It is read twice, so that memory holds no contents: only some 150 bytes for each job,
    and 8 for each "job-added" record. Raises NoSuchQueue, StorageError, TargetExists and OSError; then there is no
    `target`.
    """
    files = files or Files()
    check_free(target, files)
    with open_source(path, secret, files) as source, new_target(target, files) as file:
        with unnamed_file(target, files) as stored:
            changes = _LastChanges(stored)
            live = LiveRecords(path, lambda: _LiveJobs(changes), queue)
            for frame in source.frames(lambda done, size: progress(done, 2 * size)):
                live.add(frame.records)
            unfinished = source.unfinished
            names = list(live.queues) if queue is None else [named(queue, path, live.queues)]
            source.begin_again()
            jobs = _write(file, names, live, changes, _added(source, progress))
        return Exported(size=file.size, queues=len(names), jobs=jobs, unfinished=unfinished)


def named(name: str, path: str, queues: Collection[str]) -> str:
    """Return `name` if the database has this queue; otherwise raise NoSuchQueue, whose text names `path`."""
    if name in queues:
        return name
    near = get_close_matches(name, queues, 3, 0.5)
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else "`jobengine db check --json` lists its queues"
    raise NoSuchQueue(f"{path}: there is no queue {name!r}; {hint}")


def _added(source: Source, progress: Progress) -> Iterator[list[bytes]]:
    """
    Read the file a second time, and yield the "job-added" records of each frame; raises Damaged if the file was cut off
    after the first reading.
    """
    for frame in source.frames(lambda done, size: progress(size + done, 2 * size)):
        yield [record for record in frame.records if is_job_added(record)]
    if source.walk.torn:
        raise Damaged(f"{source.path}: the file was cut off at byte {source.walk.end} during the export")


def _write(
    file: NewFile,
    names: Sequence[str],
    live: LiveRecords[_LiveJobs],
    changes: _LastChanges,
    added: Iterator[list[bytes]],
) -> int:
    """Write all lines; returns the number of jobs."""
    queues = [live.queues[name] for name in names]
    file.write(line_of(BeginLine(ahead=live.ahead)), *(queue_line(one.queue) for one in queues))
    histories = ((one.queue.name, list(one.history.all())) for one in queues)
    file.write(*(history_line(name, periods) for name, periods in histories if periods))
    file.write(*(item_line(record) for one in queues for record in one.items.values()))
    jobs, first, present = 0, 0, _present(live)
    for records in added:
        numbered = enumerate(records, first)
        lines = [job_line(record, changes.of(number)) for number, record in numbered if present[number]]
        first += len(records)
        jobs += len(lines)
        file.write(*lines)
    file.write(line_of(EndLine(queues=len(queues), jobs=jobs)))
    return jobs


def _present(live: LiveRecords[_LiveJobs]) -> bytearray:
    """For each "job-added" record, in order: whether it is the last one of a job that still exists."""
    present = bytearray(live.added)
    for queue in live.queues.values():
        for number in queue.jobs.numbers.values():
            present[number] = True
    return present
