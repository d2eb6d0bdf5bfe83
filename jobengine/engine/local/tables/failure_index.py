"""The failures of one queue in memory, grouped by their fingerprints, and its jobs by mark."""

from collections import Counter
from collections.abc import Mapping
from itertools import islice, takewhile
from typing import Final

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
from ....core.model import MINUTE, Job
from ....core.places import Mark, mark_of
from ....core.stats import FailureCounts
from .sorted_list import SortedList

#: How many changes are collected, and how many groups may have changed before they are sorted: each takes a few
#: milliseconds if all jobs failed in different ways, and much less otherwise.
_PENDING: Final = 250
_UNSORTED: Final = 250
#: With this character behind it, a fingerprint comes before all others that begin with it.
_NEXT: Final = "\0"


@define(eq=False)
class FailureIndex:
    """
    The failed jobs of a queue, and those that are tried again, by fingerprint and time.

    Changes are collected, and applied together when somebody reads or if there are many: a run of them costs a small
    part of single ones. Groups are not limited in number here, so that the index depends on the jobs alone.
    """

    _jobs: Mapping[str, Job]
    #: (fingerprint, time of the failure, uid) of each job.
    entries: SortedList[tuple[str, int, str]] = field(factory=SortedList, init=False)
    #: (-number of jobs, fingerprint) of each group.
    groups: SortedList[tuple[int, str]] = field(factory=SortedList, init=False)
    #: How many jobs have each mark.
    marks: dict[int, int] = field(factory=lambda: dict.fromkeys(Mark, 0), init=False)
    #: How many jobs each group has, and how many of them failed in each minute of elapsed time.
    counts: dict[str, int] = field(factory=dict, init=False)
    minutes: dict[tuple[str, int], int] = field(factory=dict, init=False)
    #: The pending changes, and the number of jobs before of each group that is not sorted yet.
    _entering: list[tuple[str, int, str]] = field(factory=list, init=False)
    _leaving: list[tuple[str, int, str]] = field(factory=list, init=False)
    _before: dict[str, int] = field(factory=dict, init=False)

    def change(self, old: Job | None, new: Job | None) -> None:
        """
        Replace a job by another of the same uid; None stands for no job.

        Not needed for a job that is neither failed nor tried again, before and after.
        """
        was = now = None
        if old is not None:
            was = failure_of(old)
            self._count_mark(old, -1)
        if new is not None:
            now = failure_of(new)
            self._count_mark(new, 1)
        if was == now:
            return
        if was is not None and old is not None:
            self._leaving.append((*was, old.spec.uid))
        if now is not None and new is not None:
            self._entering.append((*now, new.spec.uid))
        if len(self._entering) > _PENDING or len(self._leaving) > _PENDING:
            self.update()

    def _count_mark(self, job: Job, by: int) -> None:
        notes = job.standing.notes
        if (notes.retrying or notes.cancelled) and (mark := mark_of(job)) is not None:
            self.marks[mark] += by

    def update(self) -> None:
        """Apply the pending changes; groups are sorted when somebody asks, or if many have changed."""
        if self._entering:
            self._count(self._entering, 1)
            self.entries.add_all(self._entering)
            self._entering.clear()
        if self._leaving:
            self._count(self._leaving, -1)
            self.entries.remove_all(self._leaving)
            self._leaving.clear()
        if len(self._before) > _UNSORTED:
            self._sort()

    def _count(self, run: list[tuple[str, int, str]], by: int) -> None:
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
        self.update()
        return self._alike(name)

    def _alike(self, name: str) -> Alike:
        first = next(self.entries.behind((name,)), None)  # type: ignore[arg-type]
        return Alike() if first is None or first[0] != name else Alike(self.counts[name], first[1])

    def count(self, since: int) -> FailureCounts:
        """See Table.count_failures."""
        self.update()
        self._sort()
        names = [name for _, name in islice(self.groups, MOST_GROUPS)]
        return FailureCounts(len(names), sum((self._alike(name).first or 0) > since for name in names))

    def page(self, after: GroupPosition | None, limit: int, now: int) -> FoundPage:
        """See Table.failures."""
        self.update()
        self._sort()
        start = None if after is None else (-after[0], after[1])
        left = MOST_GROUPS if start is None else MOST_GROUPS - self.groups.before(start) - 1
        positions = list(islice(self.groups.behind(start), max(0, min(limit + 1, left))))
        more, positions = len(positions) > limit, positions[:limit]
        groups = [self._group(name, now) for _, name in positions]
        following = (-positions[-1][0], positions[-1][1]) if more else None
        return FoundPage(groups=groups, following=following, total=len(self.groups))

    def _group(self, name: str, now: int) -> FoundGroup:
        behind = self.entries.back_from((name + _NEXT,))  # type: ignore[arg-type]
        latest = islice(takewhile(lambda entry: entry[0] == name, behind), UIDS)
        return FoundGroup(
            alike=self._alike(name),
            minutes=[self.minutes.get((name, minute), 0) for minute in minutes_before(now)],
            latest=[self._jobs[uid] for _, _, uid in latest],
        )
