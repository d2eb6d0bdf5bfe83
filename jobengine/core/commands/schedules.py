"""Schedules: setting, reading and deleting them, and firing them by hand."""

from collections.abc import Container, Sequence
from itertools import islice, takewhile
from typing import Any, Final

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from ..access import OWNERS, READERS, derived_uid
from ..errors import BadSchedule, ScheduleConflict, ScheduleNotFound, ScheduleRunning, TooManySchedules
from ..facts import Fact, ItemSet
from ..flow import NO_FLOW, Flow
from ..gates import with_flow
from ..model import Grant, Queue, State
from ..required_rows import Needs
from ..schedules import (
    MOST_MISSED,
    MOST_SCHEDULES,
    SCHEDULE,
    Edge,
    Firing,
    IfRunning,
    Missed,
    Schedule,
    ScheduledJob,
    ScheduleReport,
    Settings,
    next_after,
    remembered,
    schedule_of,
    schedule_text,
    scheduled_uid,
    times_after,
)
from ..tables import NOTHING, Decision, NewId, RecentActivity, Table
from ..values import Value
from .adding import Adding
from .command import A_co, QueueCommand
from .firing import FOR_QUEUE, add_job, fired, new_job, recorded, unfinished, with_ends

__all__ = [
    "Backfill",
    "Backfilled",
    "ChangeSchedule",
    "DeleteSchedule",
    "FireSchedule",
    "ListSchedules",
    "ReadSchedule",
    "RunSchedule",
    "SchedulePage",
    "SetSchedule",
]

#: The parts of Settings that ChangeSchedule may change.
_CHANGEABLE: Final = Settings.__struct_fields__


class _ScheduleCommand(QueueCommand[A_co], frozen=True, kw_only=True, gc=True):
    """A command about one schedule."""

    #: The schedule's name.
    name: str

    def needs(self, queue: Queue, grant: Grant) -> Needs:
        return Needs(items=frozenset([(SCHEDULE, self.name)]), more_jobs=True)

    def schedule(self, table: Table) -> Schedule:
        """The schedule; raises ScheduleNotFound."""
        text = table.item(SCHEDULE, self.name)
        if text is None:
            raise ScheduleNotFound(self.name)
        return schedule_of(text)

    def stored(self, schedule: Schedule, old: Schedule | None = None) -> Sequence[Fact]:
        """The fact that stores a schedule, unless it equals `old`."""
        return NOTHING if schedule == old else [ItemSet(self.queue, SCHEDULE, self.name, schedule_text(schedule))]


class SetSchedule(_ScheduleCommand[ScheduleReport], frozen=True, kw_only=True, gc=True):
    """Create a schedule, or give it these settings; its history, and whether it is paused, stay."""

    roles = OWNERS
    reads = False

    settings: Settings
    #: True pauses the schedule, False resumes it, None does neither.
    paused: bool | None = None
    #: Store nothing, and answer as if it were stored.
    dry_run: bool = False
    edge: Edge

    def needs(self, queue: Queue, grant: Grant) -> Needs:
        return replace(super().needs(queue, grant), count_schedules=True)

    def flow_after(self, queue: Queue) -> Flow | None:
        return _flow_after(queue, self.settings.job)

    def decide_in(
        self, table: Table, grant: Grant, now: int, new_id: NewId, activity: RecentActivity
    ) -> Decision[ScheduleReport]:
        """Raises BadSchedule or TooManySchedules."""
        text, wall = table.item(SCHEDULE, self.name), table.wall(now)
        old = None if text is None else schedule_of(text)
        if old is None and table.schedules().number >= MOST_SCHEDULES:
            raise TooManySchedules(MOST_SCHEDULES)
        _check_replacing(self.settings, _CHANGEABLE)
        base = old or Schedule(settings=self.settings, created=wall)
        new = _changed(base, self.settings, self.paused, wall, self.edge, keeps_next=old is not None)
        answer = replace(report(table, self.name, new, wall), new=old is None)
        if self.dry_run:
            return NOTHING, answer
        return [*_flow(table, self.settings.job), *self.stored(new, old)], answer


class ChangeSchedule(_ScheduleCommand[ScheduleReport], frozen=True, kw_only=True, gc=True):
    """Change some settings of a schedule; UNSET leaves a setting as it is."""

    roles = OWNERS
    reads = False

    #: See Settings.
    cron: str | UnsetType | None = UNSET
    every_seconds: int | UnsetType | None = UNSET
    timezone: str | UnsetType = UNSET
    job: ScheduledJob | UnsetType = UNSET
    if_running: IfRunning | UnsetType = UNSET
    missed: Missed | UnsetType = UNSET
    missed_seconds: int | UnsetType = UNSET
    pause_after_failures: int | UnsetType | None = UNSET
    #: See SetSchedule.
    paused: bool | None = None
    edge: Edge

    def flow_after(self, queue: Queue) -> Flow | None:
        return None if self.job is UNSET else _flow_after(queue, self.job)

    def decide_in(
        self, table: Table, grant: Grant, now: int, new_id: NewId, activity: RecentActivity
    ) -> Decision[ScheduleReport]:
        """Raises ScheduleNotFound, BadSchedule or ScheduleConflict."""
        old, wall = self.schedule(table), table.wall(now)
        given = {name: value for name in _CHANGEABLE if (value := getattr(self, name)) is not UNSET}
        settings = replace(old.settings, **given)
        _check_replacing(settings, given)
        new = _changed(old, settings, self.paused, wall, self.edge, keeps_next=True)
        return [*_flow(table, settings.job), *self.stored(new, old)], report(table, self.name, new, wall)


