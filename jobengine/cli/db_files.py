"""`jobengine db check`, `backup`, `restore`, `repair` and `rekey`, and the base of all commands for databases."""

import errno
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, NoReturn

import click

from jobengine.tools import copying
from jobengine.tools.checking import Report
from jobengine.tools.checking import check as read_all
from jobengine.tools.copying import Copied
from jobengine.tools.database_secret import find_secret, is_in_key_file, read_new_secret, warning_about
from jobengine.tools.exit_codes import DbExit, db_exit_of
from jobengine.tools.rekeying import rekey as rewrite
from jobengine.tools.repairing import Repaired
from jobengine.tools.repairing import repair as rescue
from jobengine.tools.source import Progress

from .command import Command, json_option
from .exit_codes import Failed
from .progress_bar import ProgressBar
from .session import current

#: The database file, as an argument.
FILE = click.argument("path", metavar="FILE")


_ADDRESS: Final = (
    "it is an address, not a file. `export`, `import` and `migrate` read DATABASE_URL; PostgreSQL is backed up by "
    "pg_dump."
)


class FileCommand(Command):
    """A command for database files, which has its own exit codes."""

    def __init__(self, *args: Any, if_damaged: str, **more: Any) -> None:
        super().__init__(*args, common=False, **more)
        self._if_damaged = if_damaged
        self.params.append(json_option())

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an error ends it with a message and an exit code."""
        self._refuse_addresses(ctx)
        signal.signal(signal.SIGTERM, _stop)
        try:
            return super().invoke(ctx)
        except Exception as error:  # an error without an exit code is a bug, and is raised with its traceback
            ending = db_exit_of(error)
            if ending is None:
                raise
            advice = self._if_damaged if ending is DbExit.DAMAGED else ""
            raise Failed(_text(error) + advice, ending) from None

    def _refuse_addresses(self, ctx: click.Context) -> None:
        """Refuse a URL in place of a file, and do not repeat it in the error: it may have a password."""
        for one in self.params:
            if isinstance(one, click.Argument) and "://" in str(ctx.params[one.name or ""]):
                raise click.BadParameter(_ADDRESS, ctx, one)


def file_command(name: str, examples: str, if_damaged: str = "") -> Callable[[Callable[..., Any]], FileCommand]:
    """
    A decorator that makes a function a command for database files; its docstring is the help. The error for a damaged
    file ends with `if_damaged`.
    """
    return click.command(name, cls=FileCommand, examples=examples, if_damaged=if_damaged)


@contextmanager
def bar(what: str, *, in_bytes: bool = True) -> Iterator[Progress]:
    """A progress bar, shown only at a terminal."""
    with ProgressBar(1, shown=not current().json, what=what, in_bytes=in_bytes) as shown:
        yield shown.at


def _text(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        file = f"{error.filename}: " if error.filename else ""
        return f"{file}{error.strerror}{_MAKE_ROOM if error.errno in _FULL else ''}"
    return str(error)


_FULL: Final = (errno.ENOSPC, errno.EDQUOT)
_MAKE_ROOM: Final = "; free some space on that disk, or use another one"


def _stop(_number: int, _frame: object) -> NoReturn:
    """Exit by an exception, so that incomplete files are removed."""
    raise SystemExit(128 + signal.SIGTERM)


#: A hint for a file that does not end with a closing frame.
_NO_END = "If this is a copy of a backup, its end is missing: copy it again, or use another backup."


@file_command(
    "check",
    "jobengine db check jobengine.jedb\njobengine db check --backup tonight.jedb\n"
    "jobengine db check tonight.jedb --json",
)
@FILE
@click.option(
    "--backup", "is_backup", is_flag=True, help="Also fail without the closing frame that every backup has at its end."
)
def check(path: str, *, is_backup: bool) -> None:
    """
    Read a whole database, and report its contents and any damage.

    The file is not changed, and a server may use it meanwhile. With --json, each queue is reported as well.
    """
    with bar("checking") as progress:
        report = read_all(path, find_secret(path), progress)
    session = current()
    shown = _check_report(path, report)
    shown["whole"] &= report.closed or not is_backup
    if session.json:
        shown["queues"] = [{"name": queue.name, "jobs": queue.jobs} for queue in report.queues]
    session.output.record(shown)
    if report.damage is not None:
        raise Failed(
            f"{report.damage}. `jobengine db repair` writes everything before byte {report.good} to a new file. "
            "Use `jobengine db check` to see whether the last backup is whole.",
            DbExit.DAMAGED,
        )
    if not report.closed:
        _check_end(path, report, is_backup=is_backup)


def _check_end(path: str, report: Report, *, is_backup: bool) -> None:
    """Explain to the user why a file has no closing frame at its end; for a backup, raise Failed."""
    if is_backup:
        raise Failed(
            f"{path}: the closing frame of a backup is missing, and jobs may be missing too. Copy the backup again "
            "from where it was made, or use another one. Early versions of JobEngine wrote no closing frame: check "
            "such a backup without --backup, and compare its length and number of jobs with those of the original.",
            DbExit.DAMAGED,
        )
    if report.unfinished:
        current().output.note(
            "An incomplete frame follows the last whole one. In a database this is not damage: a server is writing the "
            f"frame, or was killed while writing it, and no change in it was acknowledged. {_NO_END}"
        )
    else:
        current().output.note(
            f"The file does not end with a closing frame: a server is using it, or was killed. {_NO_END}"
        )


def _check_report(path: str, report: Report) -> dict[str, Any]:
    return {
        "file": path,
        "format": report.version,
        "bytes": report.size,
        "garbage_bytes": report.garbage,
        "garbage_share": round(report.garbage / report.size, 3),
        "commits": report.commits,
        "queues": len(report.queues),
        "jobs": {"all": sum(report.states.values()), **report.states},
        "ends_with_close": report.closed,
        "unfinished_bytes": report.unfinished,
        "whole": report.damage is None,
        "damage_at_byte": None if report.damage is None else report.good,
    }


@file_command("backup", "jobengine db backup jobengine.jedb tonight.jedb")
@FILE
@click.argument("target", metavar="COPY")
def backup(path: str, target: str) -> None:
    """
    Copy a database, even while a server uses it.

    Every frame is checked. The copy has the same SECRET as the database: keep the SECRET too, in another place.
    """
    with bar("copying") as progress:
        copied = copying.backup(path, target, find_secret(path), progress)
    _report_copy(target, copied)
    served = os.environ.get("DB_PATH")
    if served and os.path.realpath(served) != os.path.realpath(path):
        current().output.note(f"DB_PATH names another database, {served}: this is a copy of {path}.")


@file_command(
    "restore",
    "jobengine db restore backup.jedb restored.jedb",
    ". Nothing was restored. Use another copy; if there is none, `jobengine db repair` rescues what can be read.",
)
@click.argument("source", metavar="COPY")
@click.argument("path", metavar="FILE")
def restore(source: str, path: str) -> None:
    """
    Restore a missing database from a copy, which must not be damaged. First stop the server that used it.

    A copy whose end is missing is restored as far as it goes, with a note: `jobengine db check --backup` refuses it.
    """
    with bar("copying") as progress:
        copied, queues = copying.restore(source, path, find_secret(source, path), progress)
    jobs = sum(sum(queue.jobs.values()) for queue in queues)
    _report_copy(path, copied, whole=copied.ended, queues=len(queues), jobs=jobs)
    if not copied.ended:
        current().output.note(f"{source} does not end with a closing frame. {_NO_END}")


def _report_copy(target: str, copied: Copied, *, whole: bool = True, **counted: int) -> None:
    """Report the copy, and whether it is `whole`; `counted` has its queues and jobs."""
    session = current()
    if session.json:
        session.output.json({"file": target, "bytes": copied.size, "unfinished_bytes": copied.unfinished, **counted})
        return
    contents = "".join(f", {what}: {number:,}" for what, number in counted.items())
    state = "whole and on disk" if whole else "on disk"
    session.output.note(f"{target} is {state}; bytes: {copied.size:,}{contents}.")
    if copied.unfinished:
        session.output.note(
            f"An incomplete last frame of {copied.unfinished:,} bytes was not copied: it was being written, or a "
            "crash has cut it short."
        )


@file_command("repair", "jobengine db repair damaged.jedb rescued.jedb")
@FILE
@click.argument("target", metavar="NEW")
def repair(path: str, target: str) -> None:
    """
    Rescue the readable part of a damaged database into a new file.

    The new file has every commit before the damage. The damaged file is not changed, and a server may use it meanwhile;
    the report says what is missing.
    """
    with bar("reading") as progress:
        repaired = rescue(path, target, find_secret(path), progress)
    session = current()
    session.output.record(_repair_report(target, repaired))
    for note in _repair_notes(path, repaired):
        session.output.note(note)


def _repair_report(target: str, repaired: Repaired) -> dict[str, Any]:
    return {
        "file": target,
        "bytes": repaired.size,
        "queues": len(repaired.queues),
        "jobs": sum(sum(queue.jobs.values()) for queue in repaired.queues),
        "bytes_taken": repaired.taken,
        "bytes_left": repaired.left,
        "good_frames_left": repaired.frames_left,
        "good_frame_bytes_left": repaired.frame_bytes_left,
        "damage_in_snapshot": repaired.in_snapshot,
    }


def _repair_notes(path: str, repaired: Repaired) -> list[str]:
    if repaired.damage is None:
        whole = f"{path} is not damaged: the new file has everything."
        return [whole] if repaired.closed else [_without_end(path, repaired.left)]
    notes = [f"{repaired.damage}. The {repaired.left:,} bytes from there on are not in the new file."]
    if repaired.frames_left:
        notes.append(
            f"They include {repaired.frames_left:,} good frames, {repaired.frame_bytes_left:,} bytes: later "
            "changes that were acknowledged, and are lost."
        )
    if repaired.in_snapshot:
        notes.append(
            "The damage is in the snapshot, so jobs that were added long ago may be missing too. Look for a backup."
        )
    return notes


def _without_end(path: str, left: int) -> str:
    unfinished = f" Its last {left:,} bytes, an incomplete frame, are not in the new file." if left else ""
    return f"No damage was found in {path}, but it does not end with a closing frame.{unfinished} {_NO_END}"


@file_command("rekey", "jobengine db rekey jobengine.jedb --new-secret-file new-secret")
@FILE
@click.option("--new-secret-file", required=True, metavar="F", help="The file with the new SECRET.")
def rekey(path: str, new_secret_file: str) -> None:
    """
    Rewrite a database with another SECRET, while no server uses it.

    It needs disk space for a second file. Older backups can still be opened only with the old SECRET.
    """
    new_secret = read_new_secret(new_secret_file)
    with bar("rewriting") as progress:
        size = rewrite(path, find_secret(path), new_secret, progress)
    session = current()
    if session.json:
        session.output.json({"file": path, "bytes": size})
    session.output.note(f"From now on, the SECRET in {new_secret_file} opens {path}.")
    if is_in_key_file():
        session.output.note(
            f"{path}.key still has the old SECRET, which older backups need. Keep that file elsewhere, and put "
            f"{new_secret_file} in its place before you start the server."
        )
    else:
        session.output.note("Set SECRET, or SECRET_FILE, to the new SECRET before you start the server.")
    if warning := warning_about(new_secret):
        session.output.note(warning)
