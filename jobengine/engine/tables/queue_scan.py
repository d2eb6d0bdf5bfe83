"""The jobs that a queue has at one moment, which can be read in parts while the queue keeps changing."""

from collections.abc import Iterator, Sequence
from heapq import merge
from itertools import islice

from ...core.model import Job, Rank
from ...core.tables import PAGE_BYTES
from .queue_table import QueueTable


class QueueScan:
    """
    The ranks of all jobs when the scan is made, in execution order.

    Each job is returned in its state at reading; jobs that were removed or added meanwhile are left out. So a job that
    exists throughout is returned exactly once, wherever a new priority moves it.

    If the queue changes, the scan keeps the old blocks of the indexes until it has read them: at most eight bytes a
    job, and the ranks of removed jobs. Call `close` at the end.
    """

    def __init__(self, table: QueueTable) -> None:
        self.table = table
        self._indexes = list(table.places.values())
        self._ranks: Iterator[Rank] = merge(*[_values(index.freeze()) for index in self._indexes])

    def take(self, most: int) -> list[Rank]:
        """The next ranks: at most `most`, fewer if the jobs are long; an empty list at the end."""
        ranks, size = [], 0
        for rank in islice(self._ranks, most):
            ranks.append(rank)
            job = self._job(rank)
            size += 0 if job is None else job.size
            if size > PAGE_BYTES:
                break
        return ranks

    def jobs(self, ranks: Sequence[Rank]) -> list[Job]:
        """The jobs with these ranks in their present state; removed jobs are left out."""
        return [job for rank in ranks if (job := self._job(rank)) is not None]

    def close(self) -> None:
        """Release the blocks."""
        self._ranks = iter(())
        for index in self._indexes:
            index.thaw()
        self._indexes.clear()

    def _job(self, rank: Rank) -> Job | None:
        job = self.table.jobs.get(rank[2])
        # A job with the same uid that was added later is a different job.
        return job if job is not None and job.spec.arrival == rank[1] else None


def _values(blocks: list[list[Rank]]) -> Iterator[Rank]:
    """The values in blocks; each block is released once it is read."""
    blocks.reverse()
    while blocks:
        yield from blocks.pop()
