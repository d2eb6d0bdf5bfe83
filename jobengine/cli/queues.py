"""`jobengine queue`: creates, shows, configures and deletes queues."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import click

from jobengine.client import OutcomeUnknown, Queue, Secret

from .columns import QUEUES
from .command import Command, command, group
from .job_options import note_retry_delay
from .limits import changed_limits, limit_options
from .parameters import QUEUE, OrNone, Seconds, WholeFrom, hold_end, hold_options
from .prompts import KEY_FILE, confirm, key_from
from .session import current
from .terminal_text import counted, moment

#: Fields that `queue show` leaves to `queue stats`.
_NUMBERS = frozenset(
    {
        "ready",
        "delayed",
        "held",
        "waiting",
        "workers_wanted",
        "oldest_ready_seconds",
        "last_minute",
        "last_hour",
        "minutes",
        "wait_seconds",
        "run_seconds",
    }
)

#: Fields that queues without limits, holds and dependencies need not show.
_SELDOM: Final = frozenset({"held", "waiting", "workers_wanted", "held_until"})

#: The message before a new key at a terminal.
_TO_KEEP: Final = "This is its key, which can't be shown again; put it in JOBENGINE_ACCESS_KEY or a profile:"
#: The message about a new key if standard output is redirected.
_KEPT_BY_THE_SHELL: Final = "Its key went to standard output; it can't be shown again."


@group("queue")
def queue() -> None:
    """Create, show, configure and delete queues."""


@command("create", "jobengine queue create mail\njobengine queue create mail --key-file mail.key")
@QUEUE
@KEY_FILE
def create(queue_name: str, key_file: str | None) -> None:
    """
    Create a queue.

    Prints the new key, unless you give one. Keep the key: it can't be shown again.
    """
    session = current()
    key, new = key_from(key_file)
    with _not_lost(queue_name, key if new else None):
        session.engine.queue(queue_name).create(access_key=key)
    session.output.note(f"The queue {queue_name!r} was created.")
    if new:
        session.output.note(_TO_KEEP if session.output.at_terminal else _KEPT_BY_THE_SHELL)
        session.output.value(key.reveal(), name=queue_name, access_key=key.reveal())
    elif session.json:
        session.output.json({"name": queue_name})


@command("list", "jobengine queue list\njobengine queue list --json")
def list_queues() -> None:
    """List all queues; needs the server's admin key."""
    session = current()
    session.output.list(QUEUES, session.engine.queues())


@command("show", "jobengine queue show mail")
@QUEUE
def show(queue_name: str) -> None:
    """Show the settings of a queue, and how many jobs it has."""
    session = current()
    raw = session.queue(queue_name).stats().raw
    session.output.record({name: value for name, value in _filled(raw).items() if name not in _NUMBERS})


@command("stats", "jobengine queue stats mail")
@QUEUE
def stats(queue_name: str) -> None:
    """
    Show the statistics of a queue: number, age and speed of its jobs; times are in seconds.

    Waiting and running times are those of the last 1,000 jobs since the server's start, and last_claim is empty if no
    worker has claimed since then.
    """
    session = current()
    raw = session.queue(queue_name).stats().raw
    # The counts of each minute are for programs: 240 numbers.
    shown = {name: value for name, value in _filled(raw).items() if name != "minutes"}
    session.output.record(raw if session.json else shown)


