"""How lists of jobs are sorted by time, and a job's position in such a list."""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Final

from .model import Job, Position


class Sort(StrEnum):
    """The time by which jobs are listed, and from which end; the values are those of the API."""

    CREATED = "created"
    UPDATED = "updated"
    NEWEST_CREATED = "-created"
    NEWEST_UPDATED = "-updated"

    @property
    def is_descending(self) -> bool:
        """Whether the newest come first."""
        return self.startswith("-")

    @property
    def ascending(self) -> "Sort":
        """The order by the same time with the oldest first."""
        return Sort(self.removeprefix("-"))


def _created(job: Job) -> int:
    return job.spec.created


def _updated(job: Job) -> int:
    return job.standing.updated


_TIMES: Final[Mapping[Sort | None, Callable[[Job], int]]] = {
    Sort.CREATED: _created,
    Sort.NEWEST_CREATED: _created,
    Sort.UPDATED: _updated,
    Sort.NEWEST_UPDATED: _updated,
}


def position(job: Job, sort: Sort | None) -> Position:
    """The job's position in this order; None is execution order."""
    if sort is None:
        return job.spec.rank
    return _TIMES[sort](job), job.spec.arrival, job.spec.uid


class GroupSort(StrEnum):
    """The orders of a list of groups, the largest first; the values are those of the API."""

    #: By queued jobs.
    QUEUED = "queued"
    #: By jobs in progress.
    IN_PROGRESS = "in_progress"
    #: By the age of the oldest ready job.
    OLDEST = "oldest"
