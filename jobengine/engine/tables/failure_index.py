"""The failures of one queue in memory, grouped by their fingerprints, and its jobs by mark."""

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Final

from attrs import define, field
from msgspec.structs import replace

from ...core.failures import (
    MOST_GROUPS,
    UIDS,
    Alike,
    FoundGroup,
    FoundPage,
    GroupPosition,
    failure_of,
    minutes_before,
)
from ...core.model import MINUTE, Job, Rank
from ...core.places import Mark, Place, mark_of
from ...core.stats import FailureCounts
from .sorted_list import SortedList

#: How many groups are kept in addition to those that are listed: the more there are, the more seldom the smallest are
#: searched for and dropped.
_MORE_GROUPS: Final = 500
#: The most jobs that one step of building visits, and the most failures that it enters. A step takes a few
#: milliseconds.
_VISITED: Final = 4_000
_ENTERED: Final = 250
#: A dropped group with at most this many failures is freed at once; a larger group is freed in slices, at the next
#: read.
_FREED_AT_ONCE: Final = 20
#: The places of jobs that are tried again.
_QUEUED: Final = (Place.READY, Place.DELAYED, Place.WAITING)
#: A failure: its time and its job's uid.
Entry = tuple[int, str]


@define(eq=False)
class KeptGroup:
    """The failures of one fingerprint."""

    #: Whether the group has all failures of its fingerprint: false if an earlier group of this fingerprint may have
    #: been dropped.
    is_whole: bool
    entries: SortedList[Entry] = field(factory=SortedList, init=False)

    @property
    def alike(self) -> Alike:
        first = self.entries.first()
        return Alike() if first is None else Alike(len(self.entries), first[0])


@define
class FailureScan:
    """Visits the failures of a queue in slices; the jobs may change between two slices."""

    _places: Mapping[Place, SortedList[Rank]]
    #: The places with unvisited jobs; in the last one, the jobs up to the rank `_visited` are visited already.
    _unvisited: list[Place]
    _visited: Rank | None = field(default=None, init=False)

    def step(self, jobs: Mapping[str, Job]) -> list[tuple[str, Entry]]:
        """Visit some jobs, and return their failures, each with its fingerprint."""
        ranks, rank = self._places[self._unvisited[-1]], None
        found = list[tuple[str, Entry]]()
        some = islice(ranks.behind(self._visited), _VISITED)
        while len(found) < _ENTERED and (rank := next(some, None)) is not None:
            self._visited = rank
            failure = failure_of(jobs[rank[2]])
            if failure is not None:
                found.append((failure[0], (failure[1], rank[2])))
        if rank is None and next(ranks.behind(self._visited), None) is None:
            self._unvisited.pop()
            self._visited = None
        return found

    @property
    def is_done(self) -> bool:
        return not self._unvisited


