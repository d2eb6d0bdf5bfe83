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
        The jobs that it has waited for (by `depends_on` or `wait_for`), each with its state and result; at most 1 MiB
        of results together. A client gets them only if it claims `with_results`; a worker always gets them.
        """
        return self.job.dependencies
