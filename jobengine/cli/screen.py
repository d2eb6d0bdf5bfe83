"""Draws the screen of `jobengine top`."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from rich.console import Group
from rich.text import Text

from .columns import TOP, WORKERS, Column, duration
from .layout import table_of
from .snapshot import Holder, Snapshot
from .terminal_text import plain

__all__ = ["screen"]


def screen(seen: Snapshot, trouble: str, url: str, now: float, width: int) -> Any:
    """The whole screen."""
    time = datetime.fromtimestamp(now, UTC).astimezone()
    total = sum(queue.counts.queued for queue in seen.queues)
    running = sum(queue.counts.inprogress for queue in seen.queues)
    title = f"JobEngine at {url}  {time:%H:%M:%S}  queues {len(seen.queues)}  queued {total:,}  in progress {running:,}"
    parts: list[Any] = [Text(title, style="bold")]
    parts.append(Text(plain(trouble), style="red"))
    parts.append(
        table_of(TOP, seen.queues, width)
        if seen.queues
        else Text("No queue has been read yet." if trouble else "No queues.")
    )
    if seen.workers:
        parts += [Text(""), table_of(_workers_at(time), seen.workers, width)]
    return Group(*parts)


def _workers_at(time: datetime) -> Sequence[Column[Holder]]:
    """The columns of workers, with times relative to `time`."""

    def silence(holder: Holder) -> str:
        """How long a worker has been silent."""
        return duration(max(time - holder.held.last_updated, timedelta()))

    return (*WORKERS[:-1], Column("silent", silence, number=True))
