"""A queue's table as the rules use it. An engine may implement all of it, or load only what a command needs."""

from collections.abc import Iterator, Mapping
from typing import Protocol

from .model import Job, Position, Queue, QueueCounts, Rank, State
from .sorting import Sort

__all__ = ["JobTable", "JobTableSet", "Table", "TableSet"]


class JobTable(Protocol):
    """One queue, and all of its jobs or some."""

    @property
    def queue(self) -> Queue:
        """The queue."""

    @property
    def next_arrival(self) -> int:
        """The arrival number of the next job to be added."""

    def wall(self, now: int) -> int:
        """The wall clock at an elapsed time."""

    def job(self, uid: str) -> Job | None:
        """The job with this uid."""

    def holders(self, unique_key: str) -> list[Job]:
        """The unfinished jobs with this unique key: one, unless a finished one was queued again."""

    def ready_jobs(self, tags: tuple[str, ...] = ()) -> Iterator[Job]:
        """The jobs that can be claimed and have all of `tags`, in execution order. Not valid after a change."""

    def due(self, now: int) -> Iterator[Job]:
        """The jobs whose deadline has come, by deadline. Not valid after a change."""


class Table(JobTable, Protocol):
    """One queue with all of its jobs, and the figures that need them all."""

    def size(self) -> int:
        """How many jobs there are, of every state."""

    def page(
        self, after: Position | None, limit: int, state: State | None = None, sort: Sort | None = None
    ) -> tuple[list[Job], Position | None]:
        """
        At most `limit` jobs after the place `after`, of one state if it is given.

        They are in the order of `sort`, or in execution order if it is None. With them comes the place of the last, or
        None if no more follow.
        """

    def ahead(self, rank: Rank) -> int:
        """How many ready jobs come before a place."""

    def counts(self) -> QueueCounts:
        """How many jobs there are of each kind."""

    def oldest_ready(self) -> int | None:
        """When the oldest job that can be claimed was added; None if there is none."""


class JobTableSet(Protocol):
    """Tables of some queues."""

    @property
    def queues(self) -> Mapping[str, JobTable]:
        """The tables by the names of their queues."""

    def wall(self, now: int) -> int:
        """See JobTable."""

    def due(self, now: int) -> Iterator[tuple[str, Job]]:
        """The jobs whose deadline has come, with their queue's name. Not valid after a change."""


class TableSet(JobTableSet, Protocol):
    """The tables of all queues, or of some."""

    @property
    def queues(self) -> Mapping[str, Table]:
        """The tables by the names of their queues."""
