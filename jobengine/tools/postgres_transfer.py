"""Exports queues and jobs from PostgreSQL to lines of text, and imports them."""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from ..core.fact_codec import decode, encode
from ..core.fact_lines import BeginLine, EndLine, history_line, item_line, job_line, line_of, queue_line
from ..storage.files import Files
from .database_secret import find_set_secret
from .exporting import Exported, named
from .importing import Imported, reading
from .postgres import database, driver
from .source import Progress, no_progress
from .target import NewFile, check_free, new_target

if TYPE_CHECKING:
    from ..engine.postgres.transfer import Contents

#: Progress is reported each time this many jobs are written.
_REPORTED: Final = 1_000


def export_database(
    target: str,
    progress: Progress = no_progress,
    *,
    queue: str | None = None,
    environment: Mapping[str, str] = os.environ,
    files: Files | None = None,
) -> Exported:
    """
    Write the queues and jobs of the database, or one queue and its jobs, as of the start of the export.

    Servers may work on it meanwhile, and no job is kept in memory. `progress` counts jobs. Raises BadSecret,
    NoSuchQueue, StorageError, TargetExists and OSError; then there is no `target`.
    """
    files = files or Files()
    check_free(target, files)
    with database(environment) as connection, driver():
        from ..engine.postgres import transfer

        rows = _rows(connection, environment)
        with transfer.contents(connection, rows) as found, new_target(target, files) as file:
            if queue is not None:
                found.only(named(queue, "the database", [each.name for each in found.queues]))
            jobs = _write(found, file, progress)
            queues, damaged = len(found.queues), tuple(found.damaged)
            return Exported(size=file.size, queues=queues, jobs=jobs, unfinished=0, damaged=damaged)


def _write(found: "Contents", file: NewFile, progress: Progress) -> int:
    """Write the lines of an export; returns the number of jobs."""
    file.write(line_of(BeginLine(ahead=found.ahead)), *map(queue_line, found.queues))
    for name, periods in found.histories():
        file.write(history_line(name, periods))
    for item in found.items():
        file.write(item_line(encode(item)))
    jobs, size = 0, found.size()
    for jobs, fact in enumerate(found.jobs(), 1):
        file.write(job_line(encode(fact)))
        if not jobs % _REPORTED:
            progress(jobs, size)
    file.write(line_of(EndLine(queues=len(found.queues), jobs=jobs)))
    return jobs


def import_into_database(
    path: str,
    progress: Progress = no_progress,
    *,
    environment: Mapping[str, str] = os.environ,
    files: Files | None = None,
) -> Imported:
    """
    Import a whole export into the database, or nothing; the database must have no queues.

    The uids are kept in memory, some 110 bytes for each job. Raises BadSecret, BadExport, StorageError and OSError.
    """
    with database(environment) as connection, driver():
        from ..engine.postgres import transfer

        rows = _rows(connection, environment)
        with reading(path, files or Files(), progress) as read, transfer.filling(connection, rows) as filled:
            for records in read.blocks():
                filled.add(map(decode, records))
            return Imported(size=None, queues=read.queues, jobs=read.jobs)


def _rows(connection: Any, environment: Mapping[str, str]) -> Any:
    """The codec of the database's rows, with the configured SECRET; raises BadSecret."""
    from ..engine.postgres.database import rows, schema

    return rows.Rows(schema.opened(connection, find_set_secret(environment)))
