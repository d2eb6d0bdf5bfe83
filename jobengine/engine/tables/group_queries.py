"""The queries of a queue's table about its groups."""

from collections.abc import MutableMapping, Sequence
from itertools import islice
from typing import Final

from ...core.model import Job, Rank
from ...core.places import Place
from ...core.sorting import GroupSort
from ...core.stats import GroupState
from .flow_index import FlowIndex
from .sorted_list import SortedList
from .turns import Turns

#: The most jobs in progress that are returned as holders.
_HOLDERS: Final = 10


class GroupQueries:
    """The part of a QueueTable with the queries about groups."""

    __slots__ = ()

    jobs: MutableMapping[str, Job]
    places: dict[Place, SortedList[Rank]]
    flow: FlowIndex

    def group(self, name: str) -> GroupState:
        turns = self._groups
        return turns.state(turns.groups[name]) if name in turns.groups else GroupState()

    def groups(
        self,
        sort: GroupSort,
        after: tuple[int, str] | None,
        limit: int,
        found: Sequence[tuple[int, str]] | None = None,
    ) -> tuple[list[tuple[str, GroupState]], tuple[int, str] | None]:
        return self._groups.page(sort, after, limit, found)

    def ahead_in_group(self, job: Job) -> int:
        return self._groups.before(job)

    def holders_of_group(self, name: str | None) -> list[Job]:
        if name is not None:
            return self._groups.holders(name)
        return [self.jobs[rank[2]] for rank in islice(self.places[Place.INPROGRESS], _HOLDERS)]

    @property
    def turns(self) -> Turns | None:
        """The groups of a queue with flow; None in other queues."""
        return self.flow.turns

    @property
    def _groups(self) -> Turns:
        assert self.turns is not None, "only a queue with flow has groups"
        return self.turns
