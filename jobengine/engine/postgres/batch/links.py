"""
The dependencies and batches of jobs that a transaction writes, once its commands are decided.

If no changed job has any, nothing is written; one check of each changed job finds that out.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from attrs import define, field

from ....core.batches import BATCH, batch_of
from ....core.dependants import end_of_job
from ....core.dependencies import Awaited, batch_in
from ....core.effects import Effect, ItemEffect
from ....core.facts import Fact, QueueDeleted
from ....core.model import UNFINISHED, Job
from ....core.places import Place, place_of
from ..database.arrays import bigints, byteas
from ..database.dependency_rows import (
    MARKS,
    BatchDeltas,
    Child,
    Link,
    Parent,
    awaited_set,
    batch_parent,
    batches_counted,
    ended_left,
    is_finished,
    kept_for,
    links_deleted,
    links_of,
    links_written,
    parent_of,
)
from ..database.pipeline import Row, Statement
from ..database.rows import Known, Rows
from ..sql import named
from .loaded import LoadedTables
from .tables import LoadedTable
from .write import Change, Linked

_UNFINISHED_PLACES: Final = [int(place) for place in Place if place.state in UNFINISHED]
_UNFINISHED_BATCHES: Final = named("unfinished_batches")


def links_of_batch(
    rows: Rows,
    loaded: LoadedTables,
    changes: Sequence[Change],
    rare: Sequence[Change],
    effects: Sequence[Effect],
    facts: Sequence[Fact],
) -> "BatchLinks | None":
    """The changes of dependencies and batches to write; None if there are none. For `rare` see with_rare_fields."""
    known, tables = loaded.now.known, loaded.queues
    linked = [one for one in rare if _is_linked(one)]
    its = [(known[name].id, table) for name, table in tables.items() if name in known]
    awaited = {(number, uid) for number, table in its for uid in table.awaited}
    freed = {(number, uid) for number, table in its for uid in table.freed}
    if awaited or freed:
        linked = [one for one in changes if _is_linked(one) or (one.queue.id, one.uid) in awaited | freed]
    items = [one for one in effects if isinstance(one, ItemEffect) and one.kind == BATCH]
    gone = [fact.name for fact in facts if isinstance(fact, QueueDeleted)]
    if not (linked or items or gone):
        return None
    links = BatchLinks(rows, known, tables, Linked(awaited, freed), bool(loaded.followed))
    links.note(linked, changes)
    for effect in items:
        links.note_item(effect)
    for name in gone:
        links.eager[rows.name(name), ""] = None
    return links


def _is_new(change: Change) -> bool:
    """Whether a job was added, not moved here. The jobs on which an added job depends have been loaded already."""
    return change.old is None and change.new is not None and change.new.spec.rare.moved_from is None


def _is_linked(change: Change) -> bool:
    """Whether a job belongs to a batch or depends on others, or did so before."""
    new, old = change.new, change.old
    if new is not None and _has_links(new):
        return True
    if old is None or (new is not None and new.spec is old.spec):
        return False
    return _has_links(old)


def _has_links(job: Job) -> bool:
    return job.spec.rare.batch is not None or job.spec.rare.dependencies is not None


@define
class BatchLinks:
    """The dependencies and batches that a batch changes."""

    rows: Rows
    known: Mapping[str, Known]
    tables: Mapping[str, LoadedTable]
    linked: Linked
    #: Whether the transaction is a follow-up (see follow.py), which reads some jobs without locking them.
    is_follow_up: bool
    #: The ends to follow up before the callers are answered.
    eager: dict[Parent, None] = field(factory=dict, init=False)
    #: The ends whose following up may wait.
    lazy: dict[Parent, None] = field(factory=dict, init=False)
    _written: dict[tuple[Child, Parent], Link] = field(factory=dict, init=False)
    _deleted: list[tuple[Child, Parent]] = field(factory=list, init=False)
    #: The jobs on which others depend now, and which are not changed otherwise; with their column `kept`.
    _awaited: dict[Child, int | None] = field(factory=dict, init=False)
    _counts: BatchDeltas = field(factory=Counter, init=False)
    #: The batches of which a job has finished or was removed: queue number and key, with the parent.
    _of_batches: dict[tuple[int, bytes], Parent] = field(factory=dict, init=False)

    def note(self, linked: Sequence[Change], changes: Sequence[Change]) -> None:
        """Record the changes of linked jobs; `changes` are those of all jobs."""
        changed = {(one.queue.id, one.uid) for one in changes}
        for one in linked:
            self._note_links(one, changed)
            self._note_batch(one)
        for one in changes if self.linked.awaited else ():
            if not self.linked.awaits(one):
                continue
            if end_of_job(one.old) != end_of_job(one.new):
                self.eager[self.rows.name(one.queue.queue.name), one.uid] = None
            elif one.new is not None and is_finished(one.new) and not self.linked.frees(one):
                # This change puts off the job's retention, although perhaps no job depends on it any more: a follow-up
                # finds out.
                self.lazy[self.rows.name(one.queue.queue.name), one.uid] = None

    def note_item(self, effect: ItemEffect) -> None:
        """Record a change of a batch of jobs: it may have ended, or have to end."""
        if effect.old is None or effect.new is None:
            return
        old, new = batch_of(effect.old), batch_of(effect.new)
        if (old.open, old.ended, old.failed) != (new.open, new.ended, new.failed):
            self.eager[self.rows.name(effect.queue), batch_parent(self.rows.item(BATCH, effect.name))] = None

    def before_counts(self) -> list[Statement]:
        """The statements that write dependencies and the column `awaited`; execute them after the jobs are written."""
        return [*awaited_set(self._awaited), *links_deleted(self._deleted), *links_written(self._written)]

    def counts(self, slot: int) -> list[Statement]:
        """The statement that counts the jobs of batches, in this slot of the table `batch_tally`."""
        return batches_counted(self._counts, slot)

    def last(self, now: int) -> Iterator[Statement]:
        """The last statements before the commit; `take_unfinished` takes the answer to the last of them."""
        yield from ended_left([*self.eager, *self.lazy, *self._of_batches.values()], now)
        if self._of_batches:
            yield _UNFINISHED_BATCHES(
                queue_ids=bigints([one[0] for one in self._of_batches]),
                batches=byteas([one[1] for one in self._of_batches]),
                places=bigints(_UNFINISHED_PLACES),
            )

    def take_unfinished(self, answer: Iterable[Row]) -> None:
        """Let the follow-up of batches wait if they seem to have unfinished jobs; `answer` lists these batches."""
        unfinished = {(queue_id, key) for queue_id, key in answer} if self._of_batches else set()
        for place, parent in self._of_batches.items():
            (self.lazy if place in unfinished else self.eager)[parent] = None

    # Dependencies

    def _note_links(self, one: Change, changed: set[Child]) -> None:
        was, now = links_of(one.old), links_of(one.new)
        if was == now:
            return
        child = (one.queue.id, one.uid)
        for awaited, link in now.items():
            if was.get(awaited) != link:
                self._written[child, parent_of(self.rows, awaited)] = link
            if awaited not in was:
                self._note_awaited(awaited, link, changed, is_new=_is_new(one))
        for awaited, link in was.items():
            self._note_old(child, awaited, link, now.get(awaited))

    def _note_old(self, child: Child, awaited: Awaited, was: Link, now: Link | None) -> None:
        """Record the change of a dependency that the job had before the batch."""
        parent, keeps = parent_of(self.rows, awaited), 0 if now is None else now[1]
        if now is None:
            self._deleted.append((child, parent))
        if keeps > was[1]:
            # The job was retried: the retention of finished jobs on which it depends is put off again.
            self.eager[parent] = None
        elif keeps < was[1] and batch_in(awaited[1]) is None:
            self.lazy[parent] = None

    def _note_awaited(self, awaited: Awaited, link: Link, changed: set[Child], *, is_new: bool) -> None:
        """Record that a job now depends on another job or a batch, which may have ended already."""
        (name, uid), (mark, keeps) = awaited, link
        table, is_batch = self.tables.get(name), batch_in(uid) is not None
        parent = None if table is None or is_batch else table.jobs.get(uid)
        if parent is None or self.is_follow_up:
            # The job may have been deleted in the same transaction. A job that a follow-up queues again may depend on a
            # job that is not locked, or whose retention begins in this transaction. When a job is added, it depends on
            # a batch only if that batch is new too, and so has not ended.
            if not (is_new and is_batch):
                self.eager[parent_of(self.rows, awaited)] = None
            return
        key, kept = (self.known[name].id, uid), kept_for(parent) if keeps else None
        if key not in changed and (kept is not None or key not in self.linked.awaited):
            self._awaited[key] = self._awaited.get(key) or kept
        self.linked.awaited.add(key)
        if mark and mark in MARKS[end_of_job(parent)]:
            self.eager[parent_of(self.rows, awaited)] = None

    # Batches

    def _note_batch(self, one: Change) -> None:
        old, new, queue_id = one.old, one.new, one.queue.id
        key = was = self.rows.batch_of(old)
        if old is not None and was is not None:
            self._counts[queue_id, was, place_of(old.standing)] -= 1
        if new is not None:
            key = self.rows.batch_of(new)
            if key is not None:
                self._counts[queue_id, key, place_of(new.standing)] += 1
        if key is None:
            return
        if new is None or is_finished(new):
            if (queue_id, key) not in self._of_batches:
                self._of_batches[queue_id, key] = (self.rows.name(one.queue.queue.name), batch_parent(key))
        elif old is not None and is_finished(old):
            # The job was retried: the batch may have to be resumed.
            self.eager[self.rows.name(one.queue.queue.name), batch_parent(key)] = None


def new_links(rows: Rows, changes: Iterable[Change]) -> list[Statement]:
    """The statements that write the dependencies of imported jobs, and count the jobs of batches."""
    counts: BatchDeltas = Counter()
    written: dict[tuple[Child, Parent], Link] = {}
    for one in changes:
        key = rows.batch_of(one.new)
        if one.new is not None and key is not None:
            counts[one.queue.id, key, int(place_of(one.new.standing))] += 1
        links = links_of(one.new).items()
        written |= {((one.queue.id, one.uid), parent_of(rows, awaited)): link for awaited, link in links}
    return [*links_written(written), *batches_counted(counts, 0)]
