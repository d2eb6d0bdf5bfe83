"""Puts many jobs of a file into a queue at once: `QueueTable.put`, one by one, takes three times as long."""

from collections.abc import Collection

from ...core.added_jobs import JobsAdded
from ...core.model import Job
from ...core.record_length import length_of_more
from .dependants import Dependants
from .queue_table import QueueTable


def fill(table: QueueTable, added: JobsAdded, dependants: Dependants) -> Collection[Job]:
    """
    Add those of the jobs that are new. Returns the others: the caller must put each of them before it adds more jobs.

    Call `update_indexes` when all jobs are added.
    """
    new, known, others = added.jobs, table.jobs, list[Job]()
    ranks, length = added.ranks, added.length
    if table.flow.indexes or table.sort_indexes or dependants.is_used:
        return new.values()
    if not known.keys().isdisjoint(new):
        apart = {*added.others, *(known.keys() & new.keys())}
        others = [new.pop(uid) for uid in [*new] if uid in apart]
        ranks = [job.spec.rank for job in new.values()]
        length = sum(len(job.spec.content) + length_of_more(job) for job in new.values())
    elif added.others:
        others = [new.pop(uid) for uid in added.others]
    known.update(new)
    table.enter_ready(ranks, length)
    return others
