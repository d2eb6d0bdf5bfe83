"""The jobs of a queue as they stood at one moment, to be read in parts while the queue goes on changing."""

from collections.abc import Iterator, Sequence
from heapq import merge
from itertools import islice

from .model import Job, Rank
from .queue_table import PAGE_BYTES, QueueTable

__all__ = ["View"]


class View:
    """
    The places of all jobs that were there when it was made, in execution order.

    Each job is shown as it is when its part is read; what was removed meanwhile is left out, what was added is not in
    it. So a job that is there throughout is in it once, wherever edits of priorities have moved it.

    It keeps the blocks of the indexes that were changed since and that it has not yet come by: at most eight bytes a
    job, and the places of jobs that are gone. `close` it.
    """

    def __init__(self, table: QueueTable) -> None:
        #: What it is a view of.
        self.table = table
        self._indexes = list(table.places.values())
        self._ranks: Iterator[Rank] = merge(*[_values(index.freeze()) for index in self._indexes])

    def take(self, most: int) -> list[Rank]:
        """The next places, at most so many, fewer where the jobs are long; none if that was all."""
        ranks, size = [], 0
        for rank in islice(self._ranks, most):
            ranks.append(rank)
            job = self._job(rank)
            size += 0 if job is None else job.size
            if size > PAGE_BYTES:
                break
        return ranks

    def jobs(self, ranks: Sequence[Rank]) -> list[Job]:
        """Those of the jobs that had these places which are still there, as they are now."""
        return [job for rank in ranks if (job := self._job(rank)) is not None]

    def close(self) -> None:
        """Nobody reads it any more."""
        self._ranks = iter(())
        for index in self._indexes:
            index.thaw()
        self._indexes.clear()

    def _job(self, rank: Rank) -> Job | None:
        job = self.table.jobs.get(rank[2])
        # One of the same uid that was added since is another.
        return job if job is not None and job.spec.arrival == rank[1] else None


def _values(blocks: list[list[Rank]]) -> Iterator[Rank]:
    """The values in blocks; each is let go when it was read."""
    blocks.reverse()
    while blocks:
        yield from blocks.pop()
