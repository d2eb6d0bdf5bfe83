"""The job that a handler gets."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..client.jobs import NewJob, OnDependencyFailure, waiting_value
from ..client.links import AwaitedJob
from ..client.values import Job


class Cancelled(BaseException):
    """
    The work is no longer needed: the job was cancelled, its lease was lost, or the worker is stopping. Raised by
    `progress`; do not catch it. Not a subclass of Exception, so `except Exception` lets it pass.
    """


class WaitFor:
    """Return this from a handler to let its job wait for others; `RunningJob.wait_for` makes it."""

    __slots__ = ("changes",)

    def __init__(self, changes: dict[str, Any]) -> None:
        #: The changes of the job, as a JSON object.
        self.changes = changes


class RunningJob:
    """A job that a handler is working on."""

    __slots__ = ("_say", "cancelled", "job", "queue")

    def __init__(self, queue: str, job: Job, say: Callable[[int], object]) -> None:
        #: The name of the job's queue.
        self.queue = queue
        #: The job as it was at its claim.
        self.job = job
        #: Whether the work is no longer needed.
        self.cancelled = False
        self._say = say

    def __repr__(self) -> str:
        return f"RunningJob(uid={self.uid!r}, queue={self.queue!r}, attempts={self.attempts})"

    @property
    def uid(self) -> str:
        """The job's id, unique in its queue."""
        return self.job.uid

    @property
    def content(self) -> Any:
        """The job's content: the JSON object with which it was added."""
        return self.job.raw.get("content")

    @property
    def attempts(self) -> int:
        """How often the job was claimed, including this claim."""
        return self.job.attempts

    @property
    def tags(self) -> tuple[str, ...]:
        """The job's tags."""
        return self.job.tags

    @property
    def group(self) -> str | None:
        """The job's group."""
        return self.job.group

    @property
    def batch(self) -> str | None:
        """The batch that the job belongs to."""
        return self.job.batch

    @property
    def dependencies(self) -> tuple[AwaitedJob, ...]:
        """
        The jobs that it has waited for, each with its state and result: those in `depends_on` and those of `wait_for`;
        together at most 1 MiB of results.
        """
        return self.job.dependencies

    def wait_for(
        self, jobs: Iterable[Mapping[str, Any] | NewJob], *, on_dependency_failure: OnDependencyFailure | None = None
    ) -> WaitFor:
        """
        Return the result of this in a handler to add jobs to its queue and wait for them, at most 100: once they are
        complete, the handler is called again, as part of the same attempt.

        `on_dependency_failure`: what becomes of the job if one of them fails; by default it fails too, unless it was
        added with another value. Raises TypeError.
        """
        return WaitFor(waiting_value(jobs, on_dependency_failure))

    def progress(self, percent: int) -> None:
        """
        Report the progress, from 0 to 100. Returns at once; the latest value is sent within half a second, if the
        server answers. Raises Cancelled if the work is no longer needed, and ValueError for another value.
        """
        if isinstance(percent, bool) or not isinstance(percent, int) or not 0 <= percent <= 100:
            raise ValueError("progress must be a whole number from 0 to 100")
        if self.cancelled:
            raise Cancelled
        self._say(percent)
