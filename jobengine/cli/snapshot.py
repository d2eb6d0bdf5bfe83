"""What `jobengine top` shows: queues and workers."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from jobengine.client import Job, QueueStats

__all__ = ["Holder", "Snapshot", "workers_of"]


class Holder(NamedTuple):
    """A worker that holds jobs of a queue."""

    name: str
    queue: str
    jobs: int
    #: The oldest of the last updates of its jobs.
    silent_since: datetime

    @property
    def raw(self) -> dict[str, Any]:
        """As JSON."""
        return {"worker": self.name, "jobs": self.jobs, "silent_since": self.silent_since.timestamp()}


class Snapshot(NamedTuple):
    """The queues and workers at one time."""

    queues: Sequence[QueueStats]
    workers: Sequence[Holder]


def workers_of(queue: str, jobs: Iterable[Job]) -> list[Holder]:
    """The workers of these jobs, those with the most jobs first."""
    held: dict[str, list[Job]] = {}
    for job in jobs:
        held.setdefault(job.worker or "", []).append(job)
    holders = [Holder(name, queue, len(some), min(job.last_updated for job in some)) for name, some in held.items()]
    return sorted(holders, key=lambda holder: (-holder.jobs, holder.name))
