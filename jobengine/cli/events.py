"""`jobengine events`: follows the changes of a queue's jobs."""

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
@click.option("--after", metavar="ID", help="Start after the event with this id, which --json shows.")
@click.option("--count", type=click.IntRange(1), help="Stop after this many events.")
def events(queue_name: str, after: str | None, count: int | None) -> None:
    """Follow the changes of state of a queue's jobs, until Ctrl-C."""
    session = current()
    for event in islice(session.queue(queue_name).events(after=after), count):
        click.echo(json_text({"id": event.id, **event.raw}) if session.json else _line(event))


def _line(event: JobEvent) -> str:
    """One line for an event; the columns are of fixed width, because each line is printed as it comes."""
    return "  ".join(column.of(event).ljust(column.least) for column in EVENTS).rstrip()
