"""The job that a handler gets."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..client.held_job import HeldJob
from ..client.jobs import NewJob, OnDependencyFailure, waiting_value
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


class RunningJob(HeldJob):
    """A job that a handler is working on."""

    __slots__ = ("_has_made_wait", "_say", "cancelled", "queue")

    def __init__(self, queue: str, job: Job, say: Callable[[int], object]) -> None:
        #: The name of the job's queue.
        self.queue = queue
        self.job = job
        #: Whether the work is no longer needed.
        self.cancelled = False
        # Whether `wait_for` was called.
        self._has_made_wait = False
        self._say = say

    def __repr__(self) -> str:
        return f"RunningJob(uid={self.uid!r}, queue={self.queue!r}, attempts={self.attempts})"

    def wait_for(
        self, jobs: Iterable[Mapping[str, Any] | NewJob], *, on_dependency_failure: OnDependencyFailure | None = None
    ) -> WaitFor:
        """
        Return the result of this call from a handler, to add at most 100 jobs to its queue and wait for them. Once they
        are complete, the handler is called again, in the same attempt.

        The jobs don't get the group, tags or priority of the handler's job: pass `NewJob({…}, group=job.group)` to keep
        the group, except in a queue with strict order, where a job in the group of its parent would never run.

        `on_dependency_failure`: what becomes of the handler's job if one of them fails; by default the job keeps its
        present setting, which is `fail` unless it was added with another. Raises TypeError.
        """
        made = WaitFor(waiting_value(jobs, on_dependency_failure))
        self._has_made_wait = True
        return made

    def progress(self, percent: float) -> None:
        """
        Report the progress, from 0 to 100, rounded down. Returns at once; the latest value is sent within half a
        second, if the server answers, and with the job's outcome. Raises Cancelled if the work is no longer needed, and
        ValueError for an invalid `percent`.
        """
        if isinstance(percent, bool) or not isinstance(percent, int | float) or not 0 <= percent <= 100:
            raise ValueError("progress must be a number from 0 to 100")
        if self.cancelled:
            raise Cancelled
        self._say(int(percent))
