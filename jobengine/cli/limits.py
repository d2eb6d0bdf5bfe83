"""The options of `jobengine queue configure` about limits, groups, ageing and dead letters."""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import click

from jobengine.client import Limits, Queue

from .parameters import LIMIT, RATE, OrNone, Seconds, given_limits, or_none, with_options
from .suggestions import complete_queues

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS: Final = (
    click.option("--limit", type=LIMIT, metavar="N", help="The most jobs in progress."),
    click.option("--rate", type=RATE, metavar="COUNT/TIME", help="The most claims in TIME: 10/60, 100/s, 10/1m."),
    click.option("--group-limit", type=LIMIT, metavar="N", help="The most jobs of each group in progress."),
    click.option("--group-rate", type=RATE, metavar="COUNT/TIME", help="The most claims of each group in TIME."),
    click.option(
        "--group-order",
        type=click.Choice(["arrival", "fair", "strict"]),
        help="Which job is next: the first; one of the group with the fewest in progress; or only each group's first.",
    ),
    click.option(
        "--group-on-failure",
        type=click.Choice(["next", "hold"]),
        help="In strict order, after a failed job: the group's next job runs, or none until the failed job is retried.",
    ),
    click.option(
        "--target-wait",
        type=OrNone(Seconds("s")),
        help="How long jobs should wait at most: `queue stats` then says how many workers are wanted.",
    ),
)


#: The option about priority ageing.
_AGEING: Final = click.option(
    "--seconds-per-priority",
    type=OrNone(Seconds("s")),
    help="Let jobs age, so that none waits for ever: the waiting time that counts as much as one step of priority.",
)


#: The options about the dead-letter queue.
_DEAD_LETTER: Final = (
    click.option(
        "--dead-letter",
        metavar="QUEUE",
        shell_complete=complete_queues,
        help="The queue for jobs that fail with no attempts left: another queue with the same key.",
    ),
    click.option(
        "--dead-letter-keep",
        type=Seconds("m"),
        help="How long the dead-letter queue keeps a job; two weeks until this is set.",
    ),
)


def limit_options(function: F) -> F:
    """Add the options."""
    return with_options(function, (*_OPTIONS, _AGEING, *_DEAD_LETTER))


def changed_limits(queue: Queue, options: Mapping[str, Any]) -> dict[str, Any]:
    """The changes of the queue for the given options; reads the present limits first if some of them stay."""
    changes: dict[str, Any] = {}
    of_queue = given_limits(options)
    of_groups = given_limits({"limit": options["group_limit"], "rate": options["group_rate"]})
    if of_queue or of_groups:
        stats = queue.stats()
        for name, old, given in (("limits", stats.limits, of_queue), ("group_limits", stats.group_limits, of_groups)):
            if given:
                changes[name] = _merged(old, given)
    for name in ("group_order", "group_on_failure"):
        if options[name] is not None:
            changes[name] = options[name]
    if options["target_wait"] is not None:
        changes["target_wait_seconds"] = or_none(options["target_wait"])
    if (seconds := options["seconds_per_priority"]) is not None:
        changes["order"] = None if or_none(seconds) is None else {"seconds_per_priority": seconds}
    return changes | _changed_dead_letter(queue, options["dead_letter"], options["dead_letter_keep"])


def _changed_dead_letter(queue: Queue, name: str | None, keep: float | None) -> dict[str, Any]:
    if name is None and keep is None:
        return {}
    if name is not None and or_none(name) is None:
        return {"dead_letter": None}
    if name is None:
        its = queue.stats().dead_letter
        if its is None:
            raise click.UsageError("--dead-letter-keep needs --dead-letter: the queue has no dead-letter queue.")
        name = its.queue_name
    value: dict[str, Any] = {"queue_name": name}
    return {"dead_letter": value if keep is None else {**value, "keep_minutes": int(keep // 60)}}


def _merged(old: Limits | None, given: dict[str, Any]) -> dict[str, Any] | None:
    """The present limits, changed by the given ones; None if no limit is left."""
    merged = {**({} if old is None else old.raw), **given}
    return {name: value for name, value in merged.items() if value is not None} or None
