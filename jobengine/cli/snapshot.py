"""What `jobengine top` shows: queues in numbers, and who holds jobs."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from jobengine.client import Job, QueueStats

from .session import Session

__all__ = ["Holder", "Snapshot", "look", "workers_of"]

#: Of a queue with more jobs in progress, only so many are looked at.
_LOOKED_AT: Final = 500


class Holder(NamedTuple):
    """A worker that holds jobs of a queue."""

    name: str
    queue: str
    jobs: int
    #: When the one of its jobs was last updated that has been silent longest.
    silent_since: datetime

    @property
    def raw(self) -> dict[str, Any]:
        """As JSON."""
        return {"worker": self.name, "jobs": self.jobs, "silent_since": self.silent_since.timestamp()}


class Snapshot(NamedTuple):
    """What was seen at one time."""

    queues: Sequence[QueueStats]
    workers: Sequence[Holder]


def look(session: Session, names: Sequence[str]) -> Snapshot:
    """The queues of these names, all if there are none; those with most jobs to be done first."""
    engine = session.engine
    queues = [session.queue(name).stats() for name in names] if names else engine.queues()
    queues.sort(key=lambda queue: (-queue.counts.queued - queue.counts.inprogress, queue.name))
    holders: list[Holder] = []
    for queue in queues:
        if queue.counts.inprogress:
            holders += workers_of(queue.name, session.queue(queue.name).jobs(state="inprogress", limit=_LOOKED_AT))
    return Snapshot(queues, holders)


def workers_of(queue: str, jobs: Iterable[Job]) -> list[Holder]:
    """Who holds these jobs, with the most jobs first."""
    held: dict[str, list[Job]] = {}
    for job in jobs:
        held.setdefault(job.worker or "", []).append(job)
    holders = [Holder(name, queue, len(some), min(job.last_updated for job in some)) for name, some in held.items()]
    return sorted(holders, key=lambda holder: (-holder.jobs, holder.name))
