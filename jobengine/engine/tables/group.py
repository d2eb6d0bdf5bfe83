"""The jobs of one group in memory."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator, Mapping
from typing import ClassVar, Final

from attrs import define
from msgspec import Struct, field

from ...core.flow import NO_SETTINGS, OPEN, Gate, GroupOrder, GroupSettings
from ...core.model import Job, Rank, Spec, State
from ...core.places import Place
from ...core.turn_order import Key
from .sorted_list import SortedList

Tags = tuple[str, ...]
#: Ranks in order; a SortedList takes 200 bytes more than a list, so it is used only for many ranks.
Ranks = list[Rank] | SortedList[Rank]
#: The longest list of ranks.
_LONG: Final = 1_000

_READY: Final = Place.READY
_DELAYED: Final = Place.DELAYED
_INPROGRESS: Final = Place.INPROGRESS
_FAILED: Final = State.FAILED
#: Jobs that wait for others are counted with the delayed ones.
_WAITING: Final = Place.WAITING
_UNFINISHED: Final = frozenset({_READY, _DELAYED, _WAITING, _INPROGRESS})


def _with(ranks: Ranks, rank: Rank) -> Ranks:
    """Insert a rank; returns the same list, or a SortedList in its place when it gets long."""
    if isinstance(ranks, SortedList):
        ranks.add_all([rank])
    elif len(ranks) == _LONG:
        longer = SortedList[Rank]()
        longer.add_all([*ranks, rank])
        return longer
    elif not ranks or rank > ranks[-1]:
        ranks.append(rank)
    else:
        insort(ranks, rank)
    return ranks


def _remove(ranks: Ranks, rank: Rank) -> None:
    """Remove a rank; raises LookupError if it is missing."""
    if isinstance(ranks, SortedList):
        ranks.remove_all([rank])
        return
    at = 0 if ranks[0] == rank else bisect_left(ranks, rank)
    if ranks[at] != rank:
        raise LookupError(rank)
    del ranks[at]


@define
class GroupExtras:
    """The rare fields of a group."""

    settings: GroupSettings = NO_SETTINGS
    gate: Gate = OPEN
    #: When the group's gate changes next, as entered in Turns.gates; None if it never does.
    changes: int | None = None
    #: How many failed jobs hold it; see OnFailure.
    failed: int = 0
    #: How many jobs of the group may be in progress; None: as many as the queue allows for a group.
    cap: int | None = None
    #: How many jobs the group's gate allows to claim now; None: as many as the queue's rate for groups allows.
    left: int | None = None
    #: How many jobs could be claimed when the group was last placed; the number may have grown since, not shrunk.
    room: int = 0
    #: The ranks of ready jobs with tags, by the combination of their tags; None if there are none, or in strict order.
    by_tags: dict[Tags, Ranks] | None = None
    #: The group's entries in the lists of open groups for tags.
    tag_positions: dict[Tags, Key] | None = None

    @property
    def has_limits(self) -> bool:
        """Whether the group has a gate or settings of its own."""
        return self.gate is not OPEN or self.settings is not NO_SETTINGS

    @property
    def is_empty(self) -> bool:
        """Whether all fields have their defaults."""
        if self.has_limits:
            return False
        return not (self.changes or self.failed or self.by_tags or self.tag_positions)


NO_EXTRAS: Final = GroupExtras()


class Group(Struct, eq=False, gc=False):
    """
    The unfinished jobs of a group, or of all jobs without a group, and what holds them.

    The garbage collector skips groups, which saves memory and time: so no field may lead back to its group.
    """

    is_fair: ClassVar[bool] = False
    is_strict: ClassVar[bool] = False

    #: None for the jobs without a group.
    name: str | None
    #: The ranks of the group's ready jobs; if the queue's group order is `strict`, of all its unfinished jobs.
    jobs: Ranks = field(default_factory=list)
    ready: int = 0
    delayed: int = 0
    running: int = 0
    #: The uids of its jobs in progress, and of failed jobs that hold it: a str if there is only one, None if there is
    #: none, and always None for the jobs without a group.
    holders: dict[str, None] | str | None = None
    #: The group's entry in the list of open groups.
    position: Key | None = None
    #: The group's ready and running jobs, as counted in Turns._sizes; None if its held jobs are in Turns._held.
    size: int | None = 0
    #: How many jobs of the group are held, if they are counted in Turns._held.
    held: int = 0
    #: The group's rare fields; None if it has none.
    extras: GroupExtras | None = None

    def key(self, rank: Rank, taken: int, turn: int) -> Key:
        """The group's position if its next job has this rank; see OpenGroup."""
        return rank

    def position_below(self, cap: int) -> Key | None:
        """The position of a group without extras, if fewer than `cap` of its jobs are in progress; else None."""
        jobs = self.jobs
        if not jobs or (self.running >= cap and self.name is not None):
            return None
        return self.key(jobs[0] if isinstance(jobs, list) else next(iter(jobs)), 0, 0)

    @property
    def holder_uids(self) -> list[str]:
        """The uids of the jobs in progress, and of failed jobs that hold the group."""
        holders = self.holders
        return [holders] if isinstance(holders, str) else list(holders or ())

    @property
    def own_extras(self) -> GroupExtras:
        """The group's extras, made if it has none."""
        self.extras = self.extras or GroupExtras()
        return self.extras

    @property
    def is_gone(self) -> bool:
        """Whether the group has neither unfinished jobs nor rare fields."""
        return not (self.ready or self.delayed or self.running or self.extras)

    def available(self, jobs: Mapping[str, Job]) -> int:
        """How many of its jobs could be claimed without limits; `jobs` are all jobs of the queue."""
        return self.ready

    def first(self) -> Rank | None:
        """The rank of its first job."""
        return next(iter(self.jobs), None)

    def behind(self, rank: Rank | None) -> Iterator[Rank]:
        """The ranks of its jobs after a rank, or of all its jobs."""
        ranks = self.jobs
        if isinstance(ranks, SortedList):
            return ranks.behind(rank)
        return iter(ranks if rank is None else ranks[bisect_right(ranks, rank) :])

    def before(self, rank: Rank) -> int:
        """How many of its jobs come before a rank."""
        ranks = self.jobs
        return ranks.before(rank) if isinstance(ranks, SortedList) else bisect_left(ranks, rank)

    def add_ready(self, rank: Rank) -> bool:
        """Add a ready job to a group that is not in strict order; returns whether it is now the group's first."""
        jobs = self.jobs
        self.ready += 1
        # The usual cases of _with, without a call.
        if isinstance(jobs, list) and 0 < len(jobs) < _LONG:
            if rank > jobs[-1]:
                jobs.append(rank)
                return False
            insort(jobs, rank)
            return jobs[0] is rank
        self.jobs = _with(jobs, rank)
        return next(iter(self.jobs)) is rank

    def add_all(self, ranks: list[Rank]) -> None:
        """Add ready jobs without tags to a group that is not in strict order; sorts `ranks` itself too."""
        jobs = self.jobs
        self.ready += len(ranks)
        ranks.sort()
        if isinstance(jobs, SortedList):
            jobs.add_all(ranks)
            return
        # A copy reserves no room for more ranks, which saves 48 bytes for 10 ranks.
        self.jobs = sorted(jobs + ranks) if jobs else ranks.copy()
        if len(self.jobs) > _LONG:
            jobs = SortedList[Rank]()
            jobs.add_all(self.jobs)
            self.jobs = jobs

    def move(self, spec: Spec, was: Place | None, now: Place | None) -> bool:
        """Move a job to another place, or into or out of the queue; returns whether to place the group again."""
        if was is _READY:
            self.ready -= 1
            _remove(self.jobs, spec.rank)
        elif was is _INPROGRESS:
            self.running -= 1
            self._change_holder(spec.uid, -1)
        elif was is _DELAYED or was is _WAITING:
            self.delayed -= 1
        is_first = False
        if now is _READY:
            is_first = self.add_ready(spec.rank)
        elif now is _INPROGRESS:
            self.running += 1
            self._change_holder(spec.uid, 1)
        elif now is _DELAYED or now is _WAITING:
            self.delayed += 1
        if spec.tags and _READY in (was, now):
            self._move_tagged(spec, now is _READY)
            return True
        # All changes but these leave the group's position and its number of held jobs as they are.
        return (
            is_first
            or was is _READY
            or now is _INPROGRESS
            or self.position is None
            or (self.size is None and (self.held > 0 or self.extras is None or self.ready > self.extras.room))
            or (self.is_fair and was is _INPROGRESS)
        )

    def hold(self, job: Job | None, by: int) -> None:
        """
        Add or remove (`by`: 1 or -1) a job that holds the group until somebody retries or deletes the job. A job that
        has not failed, or was cancelled, is ignored.
        """
        if job is None or job.standing.state is not _FAILED or job.standing.notes.cancelled or self.name is None:
            return
        self.own_extras.failed += by
        self._change_holder(job.spec.uid, by)

    def _change_holder(self, uid: str, by: int) -> None:
        holders = self.holders
        if self.name is None:
            return
        if holders is None:
            self.holders = uid
        elif isinstance(holders, str):
            self.holders = {holders: None, uid: None} if by > 0 else None
        elif by > 0:
            holders[uid] = None
        elif len(holders) > 1:
            del holders[uid]
        else:
            self.holders = None

    def _move_tagged(self, spec: Spec, is_ready: bool) -> None:
        """Add a ready job to the ranks of its tags, or remove it."""
        extras = self.own_extras
        by_tags = extras.by_tags = extras.by_tags or {}
        ranks = by_tags.get(spec.tags, [])
        if is_ready:
            by_tags[spec.tags] = _with(ranks, spec.rank)
        else:
            _remove(ranks, spec.rank)
            if not ranks:
                del by_tags[spec.tags]

    def tagged(self, tags: Tags) -> Iterable[Rank]:
        """The ranks of its ready jobs with these tags."""
        return ((self.extras or NO_EXTRAS).by_tags or {})[tags]

    def positions_by_tags(self, first: Rank, jobs: Mapping[str, Job]) -> dict[Tags, Key]:
        """Its positions in the lists for tags, if it is open and `first` is its first job."""
        by_tags = (self.extras or NO_EXTRAS).by_tags or {}
        return {tags: self.key(next(iter(ranks)), 0, 0) for tags, ranks in by_tags.items()}


