"""What was loaded for a batch, as tables on which the rules can decide."""

from collections.abc import Container, Iterator, Mapping, Sequence
from itertools import takewhile
from typing import Final

from attrs import define, field

from ....core import commands as c
from ....core.errors import JobDamaged
from ....core.history import KeptPeriod
from ....core.model import Job, Position, Rank, State
from ....core.required_rows import Needs
from ....core.sorting import Sort
from ....core.stats import QueueCounts
from ..database.rows import RowRank, rank_of
from .begin import Now
from .pages import PageRows
from .plan import PlannedCommand, PlannedPart, Task
from .tables import NotLoaded, PartialTable, PartialTables, SmallTables

__all__ = ["Loaded"]

_COUNTED: Final = Needs(counts=True, periods=True)
#: Commands whose caller is told of a damaged job. Others pass over it.
_NAMING: Final = (c.AddJobs, c.DeleteJob, c.ExplainJob, c.ReadJob, c.UpdateJob, c.UpdateJobs)
#: A kind of claim: the name of a queue, and tags.
Kind = tuple[str, tuple[str, ...]]


class _Part(PartialTable, frozen=True, kw_only=True, gc=True):
    """A part of a table; the database finds its page."""

    paged: PageRows | None = None
    #: See Loaded.
    cut: Mapping[Kind, RowRank]
    #: The uids of damaged jobs that a command names.
    damaged: Container[str] = ()

    def job(self, uid: str) -> Job | None:
        """See Table; raises JobDamaged."""
        if self.damaged and uid in self.damaged:
            raise JobDamaged(uid)
        return super().job(uid)

    def ready_jobs(self, tags: tuple[str, ...] = ()) -> Iterator[Job]:
        """See Table; ends where loading did, since jobs that come later may be loaded for other reasons."""
        jobs, last = super().ready_jobs(tags), self.cut.get((self.queue.name, tags))
        return jobs if last is None else takewhile(lambda job: rank_of(job) <= last, jobs)

    def page(
        self, after: Position | None, limit: int, state: State | None = None, sort: Sort | None = None
    ) -> tuple[list[Job], Position | None]:
        """See Table; jobs that were removed since the page was found are left out."""
        if self.paged is None:
            raise NotLoaded(f"a page of {self.queue.name!r}")
        jobs = [job for uid in self.paged.uids if (job := self.loaded.job(uid)) is not None]
        return jobs, self.paged.following


@define(kw_only=True)
class Loaded:
    """What was loaded for a batch."""

    now: Now
    planned: Sequence[PlannedCommand]
    tables: SmallTables = field(init=False)
    #: Whether all jobs that were loaded are locked, or none; only locked ones may be changed.
    locked: bool
    #: How many jobs each limited queue had.
    sizes: dict[str, int] = field(factory=dict)
    counts: dict[str, QueueCounts] = field(factory=dict)
    oldest: dict[str, int | None] = field(factory=dict)
    #: The kept periods of histories.
    periods: dict[str, list[KeptPeriod]] = field(factory=dict)
    places: dict[Rank, int] = field(factory=dict)
    #: How many queues there are; see statements.queues_counted. None if no command needs that.
    number_of_queues: int | None = None
    page: PageRows | None = None
    #: The queues in which a claim has found no job but locked ones.
    passed_over: set[str] = field(factory=set)
    #: By queue and tags: the last job that was loaded for claims, where others were not, since contents are long.
    cut: dict[Kind, RowRank] = field(factory=dict)
    #: By queue number: how many jobs were locked for claims, and the rank of the last one.
    claimed: dict[int, tuple[int, RowRank]] = field(factory=dict)
    #: The uids of damaged jobs that were loaded by uid.
    damaged: dict[str, set[str]] = field(factory=dict)
    #: How many jobs of each queue were loaded.
    _loaded: dict[str, int] = field(factory=dict)

    def fill(self, jobs: Mapping[str, dict[str, Job]], arrival: int) -> None:
        """Put loaded jobs into the tables; `arrival` is the arrival number of the next job that is added."""
        self.tables = SmallTables(self.now.ahead)
        for name, known in self.now.known.items():
            its = jobs.get(name, {})
            self.tables.add(known.queue, its, arrival)
            self._loaded[name] = len(its)

    def part(self, name: str, its_needs: Needs, command: Task | None = None) -> PartialTable:
        """The table of a queue, as far as a command needs it. Commands that name jobs fail for damaged ones."""
        table = self.tables.queues[name]
        added = len(table.jobs) - self._loaded[name]
        return _Part(
            loaded=table,
            paged=self.page,
            cut=self.cut,
            damaged=self.damaged.get(name, ()) if self.damaged and isinstance(command, _NAMING) else (),
            needs=its_needs,
            total=self.sizes[name] + added if its_needs.size else None,
            kinds=self.counts[name] if its_needs.counts else None,
            oldest=self.oldest[name] if its_needs.counts else None,
            places=self.places,
            periods=self.periods.get(name, ()),
        )

    def lacks_jobs(self, part: PlannedPart) -> bool:
        """Whether a claim finds no job, because those before it took all that were loaded; the database has more."""
        ready, name = part.needs.ready, part.command.queue
        if ready is None or (name, ready.tags) not in self.cut:
            return False
        return next(self.part(name, part.needs).ready_jobs(ready.tags), None) is None

    def all_queues(self) -> PartialTables:
        """All queues, with the figures of those that were asked for."""
        parts = {name: self.part(name, _COUNTED if name in self.counts else Needs()) for name in self.tables.queues}
        return PartialTables(parts, self.now.ahead, self.number_of_queues)
