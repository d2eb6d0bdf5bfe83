"""Writes the contents of a database as lines of text."""

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from itertools import islice

from attrs import frozen

from ..core.fact_codec import is_job_added
from ..core.fact_lines import BeginLine, EndLine, history_line, job_line, line_of, queue_line
from ..core.model import Queue
from ..storage.errors import Damaged
from ..storage.files import Files
from .census import add_to
from .latest import AS_ADDED, GONE, Latest
from .source import Progress, Source, no_progress, open_source
from .target import NewFile, check_free, new_target, unnamed_file


class NoSuchQueue(Exception):
    """The database has no queue of that name; str() says which it has."""


@frozen(kw_only=True)
class Exported:
    """The result of an export."""

    #: The length of the new file in bytes.
    size: int
    queues: int
    jobs: int
    #: The bytes of an incomplete last frame, which is not exported.
    unfinished: int
    #: The damaged rows of PostgreSQL, which are not exported.
    damaged: tuple[str, ...] = ()


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
    Write the queues and jobs of a database, or one queue and its jobs, as it is when this begins.

    A server may run on it. The database is read twice, so that no job is kept in memory; jobengine.tools.latest says
    how much each needs. Raises NoSuchQueue, StorageError, TargetExists and OSError, and then makes no `target`.
    """
    files = files or Files()
    check_free(target, files)
    with open_source(path, secret, files) as source, new_target(target, files) as file:
        with unnamed_file(target, files) as changes:
            latest = Latest(changes, queue)
            for frame in source.frames(lambda done, size: progress(done, 2 * size)):
                add_to(latest, path, frame.records)
            unfinished = source.unfinished
            queues = latest.queues if queue is None else [named(queue, path, latest.queues)]
            source.begin_again()
            jobs = _write(file, queues, latest, _added(source, progress))
        return Exported(size=file.size, queues=len(queues), jobs=jobs, unfinished=unfinished)


def named(name: str, path: str, queues: Sequence[Queue]) -> Queue:
    """The queue of that name; raises NoSuchQueue."""
    by_name = {queue.name: queue for queue in queues}
    if name in by_name:
        return by_name[name]
    near = get_close_matches(name, by_name, 3, 0.5)
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else "`jobengine db check --json` names those it has"
    raise NoSuchQueue(f"{path}: there is no queue {name!r}; {hint}")


def _added(source: Source, progress: Progress) -> Iterator[list[bytes]]:
    """The records that add jobs, frame by frame; raises Damaged if there are fewer than in the first reading."""
    for frame in source.frames(lambda done, size: progress(size + done, 2 * size)):
        yield [record for record in frame.records if is_job_added(record)]
    if source.walk.torn:
        raise Damaged(f"{source.path}: it was cut off at byte {source.walk.end} while it was read")


def _write(file: NewFile, queues: Sequence[Queue], latest: Latest, added: Iterator[list[bytes]]) -> int:
    """Write all lines; returns how many jobs there are."""
    file.write(line_of(BeginLine(ahead=latest.ahead)), *map(queue_line, queues))
    histories = ((queue.name, latest.history(queue.name)) for queue in queues)
    file.write(*(history_line(name, periods) for name, periods in histories if periods))
    jobs, marks = 0, iter(latest.marks)
    for records in added:
        lines = [
            job_line(record, None if mark == AS_ADDED else latest.change_at(mark))
            for record, mark in zip(records, islice(marks, len(records)), strict=True)
            if mark != GONE
        ]
        jobs += len(lines)
        file.write(*lines)
    file.write(line_of(EndLine(queues=len(queues), jobs=jobs)))
    return jobs
