"""The order in which one claim takes jobs from the groups of a queue."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from heapq import heappop, heappush, merge
from itertools import repeat
from typing import Generic, Protocol, TypeVar

from attrs import define, field

from .model import Job, Rank

#: A position in the order of groups: smaller goes first. The last element is the uid of the group's first job.
Key = Rank | tuple[int, float, int, int, str]


class OpenGroup(Protocol):
    """A group whose jobs may be claimed now."""

    def key(self, rank: Rank, taken: int, turn: int) -> Key:
        """The group's position after a claim took `taken` jobs, the last at `turn`; `rank` is its next job's rank."""


G = TypeVar("G", bound=OpenGroup)


#: What a claim knows of a group: how many jobs it may still take, how many it has taken, and the turn of the last one.
_Met = list[int]
#: A group's next job: the group's position, the index of the position's list, the group, what the claim knows of it,
#: the ranks of its further jobs, and the next job's rank.
_Entry = tuple[Key, int, G, _Met, Iterator[Rank], Rank]


@define(eq=False, kw_only=True)
class InTurn(Generic[G]):
    """
    Jobs in the order in which single claims would get them, each as if the jobs before it were claimed already.

    Taking a job can only move its group back, so an outdated position is recognised when it comes first.
    """

    #: The sorted positions of open groups: one list for a claim without tags; for a claim with tags, a list for each
    #: combination of tags that contains them.
    lists: Sequence[Iterable[Key]]
    #: For a position and the index of its list, returns the group, how many of its jobs a claim may take, and their
    #: ranks.
    opened: Callable[[Key, int], tuple[G, int, Iterable[Rank]]]
    #: The job of a rank, or None if it can't be claimed.
    job_of: Callable[[Rank], Job | None]
    #: The number of the last claim.
    turn: int
    _met: dict[G, _Met] = field(factory=dict, init=False)
    #: A heap: the next job of each group that was met so far.
    _next: "list[_Entry[G]]" = field(factory=list, init=False)

    def __iter__(self) -> Iterator[Job]:
        following, met = self._next, self._met
        for key, index in self._heads():
            while following and following[0][0] < key:
                if (job := self._taken(*heappop(following))) is not None:
                    yield job
            group, room, ranks = self.opened(key, index)
            state = met.get(group)
            if state is None:
                state = met[group] = [room, 0, 0]
            ranks = iter(ranks)
            if (job := self._taken(key, index, group, state, ranks, next(ranks))) is not None:
                yield job
        while following:
            if (job := self._taken(*heappop(following))) is not None:
                yield job

    def _heads(self) -> Iterator[tuple[Key, int]]:
        """The positions of all lists in order, each with the index of its list."""
        if len(self.lists) == 1:
            return zip(self.lists[0], repeat(0), strict=False)
        return merge(*(zip(keys, repeat(index), strict=False) for index, keys in enumerate(self.lists)))

    def _taken(self, key: Key, index: int, group: G, state: _Met, ranks: Iterator[Rank], rank: Rank) -> Job | None:
        """The job of the entry that comes first; None if the entry is outdated, or the job can't be claimed."""
        left, taken, turn = state
        if left <= 0:
            return None
        job: Job | None = None
        following: Rank | None = rank
        if not taken or group.key(rank, taken, turn) == key:
            job = self.job_of(rank)
            if job is not None:
                state[0] = left = left - 1
                state[1] = taken = taken + 1
                state[2] = turn = self.turn = self.turn + 1
            following = next(ranks, None) if left else None
        if following is not None:
            heappush(self._next, (group.key(following, taken, turn), index, group, state, ranks, following))
        return job