@define(eq=False)
class FailureIndex:
    """
    The failed jobs of a queue, and those that are tried again, by fingerprint and time.

    Nothing is indexed before the first read: until then a failure costs nothing here. If there would be more than
    MOST_GROUPS + _MORE_GROUPS groups, the smallest are dropped until MOST_GROUPS are left; of equally large groups,
    those with the latest failures stay. A later failure with the fingerprint of a dropped group begins a new group,
    without the earlier jobs. If groups were dropped during building, all jobs are visited once more, to complete the
    kept groups. So a job that leaves may be missing from its group, and a visited job may be there already.
    """

    jobs: Mapping[str, Job]
    _places: Mapping[Place, SortedList[Rank]]
    #: The groups by fingerprint; none is empty.
    groups: dict[str, KeptGroup] = field(factory=dict, init=False)
    #: How many jobs have each mark; counted before the first read too.
    marks: dict[int, int] = field(factory=lambda: dict.fromkeys(Mark, 0), init=False)
    #: Whether the index is built, or is being built.
    is_used: bool = field(default=False, init=False)
    _building: FailureScan | None = field(default=None, init=False)
    #: While all jobs are visited once more: the groups that the first visit has kept.
    _again: list[KeptGroup] | None = field(default=None, init=False)
    #: Dropped groups whose memory is not freed yet.
    _unused: list[KeptGroup] = field(factory=list, init=False)
    #: Whether groups were dropped since the first read.
    _has_dropped: bool = field(default=False, init=False)

    def change(self, old: Job | None, new: Job | None) -> None:
        """
        Replace a job by another of the same uid; None stands for no job.

        Not needed for a job that, before and after the change, neither has failed nor is tried again.
        """
        # Most jobs that fail have no mark: save a call for each.
        if old is not None and ((notes := old.standing.notes).retrying or notes.cancelled):
            self._count_mark(old, -1)
        if new is not None and ((notes := new.standing.notes).retrying or notes.cancelled):
            self._count_mark(new, 1)
        if not self.is_used:
            return
        was = None if old is None else failure_of(old)
        now = None if new is None else failure_of(new)
        if old is not None and was is not None and was != now:
            self._leave(was[0], (was[1], old.spec.uid))
        if new is not None and now is not None:
            self._enter(now[0], (now[1], new.spec.uid))

    def build_some(self) -> bool:
        """Index some more jobs; returns whether any are left: if so, call it again in a later turn of the reactor."""
        if not self.is_used:
            self.is_used, self._building = True, self._scan()
        if self._building is None:
            return False
        for name, entry in self._building.step(self.jobs):
            if self._again is None or name in self.groups:
                self._enter(name, entry)
        if self._building.is_done:
            self._building = self._next_scan()
        return self._building is not None

    def _next_scan(self) -> FailureScan | None:
        if self._has_dropped and self._again is None:
            self._again = list(self.groups.values())
            return self._scan()
        for group in self._again or ():
            group.is_whole = True
        self._again = None
        return None

    def _scan(self) -> FailureScan:
        return FailureScan(self._places, [*(_QUEUED if self.marks[Mark.RETRYING] else ()), Place.FAILED])

    def dismantle(self) -> Iterator[None]:
        """Empty an index that nobody reads; each step frees a slice of it. The next read builds it again."""
        self._unused += self.groups.values()
        self.groups, self.is_used, self._has_dropped = {}, False, False
        self._building = self._again = None
        return self.free_unused()

    @property
    def has_unused(self) -> bool:
        """Whether there are dropped groups to be freed."""
        return bool(self._unused)

    def free_unused(self) -> Iterator[None]:
        """Free the memory of dropped groups, a slice at each step."""
        unused, self._unused = self._unused, []
        return _freed(unused)

    def _count_mark(self, job: Job, by: int) -> None:
        mark = mark_of(job)
        if mark is not None:
            self.marks[mark] += by

    def _enter(self, name: str, entry: Entry) -> None:
        """Add a failure unless it is there."""
        group = self.groups.get(name)
        if group is None:
            if len(self.groups) >= MOST_GROUPS + _MORE_GROUPS:
                self._drop()
            group = self.groups[name] = KeptGroup(not self._has_dropped)
        if entry not in group.entries:
            group.entries.add_all([entry])

    def _leave(self, name: str, entry: Entry) -> None:
        """Remove a failure if it is there."""
        group = self.groups.get(name)
        if group is None or entry not in group.entries:
            return
        group.entries.remove_all([entry])
        if not group.entries:
            del self.groups[name]

    def _drop(self) -> None:
        """Drop the smallest groups; of equally large groups, those whose last failure is the oldest."""
        sizes = [(len(one.entries), next(one.entries.back_from(None)), name) for name, one in self.groups.items()]
        for _, _, name in sorted(sizes)[: len(sizes) - MOST_GROUPS]:
            dropped = self.groups.pop(name)
            if len(dropped.entries) > _FREED_AT_ONCE:
                self._unused.append(dropped)
        self._has_dropped = True

    def _complete(self) -> None:
        """Build the rest of the index. An engine has built all of it before it reads, with calls of `build_some`."""
        while self.build_some():
            pass

    def _total(self) -> int:
        """The number of failures in all groups, also in those that were dropped."""
        return len(self._places[Place.FAILED]) - self.marks[Mark.CANCELLED] + self.marks[Mark.RETRYING]

    def alike(self, name: str) -> Alike:
        """How many jobs the group of this fingerprint has, and when the first of them failed."""
        self._complete()
        group = self.groups.get(name)
        return Alike(at_least=True) if group is None else replace(group.alike, at_least=not self._is_whole(group))

    def _is_whole(self, group: KeptGroup) -> bool:
        """Whether a group has all its jobs."""
        return group.is_whole or self._total() == sum(len(one.entries) for one in self.groups.values())

    def count(self, since: int) -> FailureCounts:
        """The number of groups, and of groups that began after a time; see Table.count_failures."""
        self._complete()
        new = sum((group.alike.first or 0) > since for group in self.groups.values())
        return FailureCounts(min(len(self.groups), MOST_GROUPS), min(new, MOST_GROUPS))

    def page(self, after: GroupPosition | None, limit: int, now: int) -> FoundPage:
        """A page of the groups; see Table.failures."""
        listed = self._listed()
        start = 0 if after is None else bisect_right(listed, (-after[0], after[1]))
        positions = listed[start : start + limit]
        has_more = start + limit < len(listed)
        return FoundPage(
            groups=[self._group(self.groups[name], now) for _, name in positions],
            following=(-positions[-1][0], positions[-1][1]) if has_more else None,
            dropped=self._total() + sum(less for less, _ in listed),
        )

    def _listed(self) -> list[tuple[int, str]]:
        """(-number of jobs, fingerprint) of the MOST_GROUPS largest groups, in order."""
        self._complete()
        return sorted((-len(group.entries), name) for name, group in self.groups.items())[:MOST_GROUPS]

    def _group(self, group: KeptGroup, now: int) -> FoundGroup:
        minutes = minutes_before(now)
        edges = [(minute * MINUTE, "") for minute in (*minutes, minutes.stop)]
        latest = islice(group.entries.back_from(None), UIDS)
        return FoundGroup(
            alike=group.alike, minutes=group.entries.counts(edges), latest=[self.jobs[uid] for _, uid in latest]
        )


def _freed(groups: list[KeptGroup]) -> Iterator[None]:
    """Free the memory of unused groups, a slice at each step."""
    while groups:
        if not groups[-1].entries.drop_block():
            groups.pop()
        yield