class DeleteSchedule(_ScheduleCommand[None], frozen=True, kw_only=True):
    """Delete a schedule; its jobs stay."""

    roles = OWNERS
    reads = False

    def needs(self, queue: Queue, grant: Grant) -> Needs:
        return Needs(items=frozenset([(SCHEDULE, self.name)]))

    def decide_in(
        self, table: Table, grant: Grant, now: int, new_id: NewId, activity: RecentActivity
    ) -> Decision[None]:
        """Raises ScheduleNotFound."""
        if table.item(SCHEDULE, self.name) is None:
            raise ScheduleNotFound(self.name)
        return [ItemSet(self.queue, SCHEDULE, self.name, None)], None


class ReadSchedule(_ScheduleCommand[ScheduleReport], frozen=True, kw_only=True):
    """Read a schedule with its history."""

    roles = READERS
    reads = True

    def decide_in(
        self, table: Table, grant: Grant, now: int, new_id: NewId, activity: RecentActivity
    ) -> Decision[ScheduleReport]:
        """Raises ScheduleNotFound."""
        return NOTHING, report(table, self.name, self.schedule(table), table.wall(now))


class SchedulePage(Value, frozen=True, kw_only=True):
    """Some schedules of a queue, by name."""

    schedules: Sequence[ScheduleReport]
    #: The `after` of the next page; None after the last page.
    following: str | None


class ListSchedules(QueueCommand[SchedulePage], frozen=True, kw_only=True):
    """Read a page of schedules, by name."""

    roles = READERS
    reads = True

    #: Start after this name; None starts at the first.
    after: str | None = None
    #: The most schedules of the page.
    limit: int

    def needs(self, queue: Queue, grant: Grant) -> Needs:
        return Needs(kinds=frozenset([SCHEDULE]), more_jobs=True)

    def decide_in(
        self, table: Table, grant: Grant, now: int, new_id: NewId, activity: RecentActivity
    ) -> Decision[SchedulePage]:
        after, wall = self.after, table.wall(now)
        rest = ((name, text) for name, text in table.items(SCHEDULE) if after is None or name > after)
        some = list(islice(rest, self.limit + 1))
        found = [(name, schedule_of(text)) for name, text in some[: self.limit]]
        table.load_jobs([uid for _, one in found for uid in remembered(one)])
        following = found[-1][0] if len(some) > self.limit else None
        return NOTHING, SchedulePage(schedules=[_report(table, *one, wall) for one in found], following=following)


class RunSchedule(_ScheduleCommand[tuple[Firing, str]], frozen=True, kw_only=True, gc=True):
    """Add the schedule's job now, even if the schedule is paused; returns the firing, and the schedule's time zone."""

    roles = OWNERS
    reads = False

    edge: Edge
    #: See NewJob.
    idempotency_key: str | None = None

    def needs(self, queue: Queue, grant: Grant) -> Needs:
        return _to_add(super().needs(queue, grant), queue)

    def decide_in(
        self, table: Table, grant: Grant, now: int, new_id: NewId, activity: RecentActivity
    ) -> Decision[tuple[Firing, str]]:
        """Raises ScheduleNotFound, ScheduleRunning, QueueDraining, QueueFull or UniqueKeyTaken."""
        schedule, key = self.schedule(table), self.idempotency_key
        uid = new_id() if key is None else derived_uid(table.queue, key, grant.key_id)
        firing, timezone = Firing(time=table.wall(now), uid=uid, manual=True), schedule.settings.timezone
        table.load_jobs([*remembered(schedule), uid], schedule.settings.job.unique_key)
        earlier = table.job(uid)
        if earlier is not None:
            return NOTHING, (replace(firing, time=table.wall(earlier.spec.created)), timezone)
        schedule = with_ends(schedule, table)
        running = unfinished(schedule, table)
        if running and schedule.settings.if_running is IfRunning.SKIP:
            raise ScheduleRunning(running[-1].spec.uid)
        facts, there = add_job(table, self.name, schedule, firing, now, self.edge)
        if there is not None:
            raise ScheduleRunning(there.spec.uid)
        return [*facts, *self.stored(recorded(schedule, firing))], (firing, timezone)


class FireSchedule(_ScheduleCommand[None], frozen=True, kw_only=True, gc=True):
    """Fire a schedule if one of its times has come; only engines send it."""

    roles = OWNERS
    reads = False
    is_batched = True

    edge: Edge

    def needs(self, queue: Queue, grant: Grant) -> Needs:
        return _to_add(super().needs(queue, grant), queue)

    def decide_in(
        self, table: Table, grant: Grant, now: int, new_id: NewId, activity: RecentActivity
    ) -> Decision[None]:
        return fired(table, self.name, now, self.edge), None


