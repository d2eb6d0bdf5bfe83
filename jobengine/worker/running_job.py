"""The job that a handler gets."""

from collections.abc import Callable
from typing import Any

from ..client.values import Job


class Cancelled(BaseException):
    """
    The work is no longer needed: the job was cancelled, its lease was lost, or the worker is stopping. Raised by
    `progress`; do not catch it. Not a subclass of Exception, so `except Exception` lets it pass.
    """


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
