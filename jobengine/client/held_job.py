"""A job in progress, as its holder reads it."""

from typing import Any

from .links import AwaitedJob
from .values import Job


class HeldJob:
    """The fields of a job that is held under a lease, as they were at its claim."""

    __slots__ = ("job",)

    #: The job as it was at its claim.
    job: Job

    @property
    def uid(self) -> str:
        """The job's id, unique in its queue."""
        return self.job.uid

    @property
    def content(self) -> Any:
        """The job's content: the JSON object with which it was added."""
        return self.job.content

    @property
    def attempts(self) -> int:
        """How often the job was claimed, including this time."""
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
        together at most 1 MiB of results. A client's claim has them `with_results`, and a worker's always.
        """
        return self.job.dependencies