class Backfilled(Value, frozen=True, kw_only=True):
    """The outcome of a backfill."""

    #: The times, and the time zone in which to show them.
    times: Sequence[int]
    timezone: str
    #: How many jobs were added, or would be.
    added: int


class Backfill(_ScheduleCommand[Backfilled], frozen=True, kw_only=True, gc=True):
    """Add the jobs of past times; jobs that exist already are left alone."""

    roles = OWNERS
    reads = False

    #: The span of times, both ends included.
    first: int
    last: int
    dry_run: bool = False
    edge: Edge

    def needs(self, queue: Queue, grant: Grant) -> Needs:
        return _to_add(super().needs(queue, grant), queue)

    def times(self, schedule: Schedule) -> list[int]:
        """The times from `first` to `last`; raises BadSchedule if there are more than MOST_MISSED."""
        all_of_them = times_after(schedule.settings, schedule.created, self.first - 1, self.edge.calendar)
        times = list(islice(takewhile(lambda time: time <= self.last, all_of_them), MOST_MISSED + 1))
        if len(times) > MOST_MISSED:
            raise BadSchedule(f"There are more than {MOST_MISSED} times between from and until; send a shorter span.")
        return times

    def decide_in(
        self, table: Table, grant: Grant, now: int, new_id: NewId, activity: RecentActivity
    ) -> Decision[Backfilled]:
        """Raises ScheduleNotFound, BadSchedule, QueueDraining, QueueFull, UidTaken or UniqueKeyTaken."""
        if self.last > table.wall(now):
            raise BadSchedule("until must not be in the future: a backfill adds the jobs of past times.")
        schedule = self.schedule(table)
        times = self.times(schedule)
        uids = [scheduled_uid(table.queue, self.name, time) for time in times]
        table.load_jobs(uids, schedule.settings.job.unique_key)
        adding = Adding(table, FOR_QUEUE, self.edge.defaults, now, new_id)
        for time, uid in zip(times, uids, strict=True):
            if table.job(uid) is None:
                adding.add(new_job(self.name, schedule, time, uid, self.edge))
        answer = Backfilled(times=times, timezone=schedule.settings.timezone, added=len(adding.new))
        if self.dry_run:
            return NOTHING, answer
        return adding.facts(), answer


def report(table: Table, name: str, schedule: Schedule, wall: int) -> ScheduleReport:
    """The report of a schedule, with the states of its jobs."""
    table.load_jobs(remembered(schedule))
    return _report(table, name, schedule, wall)


def _report(table: Table, name: str, schedule: Schedule, wall: int) -> ScheduleReport:
    states = dict.fromkeys(schedule.moved, State.FAILED)
    states |= {uid: job.state for uid in remembered(schedule) if (job := table.job(uid)) is not None}
    return ScheduleReport(name=name, schedule=with_ends(schedule, table), wall=wall, states=states)


def _changed(
    old: Schedule, settings: Settings, paused: bool | None, wall: int, edge: Edge, *, keeps_next: bool
) -> Schedule:
    """The schedule with other settings. With `keeps_next`, only a new timing or a pause changes its next time."""
    is_paused = old.paused if paused is None else paused
    changes: dict[str, Any] = {"settings": settings, "paused": is_paused}
    has_new_times = not keeps_next or settings.timing != old.settings.timing
    if has_new_times or (old.paused and not is_paused):
        changes["next"] = next_after(settings, old.created, max(wall, old.done), edge.calendar)
        if changes["next"] is None:
            raise BadSchedule(f"cron {settings.cron!r} never fires: no day in the next 50 years matches it.")
    if is_paused:
        changes["next"] = None
    elif old.paused:
        changes |= {"failing": False, "failures": 0}
    return replace(old, **changes)


def _check_replacing(settings: Settings, sent: Container[str]) -> None:
    """
    Check that a schedule with if_running `replace` has a job without a unique key.

    Raises BadSchedule if the sent settings contradict each other, or ScheduleConflict if one contradicts a stored one.
    """
    if settings.if_running is not IfRunning.REPLACE or settings.job.unique_key is None:
        return
    rule = "'if_running': 'replace' needs a job without unique_key: the job to be replaced would hold it."
    if "if_running" not in sent:
        raise ScheduleConflict(f"The schedule has 'if_running': 'replace'. Send 'skip' or 'add' too: {rule}")
    if "job" not in sent:
        raise ScheduleConflict(f"The schedule's job has a unique_key. Send a job without unique_key as well: {rule}")
    raise BadSchedule(rule)


def _to_add(needs: Needs, queue: Queue) -> Needs:
    """The needs of a command that adds jobs."""
    return replace(needs, adds=True, size=queue.max_jobs > 0)


def _flow_after(queue: Queue, job: ScheduledJob) -> Flow | None:
    return NO_FLOW if queue.flow is None and job.group is not None else None


def _flow(table: Table, job: ScheduledJob) -> Sequence[Fact]:
    """The fact that gives the queue flow if the schedule's job has a group, so that no firing has to do it."""
    return with_flow(table) if job.group is not None else NOTHING
