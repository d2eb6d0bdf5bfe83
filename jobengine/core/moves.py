"""
Moves of jobs between queues: into a dead-letter queue when a job has failed, and wherever a client moves them.

A move is the removal of the job in one queue and its addition in another, in one commit: so a job is always in exactly
one of them. The job keeps uid, content, attempts and history.
"""

from collections.abc import Sequence
from typing import Final

from attrs import define, evolve, field
from msgspec.structs import replace

from . import dead_letters as why
from .ageing import line_of
from .dead_letters import DeadLetter, MovedFrom
from .errors import ItemDamaged
from .facts import Fact, ItemSet, JobAdded, JobChanged, JobRemoved, QueueChanged
from .gates import with_flow
from .model import COMPLETE, INPROGRESS, SECOND, Job, Queue, Spec, Standing
from .retention import Retention, retention
from .schedules import SCHEDULE, Schedule, remembered, schedule_of, schedule_text, scheduled_by
from .tables import Table, TableSet
from .transitions import queued_again
from .values import Value

_GONE: Final = frozenset({why.MISSING, why.REPLACED})


class Pace(Value, frozen=True, kw_only=True):
    """The rate at which jobs that one request queues again can be claimed."""

    per_second: float
    #: The wall clock at which the first job can be claimed, in milliseconds; 0 is the time of the command.
    start: int = 0
    #: How many jobs have been given a time so far.
    done: int = 0

    def begun(self, wall: int) -> "Pace":
        """The pace, beginning at `wall` if it has not begun yet."""
        return self if self.start else replace(self, start=wall)

    def after(self, jobs: int) -> "Pace":
        """The pace after this many more jobs."""
        return replace(self, done=self.done + jobs)

    @property
    def at(self) -> int:
        """The wall clock at which the next job can be claimed."""
        return self.start + int(self.done * SECOND / self.per_second)


def paced(standing: Standing, at: int, wall: int) -> Standing:
    """The standing of a queued job, delayed until the wall clock is at `at` instead of by its own delay."""
    return replace(standing, ready_at=0, not_before=at if at > wall else 0)


