"""The index of a queue's groups, and how another one takes its place when the order of groups changes."""

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Final

from attrs import define

from ....core.flow import Flow
from ....core.model import Job, Rank
from .turns import Turns

#: Before every rank: priorities have 64 bits.
_START: Final[Rank] = (-(1 << 64), 0, "")


@define(eq=False)
class FlowIndex:
    """The groups of a queue with flow, as its jobs and named things say."""

    #: All jobs of the queue by uid, and its named things by kind and name.
    _jobs: dict[str, Job]
    _named: Mapping[tuple[str, str], str]
    #: The ranks of all jobs after one, in order.
    _ranks: Callable[[Rank], Iterator[Rank]]
    #: The present index; None in a queue without flow.
    turns: Turns | None = None
    #: The index for a coming change of the order, and the rank up to which it has the jobs; None for all of them.
    _coming: Turns | None = None
    _covered: Rank | None = None
    #: Whether changes of jobs must be noted.
    is_needed: bool = False

    def set_flow(self, flow: Flow | None) -> None:
        """Make, adapt or drop the index."""
        if flow is None:
            self.turns = None
        elif self.turns is not None and self.turns.has_shape(flow):
            self.turns.limit(flow)
        else:
            while self.prepare(flow, len(self._jobs) + 1):
                pass
            self.turns = self._coming
            if self.turns is not None:
                self.turns.limit(flow)
        self._coming = None
        self.is_needed = self.turns is not None

    def prepare(self, flow: Flow, most: int) -> bool:
        """
        Add at most `most` jobs to the index for a coming change to `flow`; returns whether it lacks any.

        Without this, the change indexes all jobs at once.
        """
        if self._coming is None or not self._coming.has_shape(flow):
            self._coming, self._covered, self.is_needed = Turns(flow, self._jobs), _START, True
            for (kind, name), value in self._named.items():
                self._coming.set_item(kind, name, value)
        if self._covered is None:
            return False
        ranks = list(islice(self._ranks(self._covered), most))
        for rank in ranks:
            self._coming.change(None, self._jobs[rank[2]])
        self._coming.update()
        self._covered = ranks[-1] if len(ranks) == most else None
        return self._covered is not None

    def change(self, old: Job | None, new: Job | None) -> None:
        """Note a change of a job."""
        if self.turns is not None:
            self.turns.change(old, new)
        if self._coming is not None:
            self._coming.change(self._if_covered(old), self._if_covered(new))

    def set_item(self, kind: str, name: str, value: str | None) -> None:
        """Note the new value of a named thing."""
        for turns in (self.turns, self._coming):
            if turns is not None:
                turns.set_item(kind, name, value)

    def update(self) -> None:
        """Bring the lists of groups up to date with the noted changes."""
        for turns in (self.turns, self._coming):
            if turns is not None:
                turns.update()

    def _if_covered(self, job: Job | None) -> Job | None:
        covered = self._covered
        return job if job is None or covered is None or job.spec.rank <= covered else None
