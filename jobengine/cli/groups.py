"""`jobengine group`: shows the groups of a queue, and sets, pauses and holds them."""

import time
from functools import partial
from typing import Any, Final, get_args

import click

from jobengine.client import Group, GroupSort

from .columns import GROUPS
from .command import Command, command, group
from .parameters import GROUP, LIMIT, QUEUE, RATE, WholeFrom, given_limits, hold_end, hold_options, list_options
from .session import current
from .terminal_text import moment

_ORDERS: Final = get_args(GroupSort)


@group("group")
def groups() -> None:
    """Show, set, pause and hold the groups of a queue."""


@command(
    "list",
    "jobengine group list mail\njobengine group list mail --sort oldest --limit 10\njobengine group list mail --json",
)
@QUEUE
@click.option("--sort", type=click.Choice(_ORDERS), default=_ORDERS[0], show_default=True, help="What comes first.")
@list_options("groups")
def list_groups(queue_name: str, sort: GroupSort, limit: int, every: bool) -> None:
    """
    List the groups of a queue that have jobs, settings of their own or a hold.

    First come the groups with the most queued jobs, the most jobs in progress, or the oldest ready job. The limit, rate
    and weight are the group's own; an empty limit or rate means that the queue's applies.
    """
    queue = current().queue(queue_name)
    none = f"No job of {queue_name!r} is in a group: `jobengine add --group` adds one."
    read = partial(queue.groups, sort=sort)
    current().output.first(GROUPS, read, None if every else limit, none)


@command("show", "jobengine group show mail customer-7")
@QUEUE
@GROUP
def show(queue_name: str, group_name: str) -> None:
    """Show a group: how many jobs it has, what holds it, and its own settings."""
    session = current()
    session.output.record(session.queue(queue_name).group(group_name).raw)


@command(
    "set",
    "jobengine group set mail customer-7 --limit 5 --rate 10/60\n"
    "jobengine group set mail customer-7 --weight 3\n"
    "jobengine group set mail customer-7 --limit none",
)
@QUEUE
@GROUP
@click.option(
    "--limit", type=LIMIT, metavar="N", help="The most jobs of the group in progress, instead of the queue's."
)
@click.option("--rate", type=RATE, metavar="COUNT/TIME", help="The most claims in TIME, instead of the queue's.")
@click.option("--weight", type=WholeFrom(1), help="The group's share in fair order; default 1.")
def set_group(queue_name: str, group_name: str, weight: int | None, **limits: Any) -> None:
    """
    Give a group settings of its own; others stay unchanged.

    With `none`, the queue's limit or rate for each group applies again; see also `jobengine group reset`.
    """
    session = current()
    changes = given_limits(limits)
    if weight is not None:
        changes["weight"] = weight
    if not changes:
        raise click.UsageError("Name a setting, such as --limit.")
    session.output.record(session.queue(queue_name).set_group(group_name, **changes).raw)


@command(
    "hold",
    "jobengine group hold mail customer-7 --for 10m\njobengine group hold mail customer-7 --until 2027-01-15T08:00Z",
)
@QUEUE
@GROUP
@hold_options
def hold(queue_name: str, group_name: str, **options: Any) -> None:
    """Hold a group for a time: none of its jobs can be claimed. Those in progress go on."""
    _change(queue_name, group_name, held_until=hold_end(options, time.time()))


@command("reset", "jobengine group reset mail customer-7")
@QUEUE
@GROUP
def reset(queue_name: str, group_name: str) -> None:
    """Remove a group's own settings and its pause: the queue's settings apply to it again. A hold stays."""
    session = current()
    session.queue(queue_name).reset_group(group_name)
    session.output.note(f"The group {group_name!r} of {queue_name!r} has the settings of the queue.")
    if session.json:
        session.output.json({"group": group_name})


def _change(queue_name: str, group_name: str, **changes: Any) -> None:
    """Change whether jobs of the group can be claimed, and report it."""
    session = current()
    changed = session.queue(queue_name).set_group(group_name, **changes)
    if session.json:
        session.output.json(changed.raw)
    else:
        session.output.note(f"The group {group_name!r} of {queue_name!r}: {_what_holds(changed)}")


def _what_holds(changed: Group) -> str:
    reasons = []
    if changed.own.paused:
        reasons.append("while it is paused")
    if changed.held_until is not None:
        reasons.append(f"until {moment(changed.held_until)}")
    return f"no job can be claimed {' and '.join(reasons)}." if reasons else "jobs can be claimed."


def _switch(name: str, help_text: str, **changes: Any) -> Command:
    """A command that switches one setting of a group."""

    @command(name, f"jobengine group {name} mail customer-7", help=help_text)
    @QUEUE
    @GROUP
    def switch(queue_name: str, group_name: str) -> None:
        """Switch the setting, and report the new state."""
        _change(queue_name, group_name, **changes)

    return switch


for one in (
    list_groups,
    show,
    set_group,
    _switch("pause", "Refuse claims of a group's jobs; those in progress go on.", paused=True),
    _switch("resume", "Accept claims of a group's jobs again.", paused=False),
    hold,
    _switch("release", "End the hold of a group.", held_until=None),
    reset,
):
    groups.add_command(one)
