"""Draws the screen of `jobengine top`."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from rich.console import Group
from rich.text import Text

from .columns import TOP, WAITING, WORKERS, Column
from .layout import table_of
from .terminal_text import duration, plain
from .top_data import Holder, Snapshot


def screen(seen: Snapshot, trouble: str, url: str, now: float, width: int, sort: str = "unfinished") -> Any:
    """The whole screen."""
    time = datetime.fromtimestamp(now, UTC).astimezone()
    total = sum(queue.counts.queued for queue in seen.queues)
    running = sum(queue.counts.inprogress for queue in seen.queues)
    title = f"JobEngine at {url}  {time:%H:%M:%S}  queues {len(seen.queues)}  queued {total:,}  in progress {running:,}"
    parts: list[Any] = [Text(title, style="bold")]
    parts.append(Text(plain(trouble), style="red") if trouble else Text(f"q quit  s sort: {sort}", style="dim"))
    parts.append(
        table_of(TOP, seen.queues, width)
        if seen.queues
        else Text("No queue has been read yet." if trouble else "No queues.")
    )
    for columns, heading, holders in ((WORKERS, "silent", seen.workers), (WAITING, "idle", seen.waiting)):
        if holders:
            parts += [Text(""), table_of(_spans_at(time, columns, heading), holders, width)]
    return Group(*parts)


def _spans_at(time: datetime, columns: Sequence[Column[Holder]], heading: str) -> Sequence[Column[Holder]]:
    """The columns of workers; the time in the column "`heading` since" is shown as an age."""

    def span(holder: Holder) -> str:
        """How long a worker has been silent or idle."""
        since = holder.time("since" if holder.waits else "last_updated")
        return "" if since is None else duration(max(time - since, timedelta()))

    ages = Column(heading, span, number=True)
    return [ages if column.heading == f"{heading} since" else column for column in columns]
