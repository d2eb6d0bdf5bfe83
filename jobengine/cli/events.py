"""`jobengine events`: follows the changes of a queue's jobs."""

from collections.abc import Iterator
from itertools import islice

import click

from jobengine.client import EventsLost, JobEvent, Unavailable

from .columns import EVENTS
from .command import command
from .parameters import QUEUE, WholeFrom
from .session import Session, current
from .terminal_text import json_text, plain


@command("events", "jobengine events mail --count 1\njobengine events mail --json")
@QUEUE
@click.option("--after", metavar="ID", help="Start after the event with this id, which --json shows.")
@click.option("--count", type=WholeFrom(1), help="Stop after this many events.")
def events(queue_name: str, after: str | None, count: int | None) -> None:
    """
    Follow the changes of state of a queue's jobs, until Ctrl-C.

    If the server goes away, the command waits for it. A message says if events may be missing.
    """
    session = current()
    for event in islice(_followed(session, queue_name, after), count):
        click.echo(json_text({"id": event.id, **event.raw}) if session.json else _line(event))


def _followed(session: Session, queue_name: str, after: str | None) -> Iterator[JobEvent]:
    """
    Yield events without end. Raises JobEngineError if the server does not answer the first request,
    or refuses one.
    """
    queue = session.queue(queue_name)
    queue.stats()
    last, away, began = after, False, after is None
    while True:
        try:
            for event in queue.events(after=last):
                last, away, began = event.id, False, True
                yield event
            return  # the client was closed
        except EventsLost:
            if not began:
                raise
            session.output.note("Events are missing: the server no longer has them. Read the jobs again.")
            last = None
        except Unavailable as error:
            if not away:
                session.output.note(f"{plain(error.detail)} Retrying until it answers; events may be missed.")
            away = began = True


def _line(event: JobEvent) -> str:
    """One line for an event, with columns of fixed width, because each line is printed as it comes."""
    return "  ".join(plain(column.of(event)).ljust(column.least) for column in EVENTS).rstrip()
