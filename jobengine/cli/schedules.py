"""`jobengine schedule`: adds, shows, pauses and runs the schedules of a queue."""

import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, TypeVar, get_args

import click

from jobengine.client import Firing, IfRunning, Missed, Queue, Schedule, ScheduleNotFound

from .columns import SCHEDULES, outcome_of, rows_of
from .command import Command, command, group
from .crontab_import import import_crontab
from .job_options import job_options, named_options, note_retry_delay
from .parameters import (
    QUEUE,
    SCHEDULE,
    Content,
    Moment,
    OrNone,
    Seconds,
    WholeFrom,
    list_options,
    or_none,
    with_options,
)
from .session import current
from .terminal_text import counted, plain

F = TypeVar("F", bound=Callable[..., Any])

#: The fields that `show` prints in lines of their own.
_LISTS: Final = ("next", "notes", "firings")


@group("schedule")
def schedules() -> None:
    """Add jobs at the times of a cron line, or at a fixed interval."""


def _settings(otherwise: str) -> Callable[[F], F]:
    """
    Add the options for a schedule's settings, except --pause-after-failures; `_named` reads them. `otherwise` is the
    part of their help about the default, which replaces {}.
    """
    options = (
        click.option(
            "--cron", metavar="LINE", help="Five fields, as in Debian's cron, or @hourly, @daily, @weekly, @monthly."
        ),
        click.option("--every", type=Seconds("s"), help="The time between two jobs, instead of --cron."),
        click.option(
            "--timezone", metavar="ZONE", help=f"The time zone, such as Europe/Berlin; {otherwise.format('UTC')}."
        ),
        click.option(
            "--if-running",
            type=click.Choice(get_args(IfRunning)),
            help=f"What to do while the schedule's last job is unfinished; {otherwise.format('`skip`')}.",
        ),
        click.option(
            "--missed",
            type=click.Choice(get_args(Missed)),
            help=f"Which times to make up for that passed while the server was down; {otherwise.format('`once`')}.",
        ),
        click.option(
            "--missed-within",
            type=Seconds("s"),
            help=f"How old a missed time may be for `once`; {otherwise.format('1d')}.",
        ),
        click.option("--paused/--not-paused", default=None, help="Pause or resume it; by default a pause stays."),
    )
    return lambda function: with_options(function, options)


def _named(options: Mapping[str, Any]) -> dict[str, Any]:
    """The given settings of a schedule, without those of its job, by the client's names."""
    settings = {
        "cron": options["cron"],
        "every_seconds": options["every"],
        "timezone": options["timezone"],
        "if_running": options["if_running"],
        "missed": options["missed"],
        "missed_seconds": options["missed_within"],
        "pause_after_failures": options["pause_after_failures"],
        "paused": options["paused"],
    }
    return {name: value for name, value in settings.items() if value is not None}


@command(
    "add",
    'jobengine schedule add mail nightly --cron "0 3 * * *" --timezone Europe/Berlin \'{"report": "sales"}\'\n'
    "jobengine schedule add mail refresh --every 5m --if-running replace --missed none\n"
    'jobengine schedule add mail weekly --cron "0 6 * * MON" --pause-after-failures 3 --priority 5 --dry-run',
)
@QUEUE
@SCHEDULE
@click.argument("content", metavar="[CONTENT]", type=Content(), required=False)
@_settings("{} by default")
@click.option("--pause-after-failures", type=WholeFrom(1), metavar="N", help="Pause it after N failures in a row.")
@job_options
@click.option("--dry-run", is_flag=True, help="Add nothing; show the next times and the notes.")
def add(queue_name: str, name: str, content: Any, *, dry_run: bool, **options: Any) -> None:
    """
    Add a schedule, or replace the settings of an existing one, and print its next times.

    Its jobs have the JSON object CONTENT: itself, - for standard input, or @FILE; by default it is empty. An existing
    schedule keeps its history and, without --paused or --not-paused, its pause; all other settings are replaced, also
    its content. `jobengine schedule configure` changes only what is given.
    """
    session = current()
    if (options["cron"] is None) == (options["every"] is None):
        raise click.UsageError('Give either --cron "0 3 * * *" or --every 5m.')
    given: Any = _named(options) | named_options(options)
    queue = session.queue(queue_name)
    zone = _zone_of(queue, name)
    schedule = queue.schedule(name, content or {}, dry_run=dry_run, **given)
    note_retry_delay(session.output, given)
    if zone not in (None, schedule.timezone):
        session.output.note(
            f"The schedule {name!r} {'would be' if dry_run else 'was'} replaced, also its time zone: from {zone} to "
            f"{schedule.timezone}."
        )
    _print(schedule)


def _zone_of(queue: Queue, name: str) -> str | None:
    """The time zone of a schedule; None if there is no such schedule."""
    try:
        return queue.schedules.get(name).timezone
    except ScheduleNotFound:
        return None


@command(
    "configure",
    'jobengine schedule configure mail nightly --cron "0 4 * * *"\n'
    "jobengine schedule configure mail nightly --if-running replace --pause-after-failures none\n"
    'jobengine schedule configure mail nightly --priority 5 \'{"report": "stock"}\'',
)
@QUEUE
@SCHEDULE
@click.argument("content", metavar="[CONTENT]", type=Content(), required=False)
@_settings("{} unless it was set")
@click.option(
    "--pause-after-failures",
    type=OrNone(WholeFrom(1)),
    metavar="N",
    help="Pause it after N failures in a row; `none`: never.",
)
@job_options
def configure(queue_name: str, name: str, content: Any, **options: Any) -> None:
    """
    Change the given settings of a schedule, and print its next times; all others stay unchanged.

    --cron and --every replace each other. CONTENT replaces the content of its jobs as a whole: the JSON object itself,
    - for standard input, or @FILE.
    """
    session = current()
    if options["cron"] is not None and options["every"] is not None:
        raise click.UsageError("Give --cron or --every, not both: they replace each other.")
    changes, job = _named(options), named_options(options)
    if changes.get("pause_after_failures"):
        changes["pause_after_failures"] = or_none(changes["pause_after_failures"])
    if not changes and not job and content is None:
        raise click.UsageError("Name a change, such as --cron.")
    schedules_of = session.queue(queue_name).schedules
    if job or content is not None:
        # The server replaces the job as a whole.
        job = schedules_of.get(name).job | job
        before = job.pop("content")
        content = before if content is None else content
    schedule = schedules_of.change(name, content, **changes, **job)
    note_retry_delay(session.output, job)
    _print(schedule)


