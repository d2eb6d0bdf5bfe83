"""The data of `jobengine top`: queues and workers."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from jobengine.client import JobEngine, QueueStats, WorkerJobs


class Holder(NamedTuple):
    """A worker that holds jobs of a queue, or a claim that waits for jobs of one or more queues."""

    queue: str
    held: WorkerJobs

    @property
    def raw(self) -> Any:
        """The worker or the claim as JSON data."""
        return self.held.raw

    @property
    def waits(self) -> bool:
        """Whether this is a claim that waits for jobs."""
        return bool(self.raw.get("waiting"))

    @property
    def queues(self) -> Sequence[str]:
        """The queues to claim from."""
        return self.raw.get("queues") or (self.queue,)

    def text(self, name: str) -> str:
        """A field that identifies the worker; empty if the worker did not send it."""
        return str(self.raw.get(name) or "")

    def time(self, name: str) -> datetime | None:
        """A field that is a time, or None."""
        seconds = self.raw.get(name)
        return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


class Snapshot(NamedTuple):
    """The queues and workers at one time."""

    queues: Sequence[QueueStats]
    #: Workers that hold jobs.
    workers: Sequence[Holder]
    #: Claims that wait for jobs.
    waiting: Sequence[Holder] = ()


def _unfinished(queue: QueueStats) -> int:
    return queue.counts.queued + queue.counts.inprogress


#: The possible orders of queues; the queue with the largest value comes first.
SORTS: Final[dict[str, Callable[[QueueStats], float]]] = {
    "unfinished": _unfinished,
    "ready": lambda queue: queue.ready,
    "retrying": lambda queue: queue.raw.get("retrying", 0),
    "failed": lambda queue: queue.counts.failed,
    "oldest": lambda queue: queue.oldest_ready.total_seconds() if queue.oldest_ready else 0,
    "added": lambda queue: queue.last_minute.added,
    "name": lambda queue: 0,
}


def snapshot(engine: JobEngine, names: Sequence[str], sort: str) -> Snapshot:
    """Read the queues of these names, or all queues, and the workers and waiting claims of each."""
    queues = [engine.queue(name).stats() for name in names] if names else engine.queues()
    queues.sort(key=lambda queue: (-SORTS[sort](queue), queue.name))
    manned = [queue.name for queue in queues if queue.counts.inprogress or queue.raw.get("workers_waiting")]
    found = [one for name in manned for one in holders(engine, name)]
    # Each queue lists the waiting claims that name it, so a claim from several queues is found several times.
    waiting = {repr(one.raw): one for one in found if one.waits}
    return Snapshot(queues, [one for one in found if not one.waits], list(waiting.values()))


def holders(engine: JobEngine, queue: str) -> list[Holder]:
    """The workers of a queue."""
    return [Holder(queue, held) for held in engine.queue(queue).workers()]
