"""`jobengine db export`, `import` and `import-go`; `migrate` and `recount` for PostgreSQL."""

from typing import Final

import click

from jobengine.tools.database_secret import find_go_secret, find_new_secret, find_secret
from jobengine.tools.exporting import export as write_lines
from jobengine.tools.importing import import_lines
from jobengine.tools.importing_go import import_go as take_over
from jobengine.tools.postgres import is_set, recount_database
from jobengine.tools.postgres import migrate as bring_up_to_date
from jobengine.tools.postgres_transfer import export_database, import_into_database

from .db_files import bar, file_command
from .session import current
from .terminal_text import counted

#: The most damaged rows that a message lists.
_NAMED: Final = 10


@file_command(
    "export",
    "jobengine db export jobengine.jedb all.jsonl\njobengine db export jobengine.jedb mail.jsonl --queue mail",
)
@click.argument("names", nargs=-1, metavar="[FILE] OUT.jsonl")
@click.option("--queue", metavar="Q", help="Only this queue and its jobs.")
def export(names: tuple[str, ...], queue: str | None) -> None:
    """
    Write all queues and jobs as lines of JSON, even while a server runs.

    The new file is not encrypted: it has contents, leases and digests of the keys. Let nobody but its owner read it.
    `jobengine db import` makes a database with the same contents from it.

    Without FILE, the database is the PostgreSQL of DATABASE_URL or DATABASE_URL_FILE.
    """
    path, target = _database_and_text(names)
    if path is None:
        with bar("exporting", in_bytes=False) as progress:
            exported = export_database(target, progress, queue=queue)
    else:
        with bar("exporting") as progress:
            exported = write_lines(path, target, find_secret(path), progress, queue=queue)
    _report_transfer(target, size=exported.size, queues=exported.queues, jobs=exported.jobs)
    if exported.unfinished:
        current().output.note(
            f"An incomplete last frame of {exported.unfinished:,} bytes was not exported: it was being written, or a "
            "crash has cut it short."
        )
    if exported.damaged:
        current().output.note(
            f"{len(exported.damaged):,} damaged rows were not exported: {'; '.join(exported.damaged[:_NAMED])}"
            + ("." if len(exported.damaged) <= _NAMED else " and others.")
        )


@file_command("import", "jobengine db import text.jsonl new.jedb")
@click.argument("source", metavar="IN.jsonl")
@click.argument("path", metavar="[FILE]", required=False)
def import_(source: str, path: str | None) -> None:
    """
    Make a database from the lines that `export` has written.

    The new database gets the SECRET that is set, or the SECRET in the key file beside it; the exported database may
    have had another. Without FILE, the queues and jobs go into the PostgreSQL database of DATABASE_URL or
    DATABASE_URL_FILE: all of them, or none. First make the tables by `jobengine db migrate`; the database must have no
    queues.
    """
    if path is None:
        _check_database("jobengine db import IN.jsonl FILE")
    with bar("importing") as progress:
        imported = (
            import_into_database(source, progress)
            if path is None
            else import_lines(source, path, find_new_secret(path), progress)
        )
    _report_transfer(path, size=imported.size, queues=imported.queues, jobs=imported.jobs)


def _database_and_text(names: tuple[str, ...]) -> tuple[str | None, str]:
    """The path of the database to export, or None for PostgreSQL, and the path of the new file."""
    usage = "jobengine db export FILE OUT.jsonl"
    if not 1 <= len(names) <= 2:
        raise click.UsageError(f"Name the database and the new file: {usage}")
    if len(names) == 1:
        _check_database(usage)
    return names[0] if len(names) == 2 else None, names[-1]


def _check_database(usage: str) -> None:
    if not is_set():
        raise click.UsageError(f"Name the database file: {usage}; or set DATABASE_URL to use PostgreSQL.")


@file_command("import-go", "jobengine db import-go database.db new.jedb --go-secret-file old-secret")
@click.argument("source", metavar="FILE")
@click.argument("path", metavar="NEW")
@click.option("--go-secret-file", metavar="F", help="The file with the SECRET of the Go version; or set GO_SECRET.")
def import_go(source: str, path: str, go_secret_file: str | None) -> None:
    """
    Make a database from the file of the earlier JobEngine, written in Go.

    Access keys stay valid. Stop the old server first; its file is not changed. The new database is encrypted with the
    secret in SECRET, in SECRET_FILE, or in the key file beside it.
    """
    go_secret = find_go_secret(source, go_secret_file)
    with bar("importing") as progress:
        imported = take_over(source, path, go_secret, find_new_secret(path), progress)
    _report_transfer(path, size=imported.size, queues=imported.queues, jobs=imported.jobs)
    for queue, uid in imported.long:
        current().output.note(
            f"The content of job {uid} in queue {queue!r} is longer than 1 MiB. It was imported; to add jobs of that "
            "length, start the server with a greater MAX_BODY_BYTES."
        )


def _report_transfer(target: str | None, *, size: int | None, queues: int, jobs: int) -> None:
    """Print what was transferred into the file `target`, or into PostgreSQL if `target` is None."""
    session = current()
    file = {} if target is None else {"file": target, "bytes": size}
    if session.json:
        session.output.json({**file, "queues": queues, "jobs": jobs})
    elif target is None:
        session.output.note(f"Everything is in the database; queues: {queues:,}, jobs: {jobs:,}.")
    else:
        session.output.note(f"{target} is whole and on disk; bytes: {size:,}, queues: {queues:,}, jobs: {jobs:,}.")


@file_command("migrate", "jobengine db migrate")
def migrate() -> None:
    """
    Make the tables of JobEngine in PostgreSQL, or bring them up to date.

    The database is the one in DATABASE_URL or DATABASE_URL_FILE. It must exist, and may have other tables. Running this
    again does no harm.
    """
    had, has = bring_up_to_date()
    session = current()
    if session.json:
        session.output.json({"had": had, "has": has})
    session.output.note(f"The schema has version {has}; it had {had or 'none'}.")


@file_command("recount", "jobengine db recount")
def recount() -> None:
    """
    Count the jobs of all queues in PostgreSQL, and correct wrong counts.

    The database is the one in DATABASE_URL or DATABASE_URL_FILE. Servers may work on it meanwhile. Counts can be wrong
    only after rows were damaged.
    """
    with bar("counting", in_bytes=False) as progress:
        done = recount_database(progress)
    session = current()
    if session.json:
        corrected = [
            {"queue": one.queue, "count": one.count, "was": one.was, "is": one.jobs} for one in done.corrections
        ]
        totals = {"queues": done.queues, "jobs": done.jobs, "corrected": corrected, "damaged_queues": done.damaged}
        more = {"groups": done.groups, "dependencies": done.dependencies, "failures": done.failures}
        session.output.json({**totals, **{name: number for name, number in more.items() if number}})
        return
    for one in done.corrections:
        session.output.note(f"Queue {one.queue!r}: {one.count} was {one.was:,}, and is {one.jobs:,}.")
    if done.groups:
        session.output.note(f"The counts of {counted(done.groups, 'group')} were wrong, and were corrected.")
    if done.dependencies:
        session.output.note(f"The dependencies of {counted(done.dependencies, 'job')} were wrong, and were corrected.")
    if done.failures:
        session.output.note(f"The failures of {counted(done.failures, 'job')} were grouped wrongly, and corrected.")
    for number in done.damaged:
        session.output.note(f"Queue number {number} is damaged: its counts were not changed.")
    jobs = f"{counted(done.jobs, 'job')} of {counted(done.queues, 'queue')}"
    session.output.note(f"Counted {jobs}; corrected counts: {len(done.corrections):,}.")
