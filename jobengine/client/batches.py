"""Batches: the server's answers, and how they are sent."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from .answers import Answer, Field, as_time
from .jobs import NewJob, written_content, written_options

#: When the job at the end of a batch runs: if all jobs are complete (default), or once all are finished.
ThenOn = Literal["success", "finish"]


class BatchProgress(Answer):
    """A batch with the counts of its jobs."""

    __slots__ = ()
    _shown = ("name", "open", "total", "complete", "failed")

    queue_name = Field[str]("queue_name")
    name = Field[str]("name")
    #: Whether the batch is not closed yet.
    open = Field[bool]("open", default=False)
    #: The number of the batch's jobs that exist.
    total = Field[int]("total", default=0)
    #: The number of the batch's queued jobs; the next three fields are for the other states.
    queued = Field[int]("queued", default=0)
    inprogress = Field[int]("inprogress", default=0)
    complete = Field[int]("complete", default=0)
    failed = Field[int]("failed", default=0)
    #: How many of the batch's jobs were removed before they were complete.
    lost = Field[int]("lost", default=0)
    created = Field[datetime]("created", as_time)
    #: The uid of the job that waits for the end of the batch.
    then = Field[str | None]("then")
    #: When the batch ended; None until it is closed and all its jobs are finished.
    ended = Field[datetime | None]("ended", as_time)
    #: Whether all jobs were complete when the batch ended; None until then.
    succeeded = Field[bool | None]("succeeded")
    #: How many jobs `cancel` or `retry` has changed; None in other answers.
    matched = Field[int | None]("matched")

    @property
    def done(self) -> float:
        """The finished share of its jobs, from 0 to 1; 1 for a batch that has ended."""
        if self.ended is not None:
            return 1.0
        return (self.complete + self.failed) / self.total if self.total else 0.0


def then_value(then: Mapping[str, Any] | NewJob, then_on: ThenOn | None) -> dict[str, Any]:
    """
    The fields of a request about the job that waits for the end of a batch. The job gets a uid, so that the request is
    safe to repeat.
    """
    job = then if isinstance(then, NewJob) else NewJob(then)
    options = written_options({**job.options, "uid": job.uid})
    value: dict[str, Any] = {"then": {**options, "content": written_content(job.content)}}
    return value if then_on is None else {**value, "then_on": then_on}
