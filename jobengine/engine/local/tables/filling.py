"""Puts many jobs of a file into a queue at once: `QueueTable.put`, one by one, takes three times as long."""

from collections.abc import Iterator, Sequence
from typing import Final

from ....core.model import NO_NOTES, NO_RARE, Job, Rank, of_group
from ....core.places import Place, place_of
from ....core.record_length import length_of_more
from .dependants import Dependants
from .queue_table import QueueTable

_READY: Final = Place.READY


def fill(table: QueueTable, jobs: Sequence[Job], dependants: Dependants) -> Iterator[Job]:
    """
    Add jobs that are new, ready and in no other index; yields all other jobs, each of which the caller must put before
    the next step.

    Call `update_indexes` next.
    """
    known, ranks, size, ready = table.jobs, list[Rank](), 0, None
    has_others = bool(table.flow.indexes or table.sort_indexes)
    for job in jobs:
        spec, standing, rare = job.spec, job.standing, job.spec.rare
        # Jobs that were added together share a standing.
        if standing is not ready and place_of(standing) is _READY and standing.notes is NO_NOTES:
            ready = standing
        group = rare.group
        more = 0 if rare is NO_RARE else len(group) if group and rare is of_group(group) else _more(job)
        apart = has_others or dependants.is_used or spec.tags or spec.timeout_time or standing is not ready
        if apart or more is None or known.setdefault(spec.uid, job) is not job:
            yield job
            continue
        ranks.append(spec.rank)
        size += len(spec.content) + more
    table.enter_ready(ranks, size)


def _more(job: Job) -> int | None:
    """The length of the rare fields of a job; None if another index has it."""
    rare = job.spec.rare
    is_indexed = rare.unique_key is not None or rare.batch is not None or rare.dependencies is not None
    return None if is_indexed else length_of_more(job)
