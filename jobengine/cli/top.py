"""`jobengine top`: shows all queues, and refreshes."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import click

from jobengine.client import Unavailable

from .columns import TOP, WAITING, WORKERS
from .command import command
from .exit_codes import Exit, Failed
from .parameters import Seconds
from .session import Session, current
from .suggestions import complete_queues
from .top_data import SORTS, Snapshot, snapshot

#: Seconds for which a call is retried: almost 0, because the next refresh is soon.
_RETRY_FOR: Final = 0.001
_ORDERS: Final = tuple(SORTS)


@command("top", "jobengine top mail --once\njobengine top mail thumbnails --interval 5s\njobengine top --once --json")
@click.argument("queue_names", metavar="[QUEUE]...", nargs=-1, shell_complete=complete_queues)
@click.option("--interval", type=Seconds(), default=2.0, help="The time between refreshes; default 2 seconds.")
@click.option("--sort", type=click.Choice(_ORDERS), default=_ORDERS[0], show_default=True, help="What comes first.")
@click.option("--once", is_flag=True, help="Print once and stop, which is the default without a terminal.")
def top(queue_names: tuple[str, ...], interval: float, sort: str, once: bool) -> None:
    """
    Show the length of queues, how fast jobs come and go, how long they wait, and the workers.

    Keys: q quits, s switches to the next order of --sort, the space bar refreshes.

    Without QUEUE it shows all queues: this needs the server's admin key, or a profile with a key for each queue.
    """
    session = current()
    session.retry_for = _RETRY_FOR
    names = queue_names or tuple(session.settings.keys)
    if not names and session.settings.admin_key is None:
        raise Failed("Name the queues, or set JOBENGINE_ADMIN_KEY to see all of them.", Exit.USAGE)
    for name in names:
        session.queue(name)  # raises Failed, with advice, if there is no key
    if once or session.json or not sys.stdout.isatty():
        _print(session, snapshot(session.engine, names, sort))
    else:
        _live(_Screen(session, names, sort), interval)


def _print(session: Session, seen: Snapshot) -> None:
    output = session.output
    if session.json:
        workers = (*seen.workers, *seen.waiting)
        for queue in seen.queues:
            output.json(
                {**queue.raw, "workers": [one.raw for one in workers if queue.name in (one.queue, *one.queues)]}
            )
        return
    output.list(TOP, seen.queues)
    for columns, holders in ((WORKERS, seen.workers), (WAITING, seen.waiting)):
        if holders:
            click.echo()
            output.list(columns, holders)


class _Screen:
    """The screen's contents, and the settings that keys change."""

    def __init__(self, session: Session, names: Sequence[str], sort: str) -> None:
        self._session = session
        self._names = names
        self._seen = Snapshot((), ())
        self._trouble = ""
        #: The present order of queues.
        self.sort = sort

    def drawn(self, width: int) -> Any:
        """The whole screen, from fresh data."""
        from .top_screen import screen  # only for a terminal

        engine = self._session.engine
        try:
            self._seen, self._trouble = snapshot(engine, self._names, self.sort), ""
        except Unavailable as error:
            self._trouble = error.detail
        return screen(self._seen, self._trouble, self._session.settings.address.url, time.time(), width, sort=self.sort)

    def take(self, key: str) -> bool:
        """React to a key; returns whether to continue."""
        if key in ("s", "S"):
            self.sort = _ORDERS[(_ORDERS.index(self.sort) + 1) % len(_ORDERS)]
        return key not in ("q", "Q")


def _live(screen: _Screen, interval: float) -> None:
    from rich.console import Console  # only for a terminal
    from rich.live import Live

    from .keyboard import keyboard

    console = Console(highlight=False)
    with keyboard() as next_key, Live(console=console, screen=True, auto_refresh=False) as live:
        for _ in _turns(screen, interval, next_key):
            live.update(screen.drawn(console.width), refresh=True)


def _turns(screen: _Screen, interval: float, next_key: Callable[[float], str]) -> Iterator[None]:
    """Yield when a refresh is due: after the interval or a key. Ends at the key q."""
    while True:
        yield
        if not screen.take(next_key(interval)):
            return
