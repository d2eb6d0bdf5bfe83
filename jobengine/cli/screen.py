"""What `jobengine top` draws."""

from datetime import UTC, datetime
from typing import Any

from rich.console import Group
from rich.text import Text

from .columns import TOP, WORKERS, plain
from .layout import table_of
from .snapshot import Snapshot

__all__ = ["screen"]


def screen(seen: Snapshot, trouble: str, url: str, now: float, width: int) -> Any:
    """The whole screen."""
    time = datetime.fromtimestamp(now, UTC).astimezone().strftime("%H:%M:%S")
    total = sum(queue.counts.queued for queue in seen.queues)
    running = sum(queue.counts.inprogress for queue in seen.queues)
    title = f"JobEngine at {url}  {time}  queues {len(seen.queues)}  queued {total:,}  in progress {running:,}"
    parts: list[Any] = [Text(title, style="bold", no_wrap=True, overflow="ellipsis")]
    parts.append(Text(plain(trouble), style="red"))
    parts.append(
        table_of(TOP, seen.queues, width)
        if seen.queues
        else Text("No queue was seen yet." if trouble else "No queues.")
    )
    if seen.workers:
        parts += [Text(""), table_of(WORKERS, seen.workers, width)]
    return Group(*parts)
