"""Derives dependencies and the counts of batches from the jobs, and corrects what differs; see recount.py."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Final

from attrs import define, field
from psycopg import Connection

from ...core.model import Job, Queue
from ...core.places import Place, place_of
from ...storage.errors import Damaged
from .database.arrays import bigints, texts
from .database.connection import together
from .database.dependency_rows import (
    BatchDeltas,
    Child,
    Link,
    Parent,
    ended_left,
    links_of,
    links_written,
    parent_of,
)
from .database.pipeline import Row
from .database.rows import Rows
from .sql import named

#: Jobs whose dependencies are corrected in one transaction.
_SLICE: Final = 200
_PLACES: Final = {int(place) for place in Place}
_LIST_DEPENDENCIES: Final = named("list_dependencies")
_LIST_BATCH_COUNTS: Final = named("list_batch_counts")
_LIST_DAMAGED_OF_BATCHES: Final = named("list_damaged_of_batches")
_DELETE_DEPENDENCIES_OF: Final = named("delete_dependencies_of")
_FOLLOW_UP_ALL: Final = named("follow_up_all")
_LOCK_JOBS: Final = named("lock_jobs")
#: A number that stands for all dependencies of a job: the dependencies of a million jobs would need too much memory.
_Digest = int


@define
class LinkCounting:
    """The dependencies and counts of batches that follow from the jobs of one snapshot."""

    rows: Rows
    counts: BatchDeltas = field(factory=Counter, init=False)
    _links: dict[Child, _Digest] = field(factory=dict, init=False)

    def count(self, number: int, job: Job) -> None:
        """Count a job of the queue with this number."""
        key = self.rows.batch_of(job)
        if key is not None:
            self.counts[number, key, int(place_of(job.standing))] += 1
        links = links_of(job)
        if links:
            its = {parent_of(self.rows, awaited): link for awaited, link in links.items()}
            self._links[number, job.spec.uid] = _digest(its)

    def wrong_counts(self, connection: "Connection[Row]", numbers: Sequence[int]) -> dict[tuple[int, bytes, int], int]:
        """The corrections to add to the counts of batches."""
        for number, key, place, jobs in _LIST_DAMAGED_OF_BATCHES.execute(connection):
            if number in numbers and place in _PLACES:
                self.counts[number, key, place] += jobs
        counted = Counter({row[:3]: row[3] for row in _LIST_BATCH_COUNTS.execute(connection, queue_ids=[*numbers])})
        keys = sorted(self.counts.keys() | counted.keys())
        return {key: by for key in keys if (by := self.counts[key] - counted[key])}

    def wrong_links(self, connection: "Connection[Row]", numbers: Sequence[int]) -> list[Child]:
        """The jobs whose dependencies have wrong rows."""
        rest, wrong = dict(self._links), list[Child]()
        for child, rows in groupby(_LIST_DEPENDENCIES.execute(connection), lambda row: (row[0], row[1])):
            stored = _digest({(row[2], row[3]): (row[4], row[5]) for row in rows})
            if child[0] in numbers and rest.pop(child, None) != stored:
                wrong.append(child)
        return sorted([*wrong, *rest])


def _digest(links: Mapping[Parent, Link]) -> _Digest:
    return hash(frozenset(links.items()))


def correct_links(connection: "Connection[Row]", rows: Rows, queues: Mapping[int, Queue], wrong: list[Child]) -> None:
    """Write the dependencies of these jobs as the jobs are now; servers then follow up all ends again."""
    for start in range(0, len(wrong), _SLICE):
        with connection.transaction():
            _correct(connection, rows, queues, wrong[start : start + _SLICE])
    _FOLLOW_UP_ALL.execute(connection)


def _correct(connection: "Connection[Row]", rows: Rows, queues: Mapping[int, Queue], some: Sequence[Child]) -> None:
    columns = {"queue_ids": bigints([one[0] for one in some]), "uids": texts([one[1] for one in some])}
    (found,) = together(connection, _LOCK_JOBS(**columns))
    written = dict(_links_in(rows, queues, found))
    parents = {parent for _, parent in written}
    together(connection, _DELETE_DEPENDENCIES_OF(**columns), *links_written(written), *ended_left(parents, 0))


def _links_in(
    rows: Rows, queues: Mapping[int, Queue], found: Sequence[Row]
) -> Iterator[tuple[tuple[Child, Parent], Link]]:
    for number, uid, sealed, standing, *_ in found:
        try:
            job = rows.job(queues[number], uid, sealed, standing)
        except Damaged:
            continue
        for awaited, link in links_of(job).items():
            yield ((number, uid), parent_of(rows, awaited)), link
