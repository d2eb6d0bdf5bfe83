"""`jobengine top`: shows all queues, and refreshes."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import click

from jobengine.client import Unavailable

from .columns import TOP, WORKERS
from .command import command
from .failures import Exit, Failed
from .parameters import Seconds
from .session import Session, current
from .snapshot import Holder, Snapshot

__all__ = ["top"]

#: Seconds for which a call is retried: next to none, because the next refresh is soon.
_RETRY_FOR: Final = 0.001


@command("top", "jobengine top mail --once\njobengine top mail thumbnails --interval 5s\njobengine top --once --json")
@click.argument("queue_names", metavar="[QUEUE]...", nargs=-1)
@click.option("--interval", type=Seconds(), default=2.0, help="The time between refreshes; default 2 seconds.")
@click.option("--once", is_flag=True, help="Print once and stop, which is the default without a terminal.")
def top(queue_names: tuple[str, ...], interval: float, once: bool) -> None:
    """
    Show the length of queues, how fast jobs come and go, how long they wait, and the workers. Ctrl-C stops it.

    Without QUEUE it shows all queues: this needs the server's admin key, or a profile with a key for each queue.
    """
    session = current()
    session.retry_for = _RETRY_FOR
    names = queue_names or tuple(session.engine.settings.keys)
    if not names and session.engine.settings.admin_key is None:
        raise Failed("Name the queues, or set JOBENGINE_ADMIN_KEY to see all of them.", Exit.USAGE)
    if once or session.json or not sys.stdout.isatty():
        _print(session, _look(session, names))
    else:
        _live(_looks(session, names), interval, session.engine.settings.address.url)


def _look(session: Session, names: Sequence[str]) -> Snapshot:
    """Read the queues of these names, or all queues; those with the most unfinished jobs first."""
    engine = session.engine
    queues = [session.queue(name).stats() for name in names] if names else engine.queues()
    queues.sort(key=lambda queue: (-queue.counts.queued - queue.counts.inprogress, queue.name))
    busy = [queue.name for queue in queues if queue.counts.inprogress]
    return Snapshot(queues, [Holder(name, held) for name in busy for held in session.queue(name).workers()])


def _print(session: Session, seen: Snapshot) -> None:
    output = session.output
    if session.json:
        for queue in seen.queues:
            output.json({**queue.raw, "workers": [worker.raw for worker in seen.workers if worker.queue == queue.name]})
        return
    output.list(TOP, seen.queues)
    if seen.workers:
        click.echo()
        output.list(WORKERS, seen.workers)


def _looks(session: Session, names: Sequence[str]) -> Iterator[tuple[Snapshot, str]]:
    """Yield a snapshot at each refresh, with an error text if the server did not answer."""
    seen = Snapshot((), ())
    while True:
        try:
            seen, trouble = _look(session, names), ""
        except Unavailable as error:
            trouble = error.detail
        yield seen, trouble


def _live(
    looks: Iterator[tuple[Snapshot, str]], interval: float, url: str, sleep: Callable[[float], None] = time.sleep
) -> None:
    from rich.console import Console  # only for a terminal
    from rich.live import Live

    from .screen import screen

    console = Console(highlight=False)
    with Live(console=console, screen=True, auto_refresh=False) as live:
        for seen, trouble in looks:
            live.update(screen(seen, trouble, url, time.time(), console.width), refresh=True)
            sleep(interval)
