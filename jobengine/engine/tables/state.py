"""
All queues and jobs in memory.

Only `Tables.apply` changes them, and only `Tables.restore` rolls a change back. Both take many changes at once, so that
adjacent entries of an index are inserted as one slice at the end.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, takewhile
from typing import Any, Final

from ...core.access import is_of_go_version
from ...core.added_jobs import JobsAdded
from ...core.effects import ClockEffect, Effect, HistoryEffect, ItemEffect, JobEffect, QueueEffect
from ...core.facts import (
    ClockSet,
    Fact,
    ItemSet,
    JobAdded,
    JobChanged,
    JobRemoved,
    PeriodsCounted,
    QueueChanged,
    QueueCreated,
    QueueDeleted,
)
from ...core.flow import GATE, gate_of
from ...core.model import Job, Queue
from ...core.schedules import SCHEDULE
from ...core.tables import Due, FollowUp
from .dependants import Dependants
from .filling import fill
from .queue_table import QueueTable, WallClock
from .sorted_list import SortedList
from .spread_dict import part_of


class Tables:
    """All queues of an engine by name, and their deadlines."""

    #: Whether new tables put off their index of groups until `index_groups`.
    groups_later = False

    def __init__(self) -> None:
        self.queues: dict[str, QueueTable] = {}
        self._clock = WallClock()
        #: The dependencies between jobs.
        self.dependants = Dependants(self, self.queues, self._keep)
        #: How far the wall clock is ahead of elapsed time, in milliseconds.
        self.ahead = 0
        #: (next deadline, name) of every queue that has one.
        self.deadlines: SortedList[tuple[int, str]] = SortedList()
        #: (time of the wall clock, name) of every queue with a schedule: when its first schedule fires.
        self.firings: SortedList[tuple[int, str]] = SortedList()
        #: The earliest deadline or firing of all queues, as elapsed time; None if there is none.
        self.next_deadline: int | None = None
        #: The names of the queues whose owner key is known only by the Go version's digest (see core/access.py).
        self.of_go_version: set[str] = set()
        #: Whether any queue has a dead-letter queue, or has had one since the start.
        self.has_dead_letters = False
        #: About how many bytes the records of a fresh snapshot would take, over all queues.
        self.live_bytes = 0
        #: The queues whose indexes are out of date, by name, and their live bytes before the change.
        self._outdated: dict[str, int] = {}
        #: The queues whose schedules have changed, by name, and their earliest firing time before the change.
        self._rescheduled: dict[str, int | None] = {}
        self._appliers: Final = self._made_appliers()

    def _made_appliers(self) -> dict[type, Any]:
        return {
            ClockSet: self._clock_set,
            QueueCreated: self._queue_created,
            QueueChanged: self._queue_changed,
            QueueDeleted: self._queue_deleted,
            JobAdded: self._job_added,
            JobChanged: self._job_changed,
            JobRemoved: self._job_removed,
            ItemSet: self._item_set,
            PeriodsCounted: self._periods_counted,
        }

    def apply(self, facts: Iterable[Fact]) -> list[Effect]:
        """
        Apply facts in order; returns the effect of each.

        A change of a job or queue that is missing is ignored: in a compacted file, a commit may name a job that was
        removed before its slice of the snapshot was taken (docs/database-format.md).
        """
        try:
            appliers = self._appliers
            return [appliers[type(fact)](fact) for fact in facts]
        finally:
            self._update_indexes()

    def load(self, facts: Iterable[Fact | JobsAdded]) -> list[Effect]:
        """Apply facts that were read from a file, in order; returns the effects of all but JobsAdded."""
        try:
            return [effect for fact in facts if (effect := self._load(fact)) is not None]
        finally:
            self._update_indexes()

    def _load(self, fact: Fact | JobsAdded) -> Effect | None:
        if type(fact) is not JobsAdded:
            effect: Effect = self._appliers[type(fact)](fact)
            return effect
        table = self.queues.get(fact.queue)
        if table is not None:
            self._outdated.setdefault(fact.queue, table.live_bytes)
            for job in fill(table, fact, self.dependants):
                self._replace_job(fact.queue, job.spec.uid, job)
        return None

    def restore(self, effects: Sequence[Effect]) -> None:
        """Roll back the newest changes, given the effects that `apply` returned."""
        for effect in reversed(effects):
            if isinstance(effect, JobEffect):
                self._replace_job(effect.queue, effect.uid, effect.old)
            elif isinstance(effect, ClockEffect):
                self._set_clock(effect.old)
            elif isinstance(effect, ItemEffect):
                self._set_item(effect.queue, effect.kind, effect.name, effect.old)
            elif isinstance(effect, HistoryEffect):
                continue
            elif isinstance(effect.old, Queue):
                self._reconfigure(self.queues[effect.queue], effect.old)
            elif effect.old is None or isinstance(effect.old, QueueTable):
                self._replace_queue(effect.queue, effect.old)
        self._update_indexes()

    def index_groups(self, most: int) -> Iterator[None]:
        """Build the indexes that were put off, with at most `most` jobs at each step."""
        self.groups_later = False
        for table in self.queues.values():
            if table.queue.flow is not None:
                yield from table.flow.build(table.queue.flow, most)
            table.flow.is_later = False
            self._reconfigure(table, table.queue)

    def wall(self, now: int) -> int:
        """The wall clock at an elapsed time."""
        return now + self.ahead

    def count_queues(self) -> int:
        return len(self.queues)

    def kept_period(self, name: str, span: int, number: int) -> str | None:
        """The text of a stored period of a queue."""
        table = self.queues.get(name)
        return None if table is None else table.history.get(span, number)

    def open_gates(self, now: int) -> list[str]:
        """Open the gates whose time has come by `now`; returns the names of the queues in which a gate has changed."""
        due = [name for _, name in takewhile(lambda entry: entry[0] <= now, self.deadlines)]
        return [name for name in due if self._open_gates(name, now)]

    def _open_gates(self, name: str, now: int) -> bool:
        table = self.queues[name]
        deadline = table.next_deadline
        changed = table.open_gates(now)
        if table.next_deadline != deadline:
            self._move_deadline(name, deadline, table.next_deadline)
        return changed

    def due(self, now: int) -> Iterator[tuple[str, Due]]:
        """What is due, each thing with its queue's name. Any change makes the iterator invalid."""
        for _, name in takewhile(lambda entry: entry[0] <= now, self.deadlines):
            yield from ((name, thing) for thing in self.queues[name].due(now))

    def follow_ups(self) -> Iterator[tuple[str, FollowUp]]:
        return self.dependants.follow_ups()

    def _keep(self, name: str, uid: str, keeps: bool) -> None:
        """Put off the retention of a job, or let it begin."""
        table = self.queues.get(name)
        if table is not None:
            self._outdated.setdefault(name, table.live_bytes)
            table.keep(uid, keeps=keeps)

    def due_schedules(self, now: int) -> Iterator[tuple[str, str]]:
        """The first due schedule of each queue, with the queue's name. Any change makes the iterator invalid."""
        wall = self.wall(now)
        for _, name in takewhile(lambda entry: entry[0] <= wall, self.firings):
            first = self.queues[name].firings.first
            if first is not None:
                yield name, first[1]

    def _clock_set(self, fact: ClockSet) -> Effect:
        return ClockEffect(self._set_clock(fact.ahead))

    def _set_clock(self, ahead: int) -> int:
        """Set how far the wall clock is ahead; returns the old value."""
        self._update_indexes()
        old, self.ahead = self.ahead, ahead
        self._clock.ahead = ahead
        for name, table in self.queues.items():
            deadline = table.next_deadline
            table.find_deadline()
            self._move_deadline(name, deadline, table.next_deadline)
        self._find_deadline()
        return old

    def _queue_created(self, fact: QueueCreated) -> Effect:
        name = fact.queue.name
        old = self.queues.get(name)
        if old is not None and old.queue.salt == fact.queue.salt:
            # A snapshot may repeat the fact of a queue; the queue then keeps its jobs.
            return self._queue_changed(QueueChanged(fact.queue))
        return QueueEffect(name, self._replace_queue(name, self._new_table(fact.queue)))

    def _new_table(self, queue: Queue) -> QueueTable:
        return QueueTable(queue, self._clock, self.dependants, self.groups_later)

    def _queue_changed(self, fact: QueueChanged) -> Effect:
        name = fact.queue.name
        table = self.queues.get(name)
        if table is None or table.queue.salt != fact.queue.salt:
            return QueueEffect(name, table)
        return QueueEffect(name, self._reconfigure(table, fact.queue))

    def _queue_deleted(self, fact: QueueDeleted) -> Effect:
        return QueueEffect(fact.name, self._replace_queue(fact.name, None))

    def _job_added(self, fact: JobAdded) -> Effect:
        return self._replace_job(fact.queue, fact.job.spec.uid, fact.job)

    def _job_changed(self, fact: JobChanged) -> Effect:
        name, uid = fact.queue, fact.uid
        table = self.queues.get(name)
        part = {} if table is None else part_of(table.jobs, uid)
        old = part.get(uid)
        if table is None or old is None:
            return JobEffect(name, uid, None, None)
        if name not in self._outdated:
            self._outdated[name] = table.live_bytes
        part[uid] = new = Job(old.spec, fact.standing)
        table.change(old, new)
        if self.dependants.is_used or old.spec.rare.dependencies is not None:
            self.dependants.change(name, uid, old, new)
        return JobEffect(name, uid, old, new)

    def _job_removed(self, fact: JobRemoved) -> Effect:
        return self._replace_job(fact.queue, fact.uid, None)

    def _item_set(self, fact: ItemSet) -> Effect:
        old = self._set_item(fact.queue, fact.kind, fact.name, fact.value)
        return ItemEffect(fact.queue, fact.kind, fact.name, old, fact.value)

    def _set_item(self, queue: str, kind: str, name: str, value: str | None) -> str | None:
        """Set a named thing of a queue; returns the old value."""
        table = self.queues.get(queue)
        if table is None:
            return None
        self._outdated.setdefault(queue, table.live_bytes)
        if kind == SCHEDULE:
            self._rescheduled.setdefault(queue, _first_firing(table))
        return table.set_item(kind, name, value)

    def _periods_counted(self, fact: PeriodsCounted) -> Effect:
        table = self.queues.get(fact.queue)
        if table is not None:
            self._outdated.setdefault(fact.queue, table.live_bytes)
            table.keep_periods(fact.periods)
        return HistoryEffect(fact.queue)

    def _replace_queue(self, name: str, new: QueueTable | None) -> QueueTable | None:
        self._update_indexes()
        old = self.queues.pop(name, None)
        if old is not None:
            self.live_bytes -= old.live_bytes
            self.of_go_version.discard(name)
            self._move_deadline(name, old.next_deadline, None)
            self._move_firing(name, _first_firing(old), None)
            self.dependants.leave(name, old)
        if new is not None:
            self.queues[name] = new
            self.live_bytes += new.live_bytes
            self._record_digest(new.queue)
            self._move_deadline(name, None, new.next_deadline)
            self._move_firing(name, None, _first_firing(new))
            self.dependants.enter(name, new)
        return old

    def _reconfigure(self, table: QueueTable, queue: Queue) -> Queue:
        self._update_indexes()
        old, size, deadline = table.queue, table.live_bytes, table.next_deadline
        table.reconfigure(queue)
        self._record_digest(queue)
        if table.next_deadline != deadline:
            self._move_deadline(queue.name, deadline, table.next_deadline)
        self.live_bytes += table.live_bytes - size
        return old

    def _record_digest(self, queue: Queue) -> None:
        record = self.of_go_version.add if is_of_go_version(queue) else self.of_go_version.discard
        record(queue.name)
        self.has_dead_letters = self.has_dead_letters or queue.dead_letter is not None

    def _replace_job(self, name: str, uid: str, new: Job | None) -> JobEffect:
        """Replace the job `uid` by `new`, or remove it."""
        table = self.queues.get(name)
        if table is None:
            return JobEffect(name, uid, None, None)
        if name not in self._outdated:
            self._outdated[name] = table.live_bytes
        old = table.put(uid, new)
        if self.dependants.is_used or (new is not None and new.spec.rare.dependencies is not None):
            self.dependants.change(name, uid, old, new)
        return JobEffect(name, uid, old, new)

    def _update_indexes(self) -> None:
        """Update the indexes of changed queues, then the deadlines and live bytes over all queues."""
        for name, size in self._outdated.items():
            table = self.queues[name]
            deadline = table.next_deadline
            table.update_indexes()
            self.live_bytes += table.live_bytes - size
            if table.next_deadline != deadline:
                self._move_deadline(name, deadline, table.next_deadline)
            if table.batches.is_used:
                self.dependants.note_batches(name, table.batches)
        self._outdated.clear()
        if self._rescheduled:
            for name, was in self._rescheduled.items():
                self._move_firing(name, was, _first_firing(self.queues[name]))
            self._rescheduled.clear()

    def _move_firing(self, name: str, was: int | None, now: int | None) -> None:
        if was == now:
            return
        if was is not None:
            self.firings.remove_all([(was, name)])
        if now is not None:
            self.firings.add_all([(now, name)])
        self._find_deadline()

    def _move_deadline(self, name: str, was: int | None, now: int | None) -> None:
        if was is not None:
            self.deadlines.remove_all([(was, name)])
        if now is not None:
            self.deadlines.add_all([(now, name)])
        first = self.deadlines.first()
        self.next_deadline = None if first is None else first[0]
        if self.firings:
            self._find_deadline()

    @property
    def job_deadline(self) -> int | None:
        """The first deadline that is not of a schedule, or None."""
        first = self.deadlines.first()
        return None if first is None else first[0]

    def _find_deadline(self) -> None:
        deadline, firing = self.job_deadline, self.firings.first()
        if firing is not None:
            by_wall = firing[0] - self.ahead
            deadline = by_wall if deadline is None else min(deadline, by_wall)
        self.next_deadline = deadline


def _first_firing(table: QueueTable) -> int | None:
    """When the first schedule of a queue fires next, by the wall clock."""
    first = table.firings.first
    return None if first is None else first[0]


def latest_change(tables: Tables) -> int:
    """
    The latest time that is known from jobs in progress and from rates, in elapsed milliseconds; 0 if there is none.

    At a start, elapsed time must not begin before it: otherwise a clock that was set back during the stop would make
    leases longer, and rates would remember claims for longer than their windows.
    """
    changes = (job.updated for table in tables.queues.values() for job in table.in_progress())
    gates = (gate_of(text) for table in tables.queues.values() for _, text in table.items(GATE))
    return max(chain(changes, (gate.marks[-1][1] for gate in gates if gate.marks)), default=0)
