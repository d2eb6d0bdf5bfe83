"""The options of a new job, which `jobengine add`, `jobengine batch` and `jobengine schedule add` share."""

from collections.abc import Mapping
from typing import Any, Final, get_args

import click

from jobengine.client import OnDependencyFailure

from .output import Output
from .parameters import Awaited, Content, Seconds, WholeFrom, WholeNumber, with_options
from .suggestions import complete_groups


def _one_key(context: click.Context, param: click.Parameter, keys: tuple[str, ...]) -> str | None:
    """The unique key, or None; raises UsageError for several: click would take the last one."""
    if len(keys) > 1:
        raise click.UsageError("Give one key: --unique and --unique-key are the same option.", context)
    return keys[0] if keys else None


_UNIQUE: Final = click.option(
    "--unique",
    "--unique-key",
    "unique_key",
    metavar="KEY",
    multiple=True,
    callback=_one_key,
    help="Add nothing while a job with this key is unfinished.",
)


def job_options(function: Any) -> Any:
    """Add the options of a new job; `named_options` reads them."""
    options = (
        click.option("--priority", type=WholeNumber(), help="Higher goes first; default 0."),
        click.option(
            "--tag", multiple=True, metavar="TAG", help="A word by which to find and claim the job; may be repeated."
        ),
        click.option("--delay", type=Seconds("s"), help="The job can't be claimed before this time has passed."),
        click.option("--meta", type=Content(), metavar="JSON", help="A JSON object for programs, given like CONTENT."),
        _UNIQUE,
        click.option(
            "--group",
            metavar="GROUP",
            shell_complete=complete_groups,
            help="The job's group; a queue may have limits and an order for groups.",
        ),
        click.option("--max-attempts", type=WholeFrom(1), help="The most attempts; by default the queue's, or 1."),
        click.option(
            "--retry-delay",
            type=Seconds("s"),
            help="With --max-attempts: the time before the second attempt, then doubled; by default the queue's, or 0.",
        ),
        click.option(
            "--timeout", type=Seconds("s"), help="How long the job may be in progress without an update; 0 is for ever."
        ),
        click.option("--keep", type=Seconds("m"), help="How long the finished job is kept."),
    )
    return with_options(function, options)


def dependency_options(function: Any) -> Any:
    """Add the options about what a new job waits for; `named_options` reads them."""
    options = (
        click.option(
            "--after",
            "--depends-on",
            "after",
            multiple=True,
            type=Awaited(),
            help="A job to wait for: its uid or, in another queue, QUEUE:UID; may be repeated.",
        ),
        click.option(
            "--on-dependency-failure",
            type=click.Choice(get_args(OnDependencyFailure)),
            help="If a job of --after fails: fail too (default), run once all are finished, or wait for its retry.",
        ),
    )
    return with_options(function, options)


def named_options(options: Mapping[str, Any]) -> Any:
    """The options that were given, by the client's names; `options` may lack those that the command does not have."""
    keep = options["keep"]
    named = {
        "priority": options["priority"],
        "tags": list(options["tag"]) or None,
        "delay_seconds": options["delay"],
        "meta": options["meta"],
        "unique_key": options["unique_key"],
        "group": options["group"],
        "max_attempts": options["max_attempts"],
        "retry_delay_seconds": options["retry_delay"],
        "timeout_seconds": options["timeout"],
        "keep_minutes": None if keep is None else keep / 60,
        "depends_on": list(options.get("after", ())) or None,
        **{name: options.get(name) for name in ("on_dependency_failure", "batch", "not_before", "uid")},
    }
    return {name: value for name, value in named.items() if value is not None}


def note_retry_delay(output: Output, options: Mapping[str, Any], max_attempts: int | None = None) -> None:
    """
    Print a note if `options`, by the client's names, have a retry delay without effect, as only one attempt is allowed.

    `max_attempts` applies if `options` have none; None if it is unknown.
    """
    if not options.get("retry_delay_seconds") or options.get("max_attempts", max_attempts or 1) > 1:
        return
    unless = " unless the queue's default is more" if max_attempts is None and "max_attempts" not in options else ""
    output.note(f"With one attempt, --retry-delay has no effect{unless}; --max-attempts 3 allows two retries.")
