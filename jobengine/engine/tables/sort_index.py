"""An index of a queue's jobs, in one order by time."""

from collections.abc import Iterator, Mapping, Sequence
from heapq import merge
from typing import Any, Final

from ...core.model import Job, Position, Rank, State
from ...core.sorting import Sort, position
from .sorted_list import SortedList

#: Values to insert into, or remove from, sorted blocks.
Changed = Mapping[SortedList[Any], list[Any]]


#: Less and greater than every rank: priorities have 64 bits.
_START: Final[Rank] = (-(1 << 64), 0, "")


_END: Final[Rank] = (1 << 64, 0, "")


class SortIndex:
    """
    The positions of a queue's jobs, by state, oldest first.

    The index is built a slice at a time while the queue keeps changing. It has the jobs up to the rank `covered`.
    """

    def __init__(self, sort: Sort) -> None:
        self.sort = sort
        self.covered: Rank = _START
        self.states: dict[State, SortedList[Position]] = {state: SortedList() for state in State}

    @property
    def is_whole(self) -> bool:
        """Whether the index has all jobs."""
        return self.covered is _END

    def cover(self, jobs: Sequence[Job], *, are_last: bool) -> None:
        """Add the next jobs in execution order."""
        for state, positions in self.states.items():
            positions.add_all([position(job, self.sort) for job in jobs if job.standing.state is state])
        self.covered = _END if are_last else jobs[-1].spec.rank

    def dismantle(self) -> Iterator[None]:
        """Free the memory of an unused index; each step frees a slice."""
        for positions in self.states.values():
            while positions.drop_block():
                yield

    def change(self, old: Job | None, new: Job | None, entering: Changed, leaving: Changed) -> None:
        """Collect the positions to insert and remove when `old` becomes `new`; None stands for a missing job."""
        if old is not None and old.spec.rank <= self.covered:
            leaving[self.states[old.standing.state]].append(position(old, self.sort))
        if new is not None and new.spec.rank <= self.covered:
            entering[self.states[new.standing.state]].append(position(new, self.sort))

    def behind(self, after: Position | None, state: State | None, *, descending: bool) -> Iterator[Position]:
        """
        The positions after `after` (None: all of them), of one state or (None) of all states.

        Any change makes the iterator invalid.
        """
        parts = self.states.values() if state is None else [self.states[state]]
        if descending:
            return merge(*(part.back_from(after) for part in parts), reverse=True)
        return merge(*(part.behind(after) for part in parts))