@define
class Moves:
    """The moves of one decision; each takes account of the moves before it, which are not in the tables yet."""

    tables: TableSet
    now: int
    #: The uids that were moved, by the queue that they came to.
    _arrived: dict[str, set[str]] = field(factory=dict)
    #: The queues whose dead-letter queue was found missing.
    _lacking: set[str] = field(factory=set)
    #: The schedules whose jobs were moved, by queue and name.
    _schedules: dict[tuple[str, str], Schedule] = field(factory=dict)

    def dead_letter(self, name: str, job: Job) -> Sequence[Fact]:
        """The facts that move a failed job into the dead-letter queue, or the fact that it stays."""
        source = self.tables.queues[name]
        setting = source.queue.dead_letter
        if setting is None:
            # The setting was removed meanwhile.
            return [_staying(name, job, "")]
        target = self.tables.queues.get(setting.queue)
        reason = self._prevents_dead_letter(source, job, target, setting)
        if reason or target is None:
            return [*self._marked_missing(source.queue, setting, reason), _staying(name, job, reason)]
        keep = retention(job.spec.keep.minutes, setting.keep_minutes)
        standing = replace(job.standing, notes=replace(job.standing.notes, dead_letter=""))
        # _own_keep: the original retention, even if the job comes from a dead-letter queue.
        moved = self._moved(source.queue, job, target, keep, standing, _own_keep(job.spec).failed_minutes)
        return [*moved, *self._known_to_schedule(source, job, failed=True)]

    def prevents(self, source: Table, job: Job, target: Table) -> str:
        """Why a job can't be moved, from jobengine.core.dead_letters; empty if nothing prevents it."""
        if job.state is COMPLETE:
            return why.COMPLETE
        if job.state is INPROGRESS:
            return why.IN_PROGRESS
        if job.waits:
            return why.WAITING
        if job.spec.rare.batch is not None:
            return why.BATCH
        return self._prevents(source, job, target)

    def again(self, source: Table, job: Job, target: Table, pace: Pace | None) -> Sequence[Fact]:
        """The facts that move a job for which `prevents` is empty; a failed job is queued as if never tried."""
        standing = queued_again(job, self.now)
        if pace is not None:
            # A queued job keeps its own delay if that is longer.
            ready = target.wall(standing.ready_at) if standing.ready_at else 0
            standing = paced(standing, max(pace.at, ready, standing.not_before), target.wall(self.now))
        moved = self._moved(source.queue, job, target, _own_keep(job.spec), standing, None, with_group=True)
        flow = with_flow(target) if _group_of(job) is not None else ()
        return [*flow, *moved, *self._known_to_schedule(target, job, failed=False)]

    def _prevents_dead_letter(self, source: Table, job: Job, target: Table | None, setting: DeadLetter) -> str:
        if target is None:
            return why.MISSING
        if target.queue.salt != setting.salt:
            return why.REPLACED
        return self._prevents(source, job, target)

    def _prevents(self, source: Table, job: Job, target: Table) -> str:
        arrived = self._arrived.get(target.queue.name, ())
        if source.is_awaited(job.spec.uid):
            return why.AWAITED
        if target.queue.draining:
            return why.DRAINING
        if job.spec.uid in arrived or target.job(job.spec.uid) is not None:
            return why.UID_TAKEN
        if target.queue.max_jobs and target.size() + len(arrived) >= target.queue.max_jobs:
            return why.FULL
        return ""

    def _marked_missing(self, queue: Queue, setting: DeadLetter, reason: str) -> list[Fact]:
        """Mark the dead-letter queue as missing in a queue's settings, for operators, unless it is marked already."""
        if reason not in _GONE or setting.missing or queue.name in self._lacking:
            return []
        self._lacking.add(queue.name)
        return [QueueChanged(evolve(queue, dead_letter=replace(setting, missing=True)))]

    def _known_to_schedule(self, table: Table, job: Job, *, failed: bool) -> Sequence[Fact]:
        """Record, in the schedule that added a job, that the job failed and was moved away, or came back."""
        by, uid = scheduled_by(job.spec.rare.context.meta), job.spec.uid
        schedule = None if by is None else self._schedule(table, by.name)
        if by is None or schedule is None or uid not in remembered(schedule) or (uid in schedule.moved) is failed:
            return ()
        moved = (*schedule.moved, uid) if failed else tuple(one for one in schedule.moved if one != uid)
        schedule = replace(schedule, moved=moved)
        self._schedules[table.queue.name, by.name] = schedule
        return [ItemSet(table.queue.name, SCHEDULE, by.name, schedule_text(schedule))]

    def _schedule(self, table: Table, name: str) -> Schedule | None:
        if (known := self._schedules.get((table.queue.name, name))) is not None:
            return known
        try:
            text = table.item(SCHEDULE, name)
        except ItemDamaged:
            return None
        return None if text is None else schedule_of(text)

    def _moved(
        self,
        source: Queue,
        job: Job,
        target: Table,
        keep: Retention,
        standing: Standing,
        keep_failed: int | None,
        *,
        with_group: bool = False,
    ) -> list[Fact]:
        name, spec = target.queue.name, job.spec
        arrived = self._arrived.setdefault(name, set())
        group, has_groups = _group_of(job), with_group or target.queue.flow is not None
        origin = MovedFrom(queue=source.name, at=self.now, keep_failed=keep_failed, group=None if has_groups else group)
        line = line_of(target.queue.order, spec.priority, spec.created)
        rare = replace(spec.rare, moved_from=origin, group=group if has_groups else None, line=line)
        moved = replace(spec, arrival=target.next_arrival + len(arrived), keep=keep, rare=rare)
        arrived.add(spec.uid)
        return [JobRemoved(source.name, spec.uid), JobAdded(name, Job(moved, standing))]


def _own_keep(spec: Spec) -> Retention:
    """How long a job is kept in a queue that is not a dead-letter queue."""
    origin = spec.rare.moved_from
    if origin is None or origin.keep_failed is None:
        return spec.keep
    return retention(spec.keep.minutes, origin.keep_failed)


def _group_of(job: Job) -> str | None:
    return job.spec.rare.own_group


def _staying(name: str, job: Job, reason: str) -> JobChanged:
    notes = replace(job.standing.notes, dead_letter=reason)
    return JobChanged(name, job.spec.uid, replace(job.standing, notes=notes))
