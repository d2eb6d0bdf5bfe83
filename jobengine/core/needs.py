"""
What a command needs of a queue's table, for an engine that keeps tables elsewhere and loads parts of them.

QueueCommand.needs derives it from the queue and the key's grant. A PartialTable holds exactly that. A rule that asks
for more raises NotLoaded instead of getting a wrong answer: then `needs` is wrong.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Final

from attrs import frozen
from msgspec import field

from .history import KeptPeriod
from .model import Job, Position, Queue, QueueCounts, Rank, State
from .sorting import Sort
from .tables import JobTable
from .values import Value

__all__ = ["NOTHING_MORE", "Needs", "NotLoaded", "PageOf", "PartialTable", "PartialTables", "ReadyOf"]


class ReadyOf(Value, frozen=True):
    """The first jobs that can be claimed."""

    #: At most this many.
    count: int
    #: Only jobs with all of these tags.
    tags: tuple[str, ...]


class PageOf(Value, frozen=True):
    """Jobs in some order, and whether more follow: see Table.page."""

    after: Position | None
    limit: int
    state: State | None
    sort: Sort | None = None


class Needs(Value, frozen=True, kw_only=True):
    """What a command needs besides the queue itself and its next arrival number."""

    #: The jobs with these uids, if they are there.
    uids: frozenset[str] = frozenset()
    #: The unfinished jobs with these unique keys.
    unique_keys: frozenset[str] = frozenset()
    ready: ReadyOf | None = None
    page: PageOf | None = None
    #: How many jobs there are.
    size: bool = False
    #: How many there are of each kind, and when the oldest of those that can be claimed was added.
    counts: bool = False
    #: The kept periods of its history.
    periods: bool = False
    #: How many jobs that can be claimed come before those with the uids.
    ahead: bool = False


#: For a command that needs only the queue.
NOTHING_MORE: Final = Needs()


class NotLoaded(Exception):
    """A rule asked for something that `needs` did not name."""


class PartialTable(Value, frozen=True, kw_only=True, gc=True):
    """A table of which only some is loaded. See Table for all that it does."""

    #: The queue, the jobs that were loaded, and the next arrival number.
    loaded: JobTable
    #: What was loaded.
    needs: Needs
    #: Figures that can't be computed from what was loaded; None where they are not needed.
    total: int | None = None
    kinds: QueueCounts | None = None
    oldest: int | None = None
    places: Mapping[Rank, int] = field(default_factory=dict)
    periods: Sequence[KeptPeriod] = ()

    @property
    def queue(self) -> Queue:
        """See Table."""
        return self.loaded.queue

    @property
    def next_arrival(self) -> int:
        """See Table."""
        return self.loaded.next_arrival

    def wall(self, now: int) -> int:
        """See Table."""
        return self.loaded.wall(now)

    def job(self, uid: str) -> Job | None:
        """See Table."""
        job = self.loaded.job(uid)
        if job is None and uid not in self.needs.uids:
            raise NotLoaded(f"job {uid}")
        return job

    def holders(self, unique_key: str) -> list[Job]:
        """See Table."""
        if unique_key not in self.needs.unique_keys:
            raise NotLoaded(f"the jobs with a unique key in {self.queue.name!r}")
        return self.loaded.holders(unique_key)

    def size(self) -> int:
        """See Table."""
        if self.total is None:
            raise NotLoaded(f"the size of {self.queue.name!r}")
        return self.total

    def ready_jobs(self, tags: tuple[str, ...] = ()) -> Iterator[Job]:
        """See Table; no more are loaded than were needed."""
        ready = self.needs.ready
        if ready is None or ready.tags != tags:
            raise NotLoaded(f"the ready jobs of {self.queue.name!r} with the tags {tags}")
        return self._first(ready)

    def _first(self, ready: ReadyOf) -> Iterator[Job]:
        for index, job in enumerate(self.loaded.ready_jobs(ready.tags)):
            if index == ready.count:
                break
            yield job
        else:
            # These are all the ready jobs.
            return
        raise NotLoaded(f"more than {ready.count} ready jobs of {self.queue.name!r}")

    def page(
        self, after: Position | None, limit: int, state: State | None = None, sort: Sort | None = None
    ) -> tuple[list[Job], Position | None]:
        """See Table; an engine that loads pages overrides this."""
        raise NotLoaded(f"a page of {self.queue.name!r} behind {after}, sorted by {sort}")

    def ahead(self, rank: Rank) -> int:
        """See Table."""
        if rank not in self.places:
            raise NotLoaded(f"how many jobs of {self.queue.name!r} are before {rank}")
        return self.places[rank]

    def counts(self) -> QueueCounts:
        """See Table."""
        if self.kinds is None:
            raise NotLoaded(f"the counts of {self.queue.name!r}")
        return self.kinds

    def oldest_ready(self) -> int | None:
        """See Table."""
        if not self.needs.counts:
            raise NotLoaded(f"the oldest job of {self.queue.name!r} that can be claimed")
        return self.oldest

    def kept_periods(self) -> Sequence[KeptPeriod]:
        """See Table."""
        if not self.needs.periods:
            raise NotLoaded(f"the history of {self.queue.name!r}")
        return self.periods

    def due(self, now: int) -> Iterator[Job]:
        """See Table: of those that are loaded."""
        return self.loaded.due(now)


@frozen
class PartialTables:
    """The tables of some queues: all that a command names and that are there."""

    queues: Mapping[str, PartialTable]
    #: How far the wall clock is ahead of elapsed time, in milliseconds.
    clock_ahead: int = 0
    #: The number of queues in the database; None if it was not loaded.
    number: int | None = None

    def count_queues(self) -> int:
        """See TableSet."""
        if self.number is None:
            raise NotLoaded("the number of queues")
        return self.number

    def wall(self, now: int) -> int:
        """See Table."""
        return now + self.clock_ahead

    def due(self, now: int) -> Iterator[tuple[str, Job]]:
        """See TableSet: of those that are loaded."""
        return chain.from_iterable(((name, job) for job in table.due(now)) for name, table in self.queues.items())
