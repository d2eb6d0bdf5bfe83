"""The options of `jobengine add` about its unique key."""

from collections.abc import Mapping
from typing import Any, get_args

import click

from jobengine.client.unique_keys import Until

from .parameters import Seconds, with_options


def unique_options(function: Any) -> Any:
    """Add the options about the unique key; `with_rule` reads them."""
    options = (
        click.option(
            "--until",
            type=click.Choice(get_args(Until)),
            help="With --unique: how long the job holds the key; finished is the default.",
        ),
        click.option(
            "--unique-for", type=Seconds("s"), help="With --unique: how long the finished job still holds the key."
        ),
        click.option("--replace", is_flag=True, help="With --unique: replace what a queued job with the key does."),
        click.option(
            "--if-running",
            type=click.Choice(["keep", "add"]),
            help="With --unique: if only a job in progress has the key, keep it (default) or add a second job.",
        ),
        click.option(
            "--debounce",
            type=Seconds("s"),
            help="With --unique: the time from the latest add with the key until the job can be claimed; each add "
            "replaces the queued job.",
        ),
        click.option(
            "--debounce-at-most",
            type=Seconds("s"),
            help="With --debounce: the time from the first add after which further adds no longer delay the job.",
        ),
    )
    return with_options(function, options)


def with_rule(named: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a new job, as the client names them, with those of `unique_options`."""
    rule = {
        "until": options.get("until"),
        "seconds": options.get("unique_for"),
        "if_queued": "replace" if options.get("replace") else None,
        "if_running": options.get("if_running"),
    }
    rule = {name: value for name, value in rule.items() if value is not None}
    debounce, at_most = options.get("debounce"), options.get("debounce_at_most")
    if at_most is not None and debounce is None:
        raise click.UsageError("--debounce-at-most needs --debounce.")
    if (rule or debounce is not None) and "unique_key" not in named:
        raise click.UsageError(
            "Give the key: --until, --unique-for, --replace, --if-running and --debounce need --unique."
        )
    made = dict(named)
    if rule:
        made["unique"] = {"key": made.pop("unique_key"), **rule}
    if debounce is not None:
        made["debounce"] = debounce if at_most is None else {"seconds": debounce, "at_most_seconds": at_most}
    return made
