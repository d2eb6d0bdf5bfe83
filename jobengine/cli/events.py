"""`jobengine events`: what happens in a queue, as it happens."""

from itertools import islice

import click

from jobengine.client import JobEvent

from .columns import EVENTS
from .command import command
from .output import json_text
from .parameters import QUEUE
from .session import current

__all__ = ["events"]


@command("events", "jobengine events mail --count 1\njobengine events mail --json")
@QUEUE
@click.option("--after", metavar="ID", help="Begin after the event with this id, as --json shows it.")
@click.option("--count", type=click.IntRange(1), help="End after so many events.")
def events(queue_name: str, after: str | None, count: int | None) -> None:
    """Follow the changes of state of a queue's jobs, until Ctrl-C."""
    session = current()
    for event in islice(session.queue(queue_name).events(after=after), count):
        click.echo(json_text({"id": event.id, **event.raw}) if session.json else _line(event))


def _line(event: JobEvent) -> str:
    """Each is printed as it comes, so in columns of a width that is known before."""
    return "  ".join(column.of(event).ljust(column.least) for column in EVENTS).rstrip()
