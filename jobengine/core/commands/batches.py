"""Batches: creating, closing and reading them."""

from collections.abc import Sequence
from itertools import islice

from msgspec.structs import replace

from ..access import PRODUCERS, READERS, WORKERS
from ..batches import BATCH, MOST_BATCHES, Batch, BatchCounts, batch_of, batch_text
from ..dependencies import batch_key
from ..errors import ThenExists, TooManyBatches
from ..facts import ItemSet
from ..model import Grant, Queue
from ..required_rows import Needs
from ..tables import NOTHING, Decision, NewId, RecentActivity, Table
from ..values import Value
from .adding import Adding, AddingCommand
from .batch_members import existing_batch
from .command import QueueCommand
from .new_job import NewJob

__all__ = ["BatchPage", "BatchReport", "CloseBatch", "ListBatches", "ReadBatch", "SetBatch"]


class BatchReport(Value, frozen=True, kw_only=True):
    """A batch with its job counts, as commands return it."""

    name: str
    batch: Batch
    counts: BatchCounts
    #: Whether the request has created the batch.
    new: bool = False

    def at_wall_clock(self, ahead: int) -> "BatchReport":
        batch = self.batch
        ended = None if batch.ended is None else batch.ended + ahead
        return replace(self, batch=replace(batch, created=batch.created + ahead, ended=ended))


class SetBatch(AddingCommand[BatchReport], frozen=True, kw_only=True):
    """Create a batch with the job that is released at its end; an existing batch stays as it is."""

    roles = PRODUCERS
    is_batched = True

    name: str
    #: The job that is released at the end of the batch; None without one.
    then: NewJob | None = None

    @property
    def new_jobs(self) -> Sequence[NewJob]:
        """The job at the end, which depends on the batch too."""
        if self.then is None:
            return ()
        return (replace(self.then, depends_on=(*self.then.depends_on, (self.queue, batch_key(self.name)))),)

    def needs(self, queue: Queue, grant: Grant) -> Needs:
        needs = super().needs(queue, grant)
        its = frozenset([(BATCH, self.name)])
        numbers, counted = frozenset([BATCH]), frozenset([self.name])
        return replace(needs, items=needs.items | its, numbers=numbers, counted_batches=counted)

    def decide_with(self, adding: Adding) -> Decision[BatchReport]:
        """Raises TooManyBatches, ThenExists, and the errors of AddJobs."""
        table = adding.table
        text = table.item(BATCH, self.name)
        if text is not None:
            return NOTHING, _report(table, self.name, batch_of(text))
        if table.number_of(BATCH) >= MOST_BATCHES:
            raise TooManyBatches(MOST_BATCHES)
        added = adding.add_all(self.new_jobs, many=False)
        if added and not added[0].new:
            raise ThenExists(added[0].job.spec.uid)
        batch = Batch(created=adding.now, then=added[0].job.spec.uid if added else None)
        created = ItemSet(self.queue, BATCH, self.name, batch_text(batch))
        return [created, *adding.facts()], replace(_report(table, self.name, batch), new=True)


class _BatchCommand(QueueCommand[BatchReport], frozen=True, kw_only=True):
    """A command about one batch."""

    name: str

    def needs(self, queue: Queue, grant: Grant) -> Needs:
        return Needs(items=frozenset([(BATCH, self.name)]), counted_batches=frozenset([self.name]))


class CloseBatch(_BatchCommand, frozen=True, kw_only=True):
    """Close a batch: it ends once all its jobs are finished."""

    roles = PRODUCERS
    reads = False
    is_batched = True

    def decide_in(
        self, table: Table, grant: Grant, now: int, new_id: NewId, activity: RecentActivity
    ) -> Decision[BatchReport]:
        """Raises BatchNotFound."""
        old = existing_batch(table, self.name)
        new = replace(old, open=False)
        facts = NOTHING if new == old else [ItemSet(self.queue, BATCH, self.name, batch_text(new))]
        return facts, _report(table, self.name, new)


class ReadBatch(_BatchCommand, frozen=True, kw_only=True):
    """Read a batch with the number of its jobs."""

    roles = READERS | PRODUCERS | WORKERS
    reads = True

    def decide_in(
        self, table: Table, grant: Grant, now: int, new_id: NewId, activity: RecentActivity
    ) -> Decision[BatchReport]:
        """Raises BatchNotFound."""
        return NOTHING, _report(table, self.name, existing_batch(table, self.name))


class BatchPage(Value, frozen=True, kw_only=True):
    """Some batches of a queue, by name."""

    batches: Sequence[BatchReport]
    #: The `after` of the next page; None after the last page.
    following: str | None

    def at_wall_clock(self, ahead: int) -> "BatchPage":
        return replace(self, batches=[one.at_wall_clock(ahead) for one in self.batches])


class ListBatches(QueueCommand[BatchPage], frozen=True, kw_only=True):
    """Read a page of batches, by name."""

    roles = READERS
    reads = True

    #: Start after this name; None starts at the first.
    after: str | None = None
    #: The most batches of the page.
    limit: int

    def needs(self, queue: Queue, grant: Grant) -> Needs:
        return Needs(kinds=frozenset([BATCH]), counts_batches=True)

    def decide_in(
        self, table: Table, grant: Grant, now: int, new_id: NewId, activity: RecentActivity
    ) -> Decision[BatchPage]:
        after = self.after
        rest = ((name, text) for name, text in table.items(BATCH) if after is None or name > after)
        some = list(islice(rest, self.limit + 1))
        found = [_report(table, name, batch_of(text)) for name, text in some[: self.limit]]
        return NOTHING, BatchPage(batches=found, following=found[-1].name if len(some) > self.limit else None)


def _report(table: Table, name: str, batch: Batch) -> BatchReport:
    return BatchReport(name=name, batch=batch, counts=table.batch_counts(name))
