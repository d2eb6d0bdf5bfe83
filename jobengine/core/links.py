"""Jobs and batches that others wait for, as far as a key may read them, and the graph that they form."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Final

from msgspec.structs import replace

from .batches import Batch, BatchCounts, end_of_batch
from .dependants import awaited_by
from .dependencies import MET, NOT_YET, UNMET, WAITED_FOR, Awaited, batch_in
from .model import Job
from .values import Value

#: A dependency, and its character in Standing.ended; None if the character isn't kept up to date any more.
Marked = tuple[Awaited, str | None]

#: The most bytes of results in the answer to a claim.
MOST_RESULT_BYTES: Final = 1 << 20
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
    #: The job or batch does not exist any more.
    REMOVED = "removed"
    #: The key may not read the job or batch, and no job that the key may read waits for it.
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
    #: The batch and its number of jobs by state; None if the batch was removed, or the key may not read it.
    batch: Batch | None = None
    counts: BatchCounts | None = None
    #: The state, if neither the job nor the batch could be read.
    without: LinkState = LinkState.UNKNOWN

    def marked(self, mark: str | None) -> "Link":
        """The link with `without` set by the waiting job's mark for this dependency, unless `without` is REMOVED."""
        if mark is None or self.without is LinkState.REMOVED:
            return self
        return replace(self, without=STATE_OF_MARK[mark])

    @property
    def batch_name(self) -> str | None:
        """The name of the batch; None for a job."""
        return batch_in(self.key)

    @property
    def state(self) -> LinkState:
        """The state of the job or batch; `without` if neither was found."""
        if self.job is not None:
            return LinkState(self.job.state)
        return self.without if self.batch is None else STATE_OF_MARK[end_of_batch(self.batch)]


class AwaitedResults(Value, frozen=True):
    """The jobs and batches that a claimed job had to wait for; its worker gets them with the job."""

    #: The jobs with their results, but without their contents, and the batches.
    links: Sequence[Link]
    #: The number of jobs whose results are missing: all results together are too long, or the job can't be read.
    left_out: int


class Graph(Value, frozen=True, kw_only=True):
    """The jobs and batches around a job."""

    #: The job itself, then the others, nearest first.
    nodes: Sequence[Link]
    #: Pairs of indexes: an awaited node and a node that waits for it, or a job and its batch.
    edges: Sequence[tuple[int, int]]
    #: Whether there are more nodes than MOST_NODES.
    left_out: bool


#: The marks of dependencies for which a job waits.
_HOLDS_WAITING: Final = frozenset({NOT_YET, WAITED_FOR})
#: The marks of dependencies because of which a job has failed.
_HOLDS_FAILED: Final = frozenset({UNMET, WAITED_FOR})


def awaited_links(job: Job) -> Sequence[Marked]:
    """The dependencies of a job, each with its mark."""
    dependencies, ended = job.spec.rare.dependencies, job.standing.ended
    if dependencies is None:
        return ()
    # A job that was finished by hand while it waited still has the characters from before.
    marks: Sequence[str | None] = ended if awaited_by(job) else [None] * len(dependencies.on)
    return list(zip(dependencies.on, marks, strict=True))


def held_by(job: Job) -> Sequence[Marked]:
    """The dependencies for which a job waits, or because of which it has failed."""
    held = _HOLDS_WAITING if job.waits else _HOLDS_FAILED
    return [(awaited, mark) for awaited, mark in awaited_links(job) if mark in held]