@command(
    "list",
    "jobengine schedule list mail\njobengine schedule list mail --json",
)
@QUEUE
@list_options("schedules")
def list_schedules(queue_name: str, limit: int, every: bool) -> None:
    """List the schedules of a queue by name, each with its next time, its last time and the outcome of the last."""
    queue = current().queue(queue_name)
    none = f"The queue {queue_name!r} has no schedule: `jobengine schedule add` adds one."
    current().output.first(SCHEDULES, queue.schedules.list, None if every else limit, none)


@command("show", "jobengine schedule show mail nightly")
@QUEUE
@SCHEDULE
def show(queue_name: str, name: str) -> None:
    """Show a schedule: its settings, its next five times, the effect of clock changes, and its last 20 times."""
    _print(current().queue(queue_name).schedules.get(name))


def _print(schedule: Schedule) -> None:
    output = current().output
    if output.as_json:
        output.json(schedule.raw)
        return
    settings = {name: value for name, value in schedule.raw.items() if name not in _LISTS}
    rows = list(rows_of(settings))
    rows += [("next", moment.isoformat()) for moment in schedule.next]
    rows += [("note", plain(note)) for note in schedule.notes]
    rows += [("time", plain(_line(firing))) for firing in schedule.firings]
    output.rows(rows)


def _line(firing: Firing) -> str:
    """A time, or several times that were skipped together, and the outcome."""
    until = f" to {firing.until.isoformat()} ({firing.times} times)" if firing.until else ""
    manual = ", by hand" if firing.manual else ""
    return f"{firing.time.isoformat()}{until}{manual}: {outcome_of(firing)}{f' {firing.uid}' if firing.uid else ''}"


def _switch(name: str, help_text: str) -> Command:
    """A command that pauses or resumes a schedule."""

    @command(name, f"jobengine schedule {name} mail nightly", help=help_text)
    @QUEUE
    @SCHEDULE
    def switch(queue_name: str, name: str) -> None:
        """Pause or resume the schedule, and report the new state."""
        session = current()
        changed = getattr(session.queue(queue_name).schedules, click.get_current_context().command.name or "")(name)
        if session.json:
            session.output.json(changed.raw)
        else:
            then = f"fires next at {changed.next[0].isoformat()}" if changed.next else "is paused"
            session.output.note(f"The schedule {changed.name!r} of {queue_name!r} {then}.")

    return switch


@command("delete", "jobengine schedule delete mail nightly")
@QUEUE
@SCHEDULE
def delete(queue_name: str, name: str) -> None:
    """Delete a schedule and its history; its jobs stay."""
    session = current()
    session.queue(queue_name).schedules.delete(name)
    session.output.note(f"The schedule {name!r} of {queue_name!r} was deleted.")
    if session.json:
        session.output.json({"queue_name": queue_name, "name": name})


@command(
    "run",
    "jobengine schedule run mail nightly\n"
    "jobengine schedule run mail nightly --from 2026-01-01T00:00Z --until 2026-01-08T00:00Z --dry-run",
)
@QUEUE
@SCHEDULE
@click.option(
    "--from",
    "start",
    type=Moment(),
    help="Add the jobs of past times, from this one: 2027-01-15T08:00, in this machine's zone, or in UTC with a Z.",
)
@click.option("--until", "end", type=Moment(), help="With --from: the last time; default now.")
@click.option("--dry-run", is_flag=True, help="With --from: add nothing, and print the times.")
def run(queue_name: str, name: str, start: Any, end: Any, dry_run: bool) -> None:
    """
    Add the job of a schedule now, once, and print its uid; or the jobs of past times, and print these times.

    This works while the schedule is paused. Past times, at most 1,000, add no job that the queue already has; jobs that
    have moved to a dead-letter queue are added again.
    """
    queue = current().queue(queue_name)
    if start is None:
        if end is not None or dry_run:
            raise click.UsageError("--until and --dry-run need --from.")
        firing = queue.schedules.run(name)
        current().output.value(firing.uid or "", **firing.raw)
    else:
        _backfill(queue, name, start, time.time() if end is None else end, dry_run=dry_run)


def _backfill(queue: Queue, name: str, start: float | datetime, end: float | datetime, *, dry_run: bool) -> None:
    session = current()
    found = queue.schedules.backfill(name, start, end, dry_run=dry_run)
    if session.json:
        session.output.json(found.raw)
        return
    for moment in found.times:
        click.echo(moment.isoformat())
    jobs = counted(found.added, "job")
    done = "would be added" if dry_run else "was added" if found.added == 1 else "were added"
    left = f"; {found.matched - found.added:,} exist already" if found.matched > found.added else ""
    session.output.note(f"{jobs} {done}{left}.")


for one in (
    add,
    configure,
    list_schedules,
    show,
    _switch("pause", "Pause a schedule: its times pass without a job, and are not made up for."),
    _switch("resume", "Resume a schedule, also one that failures have paused."),
    run,
    delete,
    import_crontab,
):
    schedules.add_command(one)
