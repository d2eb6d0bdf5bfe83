"""
The ends of jobs that are followed up before the jobs are removed.

A follow-up treats a missing job as failed, since nothing shows that it was complete. So a transaction that would remove
a complete job, for which a row in `ended` is left, is rolled back; it is carried out again after the follow-up.
"""

from collections.abc import Sequence
from typing import Final

from attrs import define, field
from psycopg import Connection

from ....core.dependants import end_of_job
from ....core.dependencies import MET
from ..database.arrays import byteas, texts
from ..database.connection import together
from ..database.dependency_rows import Parent
from ..database.pipeline import Row
from ..sql import named
from .links import BatchLinks
from .write import Change

#: Before a queue is deleted, the ends of at most this many of its jobs are followed up.
_MOST: Final = 1_000
_FIND_OWN_ENDED: Final = named("find_own_ended")
_FIND_ENDED_OF_QUEUES: Final = named("find_ended_of_queues")


class EndsWanted(Exception):
    """Jobs would be removed before their ends are followed up: follow up these ends first."""

    def __init__(self, parents: Sequence[Parent]) -> None:
        super().__init__("ends to follow up")
        self.parents = parents


@define
class EndsFirst:
    """Finds ends that must be followed up before a transaction removes the ended jobs."""

    #: The deleted queues that were checked. They are checked only once: other servers that still finish jobs there
    #: would put off the deletion again and again.
    _queues: set[Parent] = field(factory=set, init=False)

    def check(self, connection: "Connection[Row]", changes: Sequence[Change], links: BatchLinks | None) -> None:
        """Raise EndsWanted if a job would be removed before its end is followed up. The jobs are locked already."""
        if links is None:
            return
        gone = {one for one in links.eager if not one[1]} - self._queues
        found = self._found(connection, [one for one in changes if _was_complete(one, links)], links)
        if gone:
            self._queues |= gone
            digests = byteas([digest for digest, _ in gone])
            found += together(connection, _FIND_ENDED_OF_QUEUES(parent_queues=digests, most=_MOST))[0]
        if found:
            raise EndsWanted([(queue, key) for queue, key in found])

    def _found(self, connection: "Connection[Row]", removed: Sequence[Change], links: BatchLinks) -> list[Row]:
        if not removed:
            return []
        queues = byteas([links.rows.name(one.queue.queue.name) for one in removed])
        found = _FIND_OWN_ENDED(parent_queues=queues, parent_keys=texts([one.uid for one in removed]))
        return together(connection, found)[0]


def _was_complete(one: Change, links: BatchLinks) -> bool:
    """Whether this change removes a complete job on which others depend."""
    is_removed = one.new is None and end_of_job(one.old) == MET
    return is_removed and (one.queue.id, one.uid) in links.linked.awaited