class FairGroup(Group):
    """A group in fair order."""

    is_fair = True
    #: The number of the claim that served the group last; until then, the number of the latest claim of any group when
    #: this group's first job arrived.
    served: int = 0

    def key(self, rank: Rank, taken: int, turn: int) -> Key:
        load: float = self.running + taken
        if self.extras is not None:
            load /= self.extras.settings.weight
        return (rank[0], load, turn or self.served, rank[1], rank[2])


class StrictGroup(Group):
    """A group in strict order: only its first unfinished job may be claimed."""

    is_strict = True

    @property
    def holder_uids(self) -> list[str]:
        """As in Group; if it has none of these, the uids of all its unfinished jobs: the first holds up the others."""
        return super().holder_uids or [rank[2] for rank in self.jobs]

    def available(self, jobs: Mapping[str, Job]) -> int:
        first = self.first()
        return 1 if first is not None and jobs[first[2]].ready else 0

    def _count(self, uid: str, place: Place | None, by: int) -> None:
        """Count a job of this place; `by` is 1 or -1."""
        if place is _INPROGRESS:
            self.running += by
            self._change_holder(uid, by)
        elif place is _READY:
            self.ready += by
        elif place is _DELAYED or place is _WAITING:
            self.delayed += by

    def move(self, spec: Spec, was: Place | None, now: Place | None) -> bool:
        self._count(spec.uid, was, -1)
        self._count(spec.uid, now, 1)
        if was in _UNFINISHED and now not in _UNFINISHED:
            _remove(self.jobs, spec.rank)
        elif now in _UNFINISHED and was not in _UNFINISHED:
            self.jobs = _with(self.jobs, spec.rank)
        return True

    def tagged(self, tags: Tags) -> Iterable[Rank]:
        return self.jobs

    def positions_by_tags(self, first: Rank, jobs: Mapping[str, Job]) -> dict[Tags, Key]:
        tags = jobs[first[2]].spec.tags
        return {tags: self.key(first, 0, 0)} if tags else {}


def made_group(name: str | None, order: GroupOrder, served: int) -> Group:
    """A new group; see `FairGroup.served`. In strict order, jobs without a group do not wait for one another."""
    if order is GroupOrder.FAIR:
        return FairGroup(name, served=served)
    return StrictGroup(name, size=None) if order is GroupOrder.STRICT and name is not None else Group(name)
