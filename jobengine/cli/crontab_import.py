"""`jobengine schedule import`: makes a schedule of each line of a crontab."""

import os
from pathlib import Path
from typing import Any, Final

import click

from jobengine.client import BadRequest, Queue, Schedule
from jobengine.client.schedules import ScheduleOptions

from .columns import IMPORTED
from .command import command
from .crontab import CronJob, Crontab, read_crontab
from .exit_codes import Exit, Failed, what_is_wrong
from .parameters import read_text
from .session import current
from .suggestions import complete_queues
from .terminal_text import counted

#: Where a machine keeps the name of its time zone.
_ZONE_FILE: Final = Path("/etc/timezone")
_ZONE_LINK: Final = Path("/etc/localtime")
_ZONES: Final = "zoneinfo/"


@command(
    "import",
    "jobengine schedule import crontab --queue mail --dry-run\n"
    "crontab -l | jobengine schedule import - --queue mail --timezone Europe/Berlin\n"
    "jobengine schedule import system-crontab --queue mail --with-user --dry-run",
)
@click.argument("path", metavar="FILE")
@click.option(
    "--queue", "queue_name", metavar="QUEUE", required=True, shell_complete=complete_queues, help="The queue."
)
@click.option(
    "--timezone", metavar="ZONE", help="The time zone of lines without CRON_TZ or TZ; default this machine's."
)
@click.option("--with-user", is_flag=True, help="Lines have a user before the command, who becomes the tag user:NAME.")
@click.option("--dry-run", is_flag=True, help="Import nothing; check the file, and show what it would become.")
def import_crontab(path: str, queue_name: str, timezone: str | None, with_user: bool, dry_run: bool) -> None:
    """
    Make a schedule of each line of a crontab: FILE, or - for standard input.

    Each job has the line's command in its content; `jobengine work QUEUE -- sh -c` runs it. The schedule's name is made
    from the command, so a second import changes nothing. If any line can't be imported, none is. Schedules that are not
    in the file stay.
    """
    session = current()
    queue = session.queue(queue_name)
    table = _read(path, with_user=with_user)
    for note in table.notes:
        session.output.note(note)
    if timezone is None and any(job.timezone is None for job in table.jobs):
        timezone = _machine_zone()
        session.output.note(f"Lines without CRON_TZ or TZ are in {timezone}; --timezone names another time zone.")
    checked = _checked(queue, path, table, timezone)
    before = {schedule.name: _settings(schedule) for schedule in queue.schedules.list()}
    changed = [job for job, schedule in checked if before.get(job.name) != _settings(schedule)]
    for job in changed if not dry_run else ():
        _set(queue, job, timezone)
    session.output.list(IMPORTED, [schedule for _, schedule in checked])
    session.output.note(_done(len(changed), len(checked) - len(changed), dry_run=dry_run))


def _done(changed: int, same: int, *, dry_run: bool) -> str:
    would = "would be" if dry_run else "was" if changed == 1 else "were"
    text = f"{counted(changed, 'schedule')} {would} added or changed"
    return f"{text}; {same:,} exist{'s' if same == 1 else ''} already." if same else f"{text}."


def _read(path: str, *, with_user: bool) -> Crontab:
    try:
        text = read_text("-" if path == "-" else f"@{path}")
    except ValueError as error:
        raise Failed(str(error), Exit.USAGE) from None
    return read_crontab(text.split("\n"), with_user=with_user)


def _checked(queue: Queue, path: str, table: Crontab, timezone: str | None) -> list[tuple[CronJob, Schedule]]:
    """The schedules as the server would store them; raises Failed, which names each line that can't be imported."""
    checked, errors = [], list(table.errors)
    for job in table.jobs:
        try:
            checked.append((job, _set(queue, job, timezone, dry_run=True)))
        except BadRequest as error:
            errors.append(f"line {job.line}: {what_is_wrong(error)}")
    if errors:
        lines = "\n".join(errors)
        raise Failed(f"{path} can't be imported, so nothing was:\n{lines}", Exit.USAGE)
    return checked


def _set(queue: Queue, job: CronJob, timezone: str | None, *, dry_run: bool = False) -> Schedule:
    options: ScheduleOptions = {"cron": job.cron, "timezone": job.timezone or timezone or "UTC"}
    if job.user is not None:
        options["tags"] = [f"user:{job.user}"]
    return queue.schedule(job.name, job.content, dry_run=dry_run, **options)


def _settings(schedule: Schedule) -> Any:
    """The settings that an import sets."""
    return schedule.cron, schedule.timezone, schedule.job


def _machine_zone() -> str:
    """The name of this machine's time zone; UTC if it has none."""
    if zone := os.environ.get("TZ", "").removeprefix(":"):
        return zone
    try:
        return _ZONE_FILE.read_text().strip() or "UTC"
    except OSError:
        return str(_ZONE_LINK.resolve()).partition(_ZONES)[2] or "UTC"
