"""Keeps the index of a queue's groups, and makes another one when the order of groups changes."""

from collections.abc import Iterator, Mapping
from heapq import merge
from itertools import islice
from typing import Final

from attrs import define

from ...core.flow import Flow
from ...core.model import Job, Rank
from ...core.places import Place
from .sorted_list import SortedList
from .turns import Turns

#: Before every rank: priorities have 64 bits.
_START: Final[Rank] = (-(1 << 64), 0, "")


@define(eq=False)
class FlowIndex:
    """The groups of a queue with flow, derived from its jobs and named things."""

    #: All jobs of the queue by uid, and its named things by kind and name.
    _jobs: Mapping[str, Job]
    _named: Mapping[tuple[str, str], str]
    #: The ranks of the jobs at each place.
    _places: Mapping[Place, SortedList[Rank]]
    #: Whether building the index is put off until the file has been read back.
    is_later: bool = False
    #: The present index; None in a queue without flow.
    turns: Turns | None = None
    #: The index for a coming change of the order.
    _coming: Turns | None = None
    #: The indexes that exist; both must get each change of a job.
    indexes: tuple[Turns, ...] = ()

    def set_flow(self, flow: Flow | None) -> None:
        """Make, adapt or drop the index."""
        if flow is None or self.is_later:
            self.turns = None
        elif self.turns is None or not self.turns.has_shape(flow):
            while self.prepare(flow, len(self._jobs) + 1):
                pass
            self.turns = self._coming
        if self.turns is not None and flow is not None:
            self.turns.limit(flow)
        self._keep(None)

    def prepare(self, flow: Flow, most: int) -> bool:
        """
        Add at most `most` jobs to the index for a coming change to `flow`; returns whether jobs are missing.

        Without this, the change indexes all jobs at once.
        """
        coming = self._coming
        if coming is None or not coming.has_shape(flow):
            coming = self._begin(flow, _START)
        if coming.covered is None:
            return False
        ranks = list(islice(merge(*(ranks.behind(coming.covered) for ranks in self._places.values())), most))
        coming.covered = ranks[-1] if ranks else coming.covered
        coming.fill(self._jobs[rank[2]] for rank in ranks)
        if len(ranks) < most:
            coming.covered = None
        return coming.covered is not None

    def build(self, flow: Flow, most: int) -> Iterator[None]:
        """Index all jobs, at most `most` jobs or groups at each step; no job may change meanwhile."""
        self.is_later = False
        coming, jobs = self._begin(flow, None), iter(self._jobs.values())
        while some := list(islice(jobs, most)):
            coming.gather(some)
            yield
        while coming.place(most):
            yield

    def _begin(self, flow: Flow, covered: Rank | None) -> Turns:
        coming = Turns(flow, self._jobs, self._places[Place.INPROGRESS], covered=covered)
        for (kind, name), value in self._named.items():
            coming.set_item(kind, name, value)
        self._keep(coming)
        return coming

    def _keep(self, coming: Turns | None) -> None:
        self._coming = coming
        self.indexes = tuple(turns for turns in (self.turns, coming) if turns is not None)

    def use(self, jobs: Mapping[str, Job]) -> None:
        """Read the jobs from another mapping, which has the same jobs."""
        self._jobs = jobs
        for turns in self.indexes:
            turns.jobs = jobs

    def set_item(self, kind: str, name: str, value: str | None) -> None:
        """Record the new value of a named thing."""
        for turns in self.indexes:
            turns.set_item(kind, name, value)

    def update(self) -> bool:
        """Bring the lists of groups up to date with the recorded changes; returns whether gates have changed."""
        changed = False
        for turns in self.indexes:
            changed = turns.update() or changed
        return changed
