"""What `jobengine top` shows: queues and workers."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from jobengine.client import QueueStats, WorkerJobs

__all__ = ["Holder", "Snapshot"]


class Holder(NamedTuple):
    """A worker that holds jobs of a queue."""

    queue: str
    held: WorkerJobs

    @property
    def raw(self) -> Any:
        """As JSON."""
        return self.held.raw


class Snapshot(NamedTuple):
    """The queues and workers at one time."""

    queues: Sequence[QueueStats]
    workers: Sequence[Holder]
