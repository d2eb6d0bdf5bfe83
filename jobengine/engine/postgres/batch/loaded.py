"""The loaded rows of a batch, as tables for the rules."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial

from attrs import define, field
from psycopg import Connection

from ....core import commands as c
from ....core.effects import Effect, ItemEffect, JobEffect, QueueEffect
from ....core.facts import Fact, ItemSet, JobAdded, JobChanged, JobRemoved, QueueChanged, QueueCreated, QueueDeleted
from ....core.model import Job, Queue
from ....core.tables import Due, FollowUp
from ..database.pipeline import Row
from ..database.rows import Rows
from .begin import Now
from .groups import LoadedGroups
from .plan import PlannedCommand, PlannedPart
from .tables import LoadedTable, NotLoaded
from .turns import Turns


@define(kw_only=True)
class LoadedTables:
    """The tables of all existing queues that the batch's commands name."""

    #: The batch's time and queues; a guess until `confirm`.
    now: Now
    planned: Sequence[PlannedCommand]
    #: Whether all loaded jobs are locked; otherwise none is, and none may be changed. A follow-up (see follow.py) locks
    #: only the jobs that it may change.
    locked: bool
    queues: dict[str, LoadedTable] = field(init=False)
    #: The number of queues in the database (see queries.queues_counted); None if no command needs it.
    number_of_queues: int | None = field(default=None, init=False)
    #: Only in a follow-up (see follow.py): the jobs and batches to change, with their queue's name, by the elapsed time
    #: at which they change.
    followed: Mapping[int, Sequence[tuple[str, FollowUp]]] = field(factory=dict)
    #: The elapsed time of the changes that are being decided.
    followed_at: int = 0

    def __attrs_post_init__(self) -> None:
        ahead = self.now.ahead
        self.queues = {name: LoadedTable(known.queue, ahead) for name, known in self.now.known.items()}

    def find_groups(self, connection: "Connection[Row]", rows: Rows) -> None:
        """Let the rules of commands read the groups of queues with flow."""
        for name, table in self.queues.items():
            if table.queue.flow is not None:
                table.groups_loaded = LoadedGroups(
                    connection=connection,
                    rows=rows,
                    queue_id=self.now.known[name].id,
                    queue=partial(_queue_of, table),
                    jobs=table.jobs,
                    named=table.named,
                    locked=self.locked,
                    time=lambda: self.now,
                )
                table.turns = Turns(table.groups_loaded, self._is_lone_claim())

    def _is_lone_claim(self) -> bool:
        tasks = [one.task for one in self.planned]
        return len(tasks) == 1 and isinstance(tasks[0], c.Claims) and not tasks[0].updates and len(tasks[0].parts) == 1

    def forget_groups(self) -> None:
        """Forget the groups after a batch: they are part of cycles, which only the garbage collector would free."""
        for table in self.queues.values():
            if table.groups_loaded is not None:
                table.groups_loaded.forget()
                table.groups_loaded = table.turns = None

    def confirm(self, now: Now) -> None:
        """Replace the guessed time by the real one; the queues were guessed right."""
        self.now = now
        for table in self.queues.values():
            table.clock_ahead = now.ahead

    def count_queues(self) -> int:
        if self.number_of_queues is None:
            raise NotLoaded("the number of queues")
        return self.number_of_queues

    def wall(self, now: int) -> int:
        return now + self.now.ahead

    def due(self, now: int) -> Iterator[tuple[str, Due]]:
        return ((name, job) for name, table in self.queues.items() for job in table.due(now))

    def follow_ups(self) -> Iterator[tuple[str, FollowUp]]:
        return iter(self.followed.get(self.followed_at, ()))

    def due_schedules(self, now: int) -> Iterator[tuple[str, str]]:
        return iter(())

    def lacks_jobs(self, part: PlannedPart) -> bool:
        """
        Whether a claim can't be decided: earlier claims have taken all loaded jobs, and the
        database may have more.
        """
        ready, table = part.needs.ready, self.queues[part.command.queue]
        if ready is None or ready.tags not in table.cut:
            return False
        table.restrict_to(part)
        return next(table.claim_order(ready.tags, self.now.elapsed, ready.count), None) is None

    def apply(self, facts: Iterable[Fact]) -> list[Effect]:
        """Apply facts in order; returns the effect of each. Each changed job and queue must be loaded."""
        return [self._applied(fact) for fact in facts]

    def _applied(self, fact: Fact) -> Effect:
        # isinstance, because `match` takes three times as long, and each change of a job passes through here.
        if isinstance(fact, JobChanged):
            table = self.queues[fact.queue]
            old = table.jobs[fact.uid]
            new = Job(old.spec, fact.standing)
            table.put(fact.uid, new)
            return JobEffect(fact.queue, fact.uid, old, new)
        if isinstance(fact, JobAdded):
            table, spec = self.queues[fact.queue], fact.job.spec
            table.next_arrival = max(table.next_arrival, spec.arrival + 1)
            return JobEffect(fact.queue, spec.uid, table.put(spec.uid, fact.job), fact.job)
        if isinstance(fact, JobRemoved):
            return JobEffect(fact.queue, fact.uid, self.queues[fact.queue].put(fact.uid, None), None)
        if isinstance(fact, ItemSet):
            return self._item_set(fact)
        return self._applied_to_queue(fact)

    def _item_set(self, fact: ItemSet) -> Effect:
        table, key = self.queues[fact.queue], (fact.kind, fact.name)
        old = table.named.pop(key, None)
        if fact.value is not None:
            table.named[key] = fact.value
        if table.groups_loaded is not None:
            table.groups_loaded.set_item(*key, fact.value)
        return ItemEffect(fact.queue, *key, old, fact.value)

    def _applied_to_queue(self, fact: Fact) -> Effect:
        match fact:
            case QueueChanged(queue):
                table = self.queues[queue.name]
                before, table.queue = table.queue, queue
                return QueueEffect(queue.name, before)
            case QueueCreated(queue):
                effect = QueueEffect(queue.name, self.queues.get(queue.name))
                self.queues[queue.name] = LoadedTable(queue, self.now.ahead)
                return effect
            case QueueDeleted(name):
                return QueueEffect(name, self.queues.pop(name))
        raise TypeError(f"a fact that can not be applied to loaded tables: {fact!r}")


def _queue_of(table: LoadedTable) -> Queue:
    return table.queue
