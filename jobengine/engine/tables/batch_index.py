"""
The batches of one queue, and its finished jobs whose retention has not begun: it begins when their batch ends, or when
no unfinished job depends on them any more.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from itertools import takewhile
from typing import Final

from ...core.batches import Batch, BatchCounts, batch_of, end_of_batch, is_to_change, kept_after_end
from ...core.dead_letters import DUE
from ...core.model import COMPLETE, MINUTE, Job, Rank, State
from ...core.places import PLACES_OF, Place, place_of
from ...core.tables import BatchOver
from .name_index import Pending
from .sorted_list import SortedList

_FAILED: Final = State.FAILED
#: A tuple: to find a place in it takes less time than in a set.
FINISHED_PLACES: Final = (Place.COMPLETE, Place.FAILED)


class _Entry:
    """A batch with an index of its jobs."""

    __slots__ = ("batch", "deadline", "kept", "numbers")

    def __init__(self) -> None:
        #: None if the batch does not exist, as in a file that was tampered with.
        self.batch: Batch | None = None
        #: The number of the batch's jobs by place: a list, as a dict with states as keys takes three times as long.
        self.numbers: Final = [0] * (max(Place) + 1)
        #: Of each finished job: the milliseconds for which it is kept after the batch has ended, and its rank.
        self.kept: Final[SortedList[tuple[int, Rank]]] = SortedList()
        #: The batch's deadline as listed in BatchIndex.deadlines; None if it is not listed.
        self.deadline: int | None = None

    def counts(self) -> BatchCounts:
        """Its jobs by state."""
        found = ((state, sum(self.numbers[place] for place in PLACES_OF[state])) for state in State)
        return BatchCounts({state: number for state, number in found if number})

    @property
    def has_jobs(self) -> bool:
        """Whether any job belongs to it."""
        return any(self.numbers)

    @property
    def is_to_change(self) -> bool:
        """Whether it has to end or to be resumed."""
        return self.batch is not None and is_to_change(self.batch, self.counts())

    def next_deadline(self) -> int | None:
        """
        When the first job in `kept` is removed or, if the batch has no jobs, the batch. None before the batch has
        ended, and while none of its jobs is in `kept`.
        """
        if self.batch is None or self.batch.ended is None:
            return None
        first = self.kept.first()
        if first is not None:
            return self.batch.ended + first[0]
        return None if self.has_jobs else self.batch.ended + kept_after_end(self.batch)


class BatchIndex:
    """The batches of one queue, derived from its jobs and named things."""

    def __init__(self) -> None:
        #: Whether the queue has, or has had, a batch or a job whose retention is put off.
        self.is_used = False
        self.entries: Final[dict[str, _Entry]] = {}
        #: The uids of jobs whose retention is put off, because unfinished jobs depend on them.
        self.needed: Final[set[str]] = set()
        #: (deadline, name) of each batch that has one.
        self.deadlines: Final[SortedList[tuple[int, str]]] = SortedList()
        self._changed: Final[dict[str, None]] = {}
        #: The batches that have to end or to be resumed.
        self.to_change: Final[dict[str, None]] = {}
        #: The batches that have ended, or were resumed, since this was last emptied.
        self.ended: Final[dict[str, None]] = {}

    def set_item(self, name: str, value: str | None) -> None:
        """Record the new value of a batch."""
        entry = self._entry(name)
        old, entry.batch = entry.batch, None if value is None else batch_of(value)
        if end_of_batch(old) != end_of_batch(entry.batch):
            self.ended[name] = None

    def enter(self, job: Job, place: Place, entering: Pending) -> None:
        """Record a new job of a batch in this place."""
        self._entry(job.spec.rare.batch or "").numbers[place] += 1
        if place in FINISHED_PLACES:
            self._move_kept(job, entering)

    def leave(self, job: Job, leaving: Pending) -> None:
        """Record that a job of a batch was removed."""
        self._entry(job.spec.rare.batch or "").numbers[place_of(job.standing)] -= 1
        self._move_kept(job, leaving)

    def move(self, name: str, before: Place, after: Place) -> None:
        """Record that a job of a batch has moved to another place."""
        numbers = self._entry(name).numbers
        numbers[before] -= 1
        numbers[after] += 1

    def move_kept(self, old: Job, new: Job, entering: Pending, leaving: Pending) -> None:
        """Record a change of a job in a batch, if the job is finished before or after the change."""
        self._move_kept(old, leaving)
        self._move_kept(new, entering)

    def set_kept(self, uid: str, job: Job | None, entering: Pending, leaving: Pending, *, keeps: bool) -> None:
        """Record (`keeps`) whether unfinished jobs depend on a job; the job may be missing."""
        self.is_used = True
        if keeps:
            self._move_kept(job, leaving)
            self.needed.add(uid)
        else:
            self.needed.discard(uid)
            self._move_kept(job, entering)

    def deadline_of(self, job: Job) -> int | None:
        """The deadline of a job, unless its retention is put off or begins with the end of its batch."""
        standing, spec = job.standing, job.spec
        is_finished = standing.state is COMPLETE or (standing.state is _FAILED and standing.notes.dead_letter != DUE)
        if is_finished and (spec.uid in self.needed or (spec.rare.batch is not None and not standing.shift)):
            return None
        return job.deadline

    def _move_kept(self, job: Job | None, pending: Pending) -> None:
        """Enter a finished job, or take it out, if its retention begins with the end of its batch."""
        if job is not None and _is_kept_by_batch(job) and job.spec.uid not in self.needed:
            pending[self._entry(job.spec.rare.batch or "").kept].append(_kept_entry(job))

    def update(self) -> bool:
        """Bring deadlines up to date with the changes; returns whether there were changes."""
        if not self._changed:
            return False
        for name in self._changed:
            entry = self.entries[name]
            if entry.batch is None and not entry.has_jobs:
                del self.entries[name]
            self._set_deadline(name, entry, entry.next_deadline())
            if entry.is_to_change:
                self.to_change[name] = None
        self._changed.clear()
        return True

    def counts(self, name: str) -> BatchCounts:
        """The jobs of a batch by state."""
        entry = self.entries.get(name)
        return BatchCounts({}) if entry is None else entry.counts()

    def due(self, now: int, jobs: Mapping[str, Job]) -> Iterator[Job | BatchOver]:
        """The jobs, and batches without jobs, that are due to be removed."""
        for _, name in takewhile(lambda entry: entry[0] <= now, self.deadlines):
            entry = self.entries[name]
            ended = 0 if entry.batch is None or entry.batch.ended is None else entry.batch.ended
            if not entry.kept:
                yield BatchOver(name)
            yield from (jobs[rank[2]] for _, rank in takewhile(partial(_is_over, now - ended), entry.kept))

    def is_to_change(self, name: str) -> bool:
        """Whether a batch has to end or to be resumed."""
        entry = self.entries.get(name)
        return entry is not None and entry.is_to_change

    def _entry(self, name: str) -> _Entry:
        self.is_used = True
        self._changed[name] = None
        return self.entries.get(name) or self.entries.setdefault(name, _Entry())

    def _set_deadline(self, name: str, entry: _Entry, deadline: int | None) -> None:
        if deadline == entry.deadline:
            return
        if entry.deadline is not None:
            self.deadlines.remove_all([(entry.deadline, name)])
        if deadline is not None:
            self.deadlines.add_all([(deadline, name)])
        entry.deadline = deadline


def _is_over(since: int, kept: tuple[int, Rank]) -> bool:
    return kept[0] <= since


def _is_kept_by_batch(job: Job) -> bool:
    """
    Whether a job is finished and its retention begins with the end of its batch. If unfinished jobs have put its
    retention off, it begins without regard to the batch.
    """
    standing = job.standing
    is_finished = standing.state is COMPLETE or standing.state is _FAILED
    return is_finished and job.spec.rare.batch is not None and not standing.shift


def _kept_entry(job: Job) -> tuple[int, Rank]:
    """The milliseconds for which a finished job of a batch is kept after the end of the batch, and its rank."""
    keep = job.spec.keep
    minutes = keep.minutes if job.standing.state is COMPLETE else keep.failed_minutes
    return minutes * MINUTE, job.spec.rank
