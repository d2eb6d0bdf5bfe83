"""The jobs of one queue by their tags and unique keys."""

from collections.abc import Iterable, Mapping
from heapq import merge
from typing import Any, Final

from ...core.key_holders import may_hold
from ...core.model import Job, Rank
from ...core.places import Place
from .sorted_list import SortedList
from .spread_dict import Entries

_READY: Final = Place.READY
_EMPTY: Final[SortedList[Rank]] = SortedList()
#: Changes of sorted lists that are carried out together; see QueueTable.
Pending = Mapping[SortedList[Any], list[Any]]


class NameIndex:
    """Indexes of one queue: its ready jobs by tag, and by unique key the jobs that may hold the key."""

    def __init__(self) -> None:
        #: The ranks of ready jobs by tag.
        self.ready_by_tag: Final[dict[str, SortedList[Rank]]] = {}
        #: The ranks of ready jobs with two tags or more, by all their tags: a claim with two tags skips jobs that have
        #: only one of them.
        self.ready_by_tags: Final[dict[tuple[str, ...], SortedList[Rank]]] = {}
        #: The uids of the jobs that may hold a unique key, by key: one or two, unless finished jobs were queued again.
        self.unique: Entries[str, dict[str, None]] = {}
        #: Tags, and combinations of tags, that lost a ready job and may have none left.
        self.left_tags: Final[dict[str, None]] = {}
        self._left_combinations: Final[dict[tuple[str, ...], None]] = {}

    def enter(self, place: Place, job: Job, entering: Pending) -> None:
        """Enter a job in this place under its tags and its unique key."""
        spec = job.spec
        if spec.tags and place is _READY:
            for tag in spec.tags:
                entering[self.ready_by_tag.setdefault(tag, SortedList())].append(spec.rank)
            if len(spec.tags) > 1:
                entering[self.ready_by_tags.setdefault(spec.tags, SortedList())].append(spec.rank)
        if spec.rare.unique_key is not None:
            self._enter_key(job)

    def leave(self, place: Place, job: Job, leaving: Pending) -> None:
        """Remove a job that was in this place."""
        spec = job.spec
        if spec.tags and place is _READY:
            for tag in spec.tags:
                leaving[self.ready_by_tag[tag]].append(spec.rank)
                self.left_tags[tag] = None
            if len(spec.tags) > 1:
                leaving[self.ready_by_tags[spec.tags]].append(spec.rank)
                self._left_combinations[spec.tags] = None
        if spec.rare.unique_key is not None:
            self._leave_key(job)

    def move(self, was: Place, old: Job, now: Place, new: Job, entering: Pending, leaving: Pending) -> None:
        """Move a job of which only the standing has changed, given its places before and after."""
        if was is not now:
            self.leave(was, old, leaving)
            self.enter(now, new, entering)
        elif new.spec.rare.unique is not None:
            self._leave_key(old)
            self._enter_key(new)

    def _enter_key(self, job: Job) -> None:
        key = job.spec.rare.unique_key
        if key is not None and may_hold(job):
            self.unique.setdefault(key, {})[job.spec.uid] = None

    def _leave_key(self, job: Job) -> None:
        key = job.spec.rare.unique_key
        if key is not None and may_hold(job):
            del self.unique[key][job.spec.uid]
            if not self.unique[key]:
                del self.unique[key]

    def forget_tags(self) -> None:
        """Drop the lists of tags without ready jobs, once the pending changes were carried out."""
        for tag in self.left_tags:
            if not self.ready_by_tag[tag]:
                del self.ready_by_tag[tag]
        self.left_tags.clear()
        for tags in self._left_combinations:
            if not self.ready_by_tags[tags]:
                del self.ready_by_tags[tags]
        self._left_combinations.clear()

    def ready_ranks(self, tags: tuple[str, ...], jobs: Mapping[str, Job]) -> Iterable[Rank]:
        """The ranks of ready jobs that have all of `tags`, in order, given all jobs."""
        wanted = frozenset(tags)
        narrowest = min((self.ready_by_tag.get(tag, _EMPTY) for tag in wanted), key=len)
        if len(wanted) == 1:
            return narrowest
        if len(self.ready_by_tags) <= len(narrowest):
            return merge(*(ranks for combination, ranks in self.ready_by_tags.items() if wanted.issubset(combination)))
        return (rank for rank in narrowest if wanted.issubset(jobs[rank[2]].spec.tags))
