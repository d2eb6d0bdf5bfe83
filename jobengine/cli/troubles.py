"""The troubles of a queue, from its stats."""

import shlex
from collections.abc import Iterable
from typing import Final

from jobengine.client import Group, QueueStats

from .terminal_text import duration, moment

#: The seconds that a job must have waited before a lack of workers is reported: a worker may be restarting.
_PATIENCE: Final = 60


def lacks_workers(queue: QueueStats) -> bool:
    """
    Whether jobs that can be claimed have waited for a minute while no worker holds a job of the queue or waits for one;
    false if unknown.
    """
    waited = queue.oldest_ready if queue.ready else None
    idle = queue.raw.get("workers_waiting") == 0 and not queue.counts.inprogress and not queue.paused
    return idle and waited is not None and waited.total_seconds() >= _PATIENCE


def dead_letter_name(queue: QueueStats) -> str:
    """The queue that the queue's failed jobs move to; empty if they stay."""
    return "" if queue.dead_letter is None or queue.dead_letter.missing else queue.dead_letter.queue_name


def dead_letter_note(queue: QueueStats) -> str:
    """A sentence on where the queue's failed jobs move to; empty if they stay."""
    name = dead_letter_name(queue)
    return name and (
        f"Failed jobs of {queue.name} move to {name}: `jobengine errors {shlex.quote(name)}` lists them. "
        "Of one that stays, `jobengine explain` says why."
    )


def troubles(queue: QueueStats) -> list[str]:
    """The troubles of the queue, the worst first."""
    found = []
    if queue.paused:
        found.append(f"paused, {queue.ready:,} ready" if queue.ready else "paused")
    elif queue.held_until is not None:
        found.append(f"held until {moment(queue.held_until)}")
    elif lacks_workers(queue):
        found.append(f"{queue.ready:,} ready, the oldest added {duration(queue.oldest_ready)} ago, no worker")
    if queue.dead_letter is not None and queue.dead_letter.missing:
        found.append(f"its dead-letter queue {queue.dead_letter.queue_name} is missing or was recreated: set it again")
    if retrying := queue.raw.get("retrying"):
        found.append(f"{retrying:,} retrying after a failure")
    if failed := queue.last_hour.failed:
        found.append(f"{failed:,} failed in the last hour")
    if queue.max_jobs and queue.size >= queue.max_jobs:
        found.append(f"full, with {queue.size:,} jobs")
    return found


def paused_groups(groups: Iterable[Group]) -> list[str]:
    """The trouble that some of these groups are paused, though they have queued jobs; empty if none is."""
    paused = [group for group in groups if group.own.paused and group.queued]
    if not paused:
        return []
    queued = sum(group.queued for group in paused)
    return [f"{f'group {paused[0].name!r}' if len(paused) == 1 else f'{len(paused)} groups'} paused, {queued:,} queued"]
