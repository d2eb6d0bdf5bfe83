"""The order in which one claim takes jobs from the groups of a queue."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from heapq import heappop, heappush, merge
from itertools import count, repeat
from typing import Any, Generic, Protocol, TypeVar

from attrs import define, field

from .model import Job, Rank

#: A position in the order of groups: smaller goes first. The last element is the uid of the group's first job.
Key = tuple[Any, ...]


class OpenGroup(Protocol):
    """A group whose jobs may be claimed now."""

    def key(self, rank: Rank, taken: int, turn: int) -> Key:
        """The group's position if its next job has this rank, after a claim took `taken` jobs, the last at `turn`."""


G = TypeVar("G", bound=OpenGroup)
#: A group that has a next job: its position, a number that makes entries differ, the group, the ranks of its further
#: jobs, and that of the next.
_Entry = tuple[Key, int, G, Iterator[Rank], Rank]


@define(eq=False, kw_only=True)
class InTurn(Generic[G]):
    """
    Jobs in the order in which single claims would get them, each as if those before it were claimed.

    A group's position only grows when a job is taken, so an outdated one is found when it comes first.
    """

    #: The sorted positions of open groups: one list for a claim without tags; for one with tags, a list for each
    #: combination of tags that has them.
    lists: Sequence[Iterable[Key]]
    group_of: Callable[[Key], G]
    #: How many jobs of a group a claim may take.
    room_of: Callable[[G], int]
    #: The ranks of a group's jobs, by the index of the list.
    ranks_of: Callable[[G, int], Iterable[Rank]]
    #: The job of a rank, or None if it can't be claimed.
    job_of: Callable[[Rank], Job | None]
    #: The number of the last claim.
    turn: int
    #: Of each group that was met: how many jobs may still be taken, how many were, and the turn of the last.
    _met: dict[G, list[int]] = field(factory=dict, init=False)
    _waiting: "list[_Entry[G]]" = field(factory=list, init=False)
    _numbers: "count[int]" = field(factory=count, init=False)

    def __iter__(self) -> Iterator[Job]:
        waiting, heads = self._waiting, self._heads()
        head = next(heads, None)
        while head is not None or waiting:
            if head is not None and (not waiting or head[0] <= waiting[0][0]):
                entry = self._opened(*head)
                head = next(heads, None)
            else:
                entry = heappop(waiting)
            job = self._taken(entry)
            if job is not None:
                yield job

    def _heads(self) -> Iterator[tuple[Key, int]]:
        """The positions of all lists in order, each with the index of its list."""
        if len(self.lists) == 1:
            return zip(self.lists[0], repeat(0), strict=False)
        return merge(*(zip(keys, repeat(index), strict=False) for index, keys in enumerate(self.lists)))

    def _opened(self, key: Key, index: int) -> "_Entry[G]":
        """The entry of a group that comes first in a list."""
        group = self.group_of(key)
        if group not in self._met:
            self._met[group] = [self.room_of(group), 0, 0]
        ranks = iter(self.ranks_of(group, index))
        return key, next(self._numbers), group, ranks, next(ranks)

    def _taken(self, entry: "_Entry[G]") -> Job | None:
        """The job of the entry that comes first; None if the entry is outdated, or the job can't be claimed."""
        key, _, group, ranks, rank = entry
        left, taken, turn = state = self._met[group]
        if left <= 0:
            return None
        if taken and group.key(rank, taken, turn) != key:
            self._push(group, ranks, rank)
            return None
        job = self.job_of(rank)
        if job is not None:
            self.turn += 1
            state[:] = left - 1, taken + 1, self.turn
        following = next(ranks, None) if state[0] else None
        if following is not None:
            self._push(group, ranks, following)
        return job

    def _push(self, group: G, ranks: Iterator[Rank], rank: Rank) -> None:
        _, taken, turn = self._met[group]
        heappush(self._waiting, (group.key(rank, taken, turn), next(self._numbers), group, ranks, rank))
