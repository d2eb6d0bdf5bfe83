"""The job as its handler sees it."""

from collections.abc import Callable
from typing import Any

from ..client.values import Job

__all__ = ["Cancelled", "RunningJob"]


class Cancelled(BaseException):
    """
    The work is not wanted any more: somebody has cancelled the job, its lease was lost, or the worker has to stop.

    `progress` raises it; let it through. It is no Exception, so that `except Exception` does.
    """


class RunningJob:
    """A job that a handler works on."""

    __slots__ = ("_say", "cancelled", "job", "queue")

    def __init__(self, queue: str, job: Job, say: Callable[[int], object]) -> None:
        #: The name of its queue.
        self.queue = queue
        #: The job as it was when it was claimed.
        self.job = job
        #: Whether the work is not wanted any more.
        self.cancelled = False
        self._say = say

    def __repr__(self) -> str:
        return f"RunningJob(uid={self.uid!r}, queue={self.queue!r}, attempts={self.attempts})"

    @property
    def uid(self) -> str:
        """Names it in its queue."""
        return self.job.uid

    @property
    def content(self) -> Any:
        """The JSON object that was sent."""
        return self.job.content

    @property
    def attempts(self) -> int:
        """How often it was claimed, this time included."""
        return self.job.attempts

    @property
    def tags(self) -> tuple[str, ...]:
        """Words that it was added with."""
        return self.job.tags

    def progress(self, percent: int) -> None:
        """
        Say how far the work is, from 0 to 100. It does not wait: the latest value is sent with the next heartbeat,
        which is soon. Raises Cancelled if the work is not wanted any more, and ValueError.
        """
        if isinstance(percent, bool) or not isinstance(percent, int) or not 0 <= percent <= 100:
            raise ValueError("progress is a whole number from 0 to 100")
        if self.cancelled:
            raise Cancelled
        self._say(percent)
