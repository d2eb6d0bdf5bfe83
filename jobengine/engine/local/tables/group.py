"""The jobs of one group in memory."""

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from typing import Final

from attrs import define, field

from ....core.flow import NO_SETTINGS, OPEN, Gate, GroupOrder, GroupSettings
from ....core.model import Job, Rank
from ....core.places import Place
from ....core.turn_order import Key
from .sorted_list import SortedList

Tags = tuple[str, ...]
#: The longest list of ranks that is a plain list: a short one takes 200 bytes less than a SortedList.
_LONG: Final = 1_000
_READY: Final = Place.READY


class Ranks:
    """Ranks in order: a list while there are few, a SortedList from then on."""

    __slots__ = ("_ranks",)

    def __init__(self) -> None:
        self._ranks: list[Rank] | SortedList[Rank] = []

    def __len__(self) -> int:
        return len(self._ranks)

    def __iter__(self) -> Iterator[Rank]:
        return iter(self._ranks)

    def first(self) -> Rank | None:
        """The first rank, or None."""
        ranks = self._ranks
        if isinstance(ranks, SortedList):
            return ranks.first()
        return ranks[0] if ranks else None

    def before(self, rank: Rank) -> int:
        """The number of ranks before this one."""
        ranks = self._ranks
        return ranks.before(rank) if isinstance(ranks, SortedList) else bisect_left(ranks, rank)

    def add(self, rank: Rank) -> None:
        """Insert a rank."""
        ranks = self._ranks
        if isinstance(ranks, SortedList):
            ranks.add_all([rank])
            return
        if not ranks or rank > ranks[-1]:
            ranks.append(rank)
        else:
            insort(ranks, rank)
        if len(ranks) == _LONG:
            longer = self._ranks = SortedList[Rank]()
            longer.add_all(ranks)

    def remove(self, rank: Rank) -> None:
        """Remove a rank; raises LookupError if it is missing."""
        ranks = self._ranks
        if isinstance(ranks, SortedList):
            ranks.remove_all([rank])
            return
        at = 0 if ranks[0] == rank else bisect_left(ranks, rank)
        if ranks[at] != rank:
            raise LookupError(rank)
        del ranks[at]


@define(eq=False)
class Group:
    """The unfinished jobs of a group, or of all jobs without a group, and what holds them."""

    #: None for the jobs without a group.
    name: str | None
    order: GroupOrder
    #: The ranks of its ready jobs; in strict order, of all unfinished jobs.
    jobs: Ranks = field(factory=Ranks)
    #: The ranks of ready jobs with tags, by all their tags; not in strict order.
    by_tags: dict[Tags, Ranks] | None = None
    ready: int = 0
    delayed: int = 0
    running: int = 0
    #: The uids of its jobs in progress, if it is a group and has any, and of failed jobs that hold it.
    holders: dict[str, None] | None = None
    #: How many failed jobs hold it; see OnFailure.
    failed: int = 0
    #: The number of the claim that served it last, or that came before its first job.
    served: int = 0
    settings: GroupSettings = NO_SETTINGS
    gate: Gate = OPEN
    #: Its entry in the list of open groups, and those in the lists for tags.
    position: Key | None = None
    tag_positions: dict[Tags, Key] | None = None
    #: Its entry in the list of gates.
    changes: int | None = None
    #: The number of ready jobs that an idle group is counted with; None if it is not idle.
    idle: int | None = None
    #: How many jobs could be claimed now, if it is not idle.
    claimable: int = 0

    def key(self, rank: Rank, taken: int, turn: int) -> Key:
        """Its position if its next job has this rank; see OpenGroup."""
        if self.order is not GroupOrder.FAIR:
            return rank
        load = (self.running + taken) / self.settings.weight
        return (rank[0], load, turn or self.served, rank[1], rank[2])

    @property
    def is_strict(self) -> bool:
        """Whether only its first unfinished job may be claimed."""
        return self.order is GroupOrder.STRICT and self.name is not None

    @property
    def has_only_queued(self) -> bool:
        """Whether it has nothing but ready and delayed jobs, so that it is like any other group of that length."""
        return not self.running and not self.failed and self.gate is OPEN and self.settings is NO_SETTINGS

    @property
    def is_gone(self) -> bool:
        """Whether nothing is left of it."""
        return not self.ready and not self.delayed and self.has_only_queued

    def add(self, job: Job, place: Place) -> None:
        """Add a job that is in this place; a failed one, if it holds the group."""
        spec = job.spec
        self._count(spec.uid, place, 1)
        if place is _READY or (self.is_strict and place is not Place.FAILED):
            self.jobs.add(spec.rank)
        if place is _READY and spec.tags and not self.is_strict:
            self.by_tags = self.by_tags or {}
            self.by_tags.setdefault(spec.tags, Ranks()).add(spec.rank)

    def remove(self, job: Job, place: Place) -> None:
        """Remove a job that was in this place."""
        spec = job.spec
        self._count(spec.uid, place, -1)
        if place is _READY or (self.is_strict and place is not Place.FAILED):
            self.jobs.remove(spec.rank)
        if self.by_tags and place is _READY and spec.tags:
            self.by_tags[spec.tags].remove(spec.rank)
            if not self.by_tags[spec.tags]:
                del self.by_tags[spec.tags]
            self.by_tags = self.by_tags or None

    def _count(self, uid: str, place: Place, by: int) -> None:
        """Count a job of this place; `by` is 1 or -1."""
        if place is _READY:
            self.ready += by
        elif place is Place.DELAYED:
            self.delayed += by
        else:
            if place is Place.INPROGRESS:
                self.running += by
            else:
                self.failed += by
            self._change_holder(uid, by)

    def _change_holder(self, uid: str, by: int) -> None:
        if self.name is None:
            return
        holders = self.holders or {}
        if by > 0:
            holders[uid] = None
        else:
            del holders[uid]
        self.holders = holders or None

    def ranks(self, tags: Tags | None) -> Iterable[Rank]:
        """The ranks in a list of open groups: of all jobs that may be claimed, or of those with these tags."""
        return self.jobs if tags is None or self.by_tags is None else self.by_tags[tags]
