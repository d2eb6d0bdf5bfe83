"""The server's answers about jobs that wait for other jobs and batches."""

from typing import Any

from .answers import Answer, Field


class LinkedJob(Answer):
    """A job or batch that waits or is waited for; `uid` is None for a batch."""

    __slots__ = ()
    _shown = ("queue_name", "uid", "batch", "state")

    queue_name = Field[str]("queue_name")
    #: The job's uid; None for a batch.
    uid = Field[str | None]("uid")
    #: The name of the batch; for a job, the name of its batch.
    batch = Field[str | None]("batch")
    #: A job's own state. For a batch, and for a job that the key may not read: unfinished, complete or failed; or
    #: unknown, if no job that the key may read waits for it. For a job or batch that no longer exists: removed.
    state = Field[str]("state")
    #: Whether the job waits for others.
    waiting = Field[bool]("waiting", default=False)
    #: The progress in per cent.
    progress = Field[int | None]("progress")
    #: The worker that holds the job, or held it last.
    worker = Field[str | None]("worker")
    #: The line that names the job's error, at most 200 characters of it.
    error = Field[str | None]("error")
    #: Whether the job failed because it was cancelled.
    cancelled = Field[bool]("cancelled", default=False)
    tags = Field[tuple[str, ...]]("tags", tuple, ())
    #: Whether jobs can be added to the batch even when all its jobs are finished.
    open = Field[bool | None]("open")
    #: The number of the batch's jobs.
    total = Field[int | None]("total")
    #: The number of the batch's queued jobs; the next three fields are for the other states.
    queued = Field[int | None]("queued")
    inprogress = Field[int | None]("inprogress")
    complete = Field[int | None]("complete")
    failed = Field[int | None]("failed")


class AwaitedJob(LinkedJob):
    """A job or batch that a claimed job has waited for."""

    __slots__ = ()

    #: The job's result; None if it has none, or if its result was left out.
    result = Field[Any]("result")


def linked_jobs(raw: list[Any]) -> tuple[LinkedJob, ...]:
    """A LinkedJob for each JSON object."""
    return tuple([LinkedJob(one) for one in raw])


def awaited_jobs(raw: list[Any]) -> tuple[AwaitedJob, ...]:
    """An AwaitedJob for each JSON object."""
    return tuple([AwaitedJob(one) for one in raw])


class GraphEdge(Answer):
    """An edge of a graph: `after` waits for `before`, or is the batch that the job `before` belongs to."""

    __slots__ = ()
    _shown = ("before", "after")

    #: `before` and `after` are indexes in `nodes`.
    before = Field[int]("from", default=0)
    after = Field[int]("to", default=0)


def _edges(raw: list[Any]) -> tuple[GraphEdge, ...]:
    return tuple([GraphEdge(one) for one in raw])


class JobGraph(Answer):
    """The jobs and batches around a job."""

    __slots__ = ()
    _shown = ("nodes", "edges")

    #: At most 200: the job itself, then the others, nearest first.
    nodes = Field[tuple[LinkedJob, ...]]("nodes", linked_jobs, ())
    edges = Field[tuple[GraphEdge, ...]]("edges", _edges, ())
    #: Whether there are more jobs and batches than these 200.
    left_out = Field[bool]("left_out", default=False)
