"""Jobs and batches that others wait for, as far as a key may read them, and the graph that they form."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Final

from .batches import Batch, BatchCounts, end_of_batch
from .dependencies import MET, NOT_YET, UNMET, WAITED_FOR, Awaited, batch_in
from .model import Job, State
from .values import Value

#: The most nodes of a graph.
MOST_NODES: Final = 200


class LinkState(StrEnum):
    """
    The state of a job or batch that another waits for; the values are those of the API.

    A job has its own state if the key may read it. Batches, and jobs that the key may not read, have only an end.
    """

    QUEUED = "queued"
    INPROGRESS = "inprogress"
    COMPLETE = "complete"
    FAILED = "failed"
    #: Queued or in progress; of a batch: open, or with jobs that are queued or in progress.
    UNFINISHED = "unfinished"
    #: It does not exist any more.
    REMOVED = "removed"
    #: The key may not read it, and no job that it may read waits for it.
    UNKNOWN = "unknown"


#: The state for each character of Standing.ended.
STATE_OF_MARK: Final = {
    NOT_YET: LinkState.UNFINISHED,
    MET: LinkState.COMPLETE,
    UNMET: LinkState.FAILED,
    WAITED_FOR: LinkState.FAILED,
}


class Link(Value, frozen=True, kw_only=True):
    """A job or a batch that others wait for, or that waits for others."""

    queue: str
    #: The uid of a job, or the key of a batch (see batch_key).
    key: str
    #: The job; None if it was removed, or the key may not read it.
    job: Job | None = None
    #: The batch and its jobs by state, in the same way.
    batch: Batch | None = None
    counts: BatchCounts | None = None
    #: Its state, if it is not one that can be read.
    without: LinkState = LinkState.UNKNOWN

    @property
    def batch_name(self) -> str | None:
        """The name of the batch, if it is one."""
        return batch_in(self.key)

    @property
    def state(self) -> LinkState:
        """Its state as far as it is known."""
        if self.job is not None:
            return LinkState(self.job.state)
        return self.without if self.batch is None else STATE_OF_MARK[end_of_batch(self.batch)]

    @property
    def is_finished(self) -> bool:
        """Whether it has ended, well or not."""
        return self.state in _ENDED


class Graph(Value, frozen=True, kw_only=True):
    """The jobs and batches around a job."""

    #: The nearest first; the job itself is the first.
    nodes: Sequence[Link]
    #: The indexes of two nodes: one that is waited for, and one that waits for it, or is the batch that it belongs to.
    edges: Sequence[tuple[int, int]]
    #: Whether there are nodes beyond MOST_NODES.
    left_out: bool


_ENDED: Final = frozenset({LinkState.COMPLETE, LinkState.FAILED, LinkState.REMOVED})


def awaited_links(job: Job) -> Sequence[tuple[Awaited, str | None]]:
    """What a job depends on, each with its character of Standing.ended; None if the job's standing doesn't need it."""
    dependencies, ended = job.spec.rare.dependencies, job.standing.ended
    if dependencies is None:
        return ()
    # A job that was finished by hand while it waited keeps the characters of that time.
    is_known = job.waits or (job.state is State.FAILED and UNMET in ended)
    marks: Sequence[str | None] = ended if is_known else [None] * len(dependencies.on)
    return list(zip(dependencies.on, marks, strict=True))
