"""`jobengine workers`: the workers of a queue."""

import click

from .columns import WAITING, WORKERS
from .command import command
from .parameters import QUEUE
from .session import current
from .top_data import Holder


@command("workers", "jobengine workers mail\njobengine workers mail --json")
@QUEUE
def workers(queue_name: str) -> None:
    """List the workers of a queue: those that hold its jobs, and those that are idle and wait for jobs."""
    session = current()
    found = [Holder(queue_name, held) for held in session.queue(queue_name).workers()]
    busy, idle = ([one for one in found if one.waits is waits] for waits in (False, True))
    if session.json:
        session.output.list(WORKERS, found)
        return
    for number, (columns, some) in enumerate(((WORKERS, busy), (WAITING, idle))):
        if number and busy and idle:
            click.echo()
        if some:
            session.output.list(columns, some)
    if not found:
        session.output.note(f"No worker holds a job of {queue_name!r} or waits for one.")