def _filled(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The fields, without those that are empty for most queues."""
    return {name: value for name, value in raw.items() if value or name not in _SELDOM}


@command(
    "configure",
    "jobengine queue configure mail --max-jobs 100000 --max-attempts 3 --retry-delay 5s --timeout 1m --keep 1d\n"
    "jobengine queue configure mail --keep-failed 7d\n"
    "jobengine queue configure mail --limit 50 --rate 100/s --group-limit 2 --group-rate 10/60 --group-order fair\n"
    "jobengine queue configure mail --limit none --target-wait 30s\n"
    "jobengine queue configure mail --seconds-per-priority 1m\n"
    "jobengine queue configure mail --dead-letter mail-dead --dead-letter-keep 14d\n"
    "jobengine queue configure mail --require-lease",
)
@QUEUE
@click.option("--max-jobs", type=OrNone(WholeFrom(0)), help="The most jobs in the queue, in any state.")
@click.option(
    "--require-lease/--no-require-lease",
    default=None,
    help="Whether only the holder of a job in progress may update it.",
)
@click.option("--keep", type=Seconds("m"), help="How long complete jobs are kept, by default.")
@click.option("--keep-failed", type=Seconds("m"), help="How long failed jobs are kept, by default.")
@click.option(
    "--timeout",
    type=Seconds("s"),
    help="How long a job may be in progress without an update, by default; 0 is for ever.",
)
@click.option("--max-attempts", type=WholeFrom(1), help="The most attempts at a job, by default.")
@click.option(
    "--retry-delay",
    type=Seconds("s"),
    help="With --max-attempts: the time before the second attempt, by default; doubled for each further one.",
)
@limit_options
@click.option(
    "--new-key", is_flag=True, help="Give the queue a new key, which is generated and printed, or read from --key-file."
)
@KEY_FILE
@click.option("--old-key-for", type=Seconds("s"), help="How long the old key stays valid beside the new one.")
def configure(queue_name: str, **options: Any) -> None:
    """
    Change the settings of a queue; others stay unchanged. The word `none` removes a limit, a rate, --max-jobs,
    --target-wait, --seconds-per-priority or --dead-letter.

    A limit is about jobs in progress, a rate about claims: never more than COUNT in any span of TIME.
    """
    session = current()
    queue = session.queue(queue_name)
    new_key, key_file = options.pop("new_key"), options.pop("key_file")
    changes, made = _changes(queue, options), False
    if new_key or key_file:
        changes["new_access_key"], made = key_from(key_file)
    if not changes:
        raise click.UsageError("Name a change, such as --max-jobs.")
    with _not_lost(queue_name, changes["new_access_key"] if made else None):
        setup = queue.configure(**changes)
    note_retry_delay(session.output, changes.get("defaults", {}), setup.defaults.max_attempts if setup.defaults else 1)
    if changes.get("group_on_failure") == "hold" and setup.group_order != "strict":
        session.output.note("--group-on-failure hold has no effect until the queue has --group-order strict.")
    if "new_access_key" not in changes:
        session.output.record(setup.raw)
        return
    session.output.note(f"The queue {queue_name!r} has a new key.")
    if made:
        key = changes["new_access_key"].reveal()
        session.output.value(key, **setup.raw, access_key=key)


@contextmanager
def _not_lost(queue_name: str, made: Secret | None) -> Iterator[None]:
    """Print the new key even if the answer was lost: the server may have set it, and it can't be shown again."""
    try:
        yield
    except OutcomeUnknown:
        if made is not None:
            output = current().output
            output.note(
                f"The answer was lost. If the server made the change, this is now the key of the queue {queue_name!r}:"
            )
            output.value(made.reveal(), name=queue_name, access_key=made.reveal())
        raise


def _changes(queue: Queue, options: dict[str, Any]) -> dict[str, Any]:
    defaults = {
        "keep_minutes": _whole(options["keep"], 60),
        "keep_failed_minutes": _whole(options["keep_failed"], 60),
        "timeout_seconds": _whole(options["timeout"], 1),
        "max_attempts": options["max_attempts"],
        "retry_delay_seconds": _whole(options["retry_delay"], 1),
    }
    given = {name: value for name, value in defaults.items() if value is not None}
    changes = {
        "max_jobs": 0 if options["max_jobs"] == "none" else options["max_jobs"],
        "require_lease": options["require_lease"],
        "old_key_seconds": _whole(options["old_key_for"], 1),
        "defaults": given or None,
    }
    return {name: value for name, value in changes.items() if value is not None} | changed_limits(queue, options)


def _whole(seconds: float | None, unit: int) -> int | None:
    """The number of units; it is whole, as the option's type has checked."""
    return None if seconds is None else int(seconds // unit)


@command("hold", "jobengine queue hold mail --for 10m\njobengine queue hold mail --until 2027-01-15T08:00Z")
@QUEUE
@hold_options
def hold(queue_name: str, **options: Any) -> None:
    """Hold a queue for a time: no job can be claimed. Those in progress go on."""
    session = current()
    end = hold_end(options, time.time())
    setup = session.queue(queue_name).configure(held_until=end)
    session.output.note(f"No job of the queue {queue_name!r} can be claimed until {moment(end)}.")
    if session.json:
        session.output.json(setup.raw)


@command("release", "jobengine queue release mail")
@QUEUE
def release(queue_name: str) -> None:
    """End the hold of a queue; groups that are held stay so."""
    session = current()
    setup = session.queue(queue_name).configure(held_until=None)
    session.output.note(f"The queue {queue_name!r} is not held.")
    if session.json:
        session.output.json(setup.raw)


def _switch(name: str, method: str, help_text: str) -> Command:
    """Make a command that switches one setting of a queue."""

    @command(name, f"jobengine queue {name} mail", help=help_text)
    @QUEUE
    def switch(queue_name: str) -> None:
        """Switch the setting, and report the new state."""
        session = current()
        setup = getattr(session.queue(queue_name), method)()
        if session.json:
            session.output.json(setup.raw)
        else:
            session.output.note(f"The queue {queue_name!r}: {_WHAT_HOLDS[setup.paused, setup.draining]}")

    return switch


#: The state of a queue, by whether it is paused and draining.
_WHAT_HOLDS: Final = {
    (False, False): "jobs can be added and claimed.",
    (True, False): "no job can be claimed; jobs can be added.",
    (False, True): "no job can be added; jobs can be claimed.",
    (True, True): "no job can be added or claimed.",
}


@command("delete", "jobengine queue delete mail --yes")
@QUEUE
@click.option("--yes", is_flag=True, help="Delete without a confirmation.")
def delete(queue_name: str, yes: bool) -> None:
    """Delete a queue and all its jobs."""
    session = current()
    queue = session.queue(queue_name)
    size = queue.stats().size
    confirm(f"Delete the queue {queue_name!r} and its {counted(size, 'job')}?", yes=yes or not size)
    queue.remove()
    session.output.note(f"The queue {queue_name!r} was deleted.")
    if session.json:
        session.output.json({"name": queue_name, "jobs": size})


for one in (
    create,
    list_queues,
    show,
    stats,
    configure,
    _switch("pause", "pause", "Refuse claims; jobs can still be added."),
    _switch("resume", "resume", "Accept claims again."),
    _switch("drain", "drain", "Refuse new jobs; jobs can still be claimed."),
    _switch("undrain", "undrain", "Accept new jobs again."),
    hold,
    release,
    delete,
):
    queue.add_command(one)
