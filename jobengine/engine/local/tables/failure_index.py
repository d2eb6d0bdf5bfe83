"""The failures of one queue in memory, grouped by their fingerprints, and its jobs by mark."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from itertools import islice, takewhile
from typing import Any, Final

from attrs import define, field

from ....core.failures import (
    MOST_GROUPS,
    UIDS,
    Alike,
    FoundGroup,
    FoundPage,
    GroupPosition,
    failure_of,
    minutes_before,
)
from ....core.model import MINUTE, Job, Rank
from ....core.places import Mark, Place, mark_of
from ....core.stats import FailureCounts
from .sorted_list import SortedList
from .spread_dict import fitting

#: How many changes are collected, and how many groups may have changed before they are sorted: each takes a few
#: milliseconds if all jobs failed in different ways, and much less otherwise.
_PENDING: Final = 250
_UNSORTED: Final = 250
#: How many jobs one step of building visits, and how many failures it enters: at most a few milliseconds.
_VISITED: Final = 4_000
_ENTERED: Final = 250
#: Values that are freed in one step.
_FREED_AT_ONCE: Final = 1_000
#: The places of jobs that are tried again.
_QUEUED: Final = (Place.READY, Place.DELAYED, Place.WAITING)
#: A failure: its fingerprint, its time and its job's uid.
Entry = tuple[str, int, str]
#: With this character behind it, a fingerprint comes before all others that begin with it.
_NEXT: Final = "\0"


@define(eq=False)
class FailureIndex:
    """
    The failed jobs of a queue, and those that are tried again, by fingerprint and time.

    Nothing is indexed before the first read: until then a failure costs nothing here. From then on changes are
    collected, and applied together when somebody reads or if there are many: a run of them costs a small part of single
    ones. Groups are not limited in number here, so that the index depends on the jobs alone.
    """

    jobs: Mapping[str, Job]
    _places: Mapping[Place, SortedList[Rank]]
    #: All failures, by fingerprint and time.
    entries: SortedList[Entry] = field(factory=SortedList, init=False)
    #: (-number of jobs, fingerprint) of each group.
    groups: SortedList[tuple[int, str]] = field(factory=SortedList, init=False)
    #: How many jobs have each mark; counted before the first read too.
    marks: dict[int, int] = field(factory=lambda: dict.fromkeys(Mark, 0), init=False)
    #: How many jobs each group has, and how many of them failed in each minute of elapsed time.
    counts: MutableMapping[str, int] = field(factory=dict, init=False)
    minutes: MutableMapping[tuple[str, int], int] = field(factory=dict, init=False)
    #: The failure of each indexed job.
    failures: MutableMapping[str, Entry] = field(factory=dict, init=False)
    #: Whether it is built, or is being built.
    is_used: bool = field(default=False, init=False)
    #: The places whose jobs are not all visited yet; of the last one, the jobs up to the rank `_visited` are.
    _unvisited: list[Place] = field(factory=list, init=False)
    _visited: Rank | None = field(default=None, init=False)
    #: The pending changes, and the number of jobs before of each group that is not sorted yet.
    _entering: list[Entry] = field(factory=list, init=False)
    _leaving: list[Entry] = field(factory=list, init=False)
    _before: dict[str, int] = field(factory=dict, init=False)

    def change(self, old: Job | None, new: Job | None) -> None:
        """
        Replace a job by another of the same uid; None stands for no job.

        Not needed for a job that is neither failed nor tried again, before and after.
        """
        # Asked here, without a call: most jobs that fail have no mark.
        if old is not None and ((notes := old.standing.notes).retrying or notes.cancelled):
            self._count_mark(old, -1)
        if new is not None and ((notes := new.standing.notes).retrying or notes.cancelled):
            self._count_mark(new, 1)
        if self.is_used and (job := new or old) is not None:
            self._enter(job.spec.uid, new)

    def build_some(self) -> bool:
        """Index some jobs; returns whether others are missing. Yield to the reactor between calls."""
        if not self.is_used:
            self.is_used = True
            self._unvisited = [*(_QUEUED if self.marks[Mark.RETRYING] else ()), Place.FAILED]
        if not self._unvisited:
            return False
        entered, rank = 0, None
        ranks = islice(self._places[self._unvisited[-1]].behind(self._visited), _VISITED)
        while entered < _ENTERED and (rank := next(ranks, None)) is not None:
            self._visited = rank
            entered += self._enter(rank[2], self.jobs[rank[2]])
        if rank is None and next(self._places[self._unvisited[-1]].behind(self._visited), None) is None:
            self._unvisited.pop()
            self._visited = None
        return bool(self._unvisited)

    def dismantle(self) -> Iterator[None]:
        """Empty an index that nobody reads; each step frees a slice of it. The next read builds it again."""
        unused: tuple[SortedList[Entry], SortedList[tuple[int, str]]] = self.entries, self.groups
        kept: tuple[MutableMapping[Any, Any], ...] = self.failures, self.minutes, self.counts
        self.is_used, self._visited, self.entries, self.groups = False, None, SortedList(), SortedList()
        self.failures, self.minutes, self.counts, self._before = {}, {}, {}, {}
        for pending in (self._unvisited, self._entering, self._leaving):
            pending.clear()
        return _freed(unused, kept)

    def _enter(self, uid: str, job: Job | None) -> bool:
        """Index the present failure of a job instead of its earlier one; returns whether anything has changed."""
        was, failure = self.failures.get(uid), None if job is None else failure_of(job)
        now = None if failure is None else (*failure, uid)
        if was == now:
            return False
        if was is not None:
            del self.failures[uid]
            self._leaving.append(was)
        if now is not None:
            self.failures[uid] = now
            self._entering.append(now)
        if len(self._entering) > _PENDING or len(self._leaving) > _PENDING:
            self.update()
        return True

    def _count_mark(self, job: Job, by: int) -> None:
        mark = mark_of(job)
        if mark is not None:
            self.marks[mark] += by

    def update(self) -> None:
        """Apply the pending changes; groups are sorted when they are read, or if many have changed."""
        if self._entering:
            self._count(self._entering, 1)
            self.entries.add_all(self._entering)
            self._entering.clear()
        if self._leaving:
            self._count(self._leaving, -1)
            self.entries.remove_all(self._leaving)
            self._leaving.clear()
        self.failures = fitting(self.failures)
        self.counts, self.minutes = fitting(self.counts), fitting(self.minutes)
        if len(self._before) > _UNSORTED:
            self._sort()

    def _count(self, run: list[Entry], by: int) -> None:
        """Count the jobs of a run: those that enter come first, so that no number is ever below zero."""
        for name, number in Counter([name for name, _, _ in run]).items():
            count = self.counts.get(name, 0)
            self._before.setdefault(name, count)
            self.counts[name] = count + by * number
        for minute, number in Counter([(name, at // MINUTE) for name, at, _ in run]).items():
            in_minute = self.minutes.get(minute, 0) + by * number
            if in_minute:
                self.minutes[minute] = in_minute
            else:
                del self.minutes[minute]

    def _sort(self) -> None:
        """Bring the order of the groups up to date."""
        moved = [(was, self.counts[name], name) for name, was in self._before.items() if was != self.counts[name]]
        self.groups.add_all([(-now, name) for _, now, name in moved if now])
        self.groups.remove_all([(-was, name) for was, _, name in moved if was])
        for name in self._before:
            if not self.counts[name]:
                del self.counts[name]
        self._before.clear()

    def alike(self, name: str) -> Alike:
        """The jobs with this fingerprint."""
        self._complete()
        return self._alike(name)

    def _complete(self) -> None:
        """Bring the index up to date. An engine has called `build_some` before, so that little is left to do."""
        while self.build_some():
            pass
        self.update()

    def _alike(self, name: str) -> Alike:
        first = next(self.entries.behind((name,)), None)  # type: ignore[arg-type]
        return Alike() if first is None or first[0] != name else Alike(self.counts[name], first[1])

    def count(self, since: int) -> FailureCounts:
        """See Table.count_failures."""
        self._complete()
        self._sort()
        names = [name for _, name in islice(self.groups, MOST_GROUPS)]
        return FailureCounts(len(names), sum((self._alike(name).first or 0) > since for name in names))

    def page(self, after: GroupPosition | None, limit: int, now: int) -> FoundPage:
        """See Table.failures."""
        self._complete()
        self._sort()
        start = None if after is None else (-after[0], after[1])
        left = MOST_GROUPS if start is None else MOST_GROUPS - self.groups.before(start) - 1
        positions = list(islice(self.groups.behind(start), max(0, min(limit + 1, left))))
        more, positions = len(positions) > limit, positions[:limit]
        groups = [self._group(name, now) for _, name in positions]
        following = (-positions[-1][0], positions[-1][1]) if more else None
        return FoundPage(groups=groups, following=following, total=len(self.groups))

    def _group(self, name: str, now: int) -> FoundGroup:
        behind = self.entries.back_from((name + _NEXT, 0, ""))
        latest = islice(takewhile(lambda entry: entry[0] == name, behind), UIDS)
        return FoundGroup(
            alike=self._alike(name),
            minutes=[self.minutes.get((name, minute), 0) for minute in minutes_before(now)],
            latest=[self.jobs[uid] for _, _, uid in latest],
        )


def _freed(lists: Iterable[SortedList[Any]], dicts: Iterable[MutableMapping[Any, Any]]) -> Iterator[None]:
    """Free the memory of unused lists and dictionaries, a slice at each step."""
    for one in lists:
        while one.drop_block():
            yield
    for kept in dicts:
        while kept:
            for _ in range(min(_FREED_AT_ONCE, len(kept))):
                kept.popitem()
            yield
