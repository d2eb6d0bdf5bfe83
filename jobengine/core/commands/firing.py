"""The rule that fires schedules when their times have come."""

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from ..errors import DomainError, NoTimes
from ..facts import Fact, ItemSet, JobAdded
from ..model import DAY, MINUTE, SECOND, UNFINISHED, Context, Grant, Job, Role, State
from ..retention import retention
from ..schedules import (
    FIRINGS,
    FOLLOWED,
    MOST_MISSED,
    ON_TIME,
    SCHEDULE,
    Edge,
    Firing,
    IfRunning,
    Missed,
    Schedule,
    last_times,
    meta_of,
    next_after,
    number_of_times,
    remembered,
    schedule_of,
    schedule_text,
    scheduled_uid,
)
from ..tables import Table, TableSet
from ..transitions import Changes, update
from ..values import Value
from .adding import Adding
from .new_job import NewJob

#: The grant of a firing: a schedule acts as the queue's owner, whoever has created it.
FOR_QUEUE: Final = Grant(Role.OWNER)


class Chosen(Value, frozen=True, kw_only=True):
    """The decision about a schedule's due times: at most one is fired now, and times before it are skipped."""

    #: The time that is fired, or None.
    time: int | None
    #: The skipped times: those before `time`, or all if none is fired; None if none is skipped.
    skipped: Firing | None
    #: The next time, which may have come already; None if no time follows.
    next: int | None
    #: See Schedule.
    counted: int


def fire(tables: TableSet, now: int, edge: Edge) -> list[Fact]:
    """
    The facts of one due schedule: the one whose time came first. No facts if none is due at `now`.

    Apply them and call this again until it returns none. The facts of a firing belong in one commit.
    """
    for queue, name in tables.due_schedules(now):
        return fired(tables.queues[queue], name, now, edge)
    return []


def fired(table: Table, name: str, now: int, edge: Edge) -> list[Fact]:
    """The facts of a schedule at `now`; none if it does not exist or is not due."""
    text, wall = table.item(SCHEDULE, name), table.wall(now)
    schedule = None if text is None else schedule_of(text)
    if schedule is None or schedule.next is None or schedule.next > wall:
        return []
    first = schedule.next
    try:
        chosen = choose(schedule, first, wall, edge)
        new = () if chosen.time is None else (scheduled_uid(table.queue, name, chosen.time),)
        table.load_jobs([*remembered(schedule), *new], schedule.settings.job.unique_key)
        return _carried_out(table, name, with_ends(schedule, table), chosen, now, edge)
    except NoTimes as error:
        reason = Firing(time=first, skipped=f"{error} The schedule is paused.")
        return [_stored(table, name, replace(recorded(schedule, reason), paused=True, next=None))]


def _carried_out(table: Table, name: str, schedule: Schedule, chosen: Chosen, now: int, edge: Edge) -> list[Fact]:
    """The facts that carry out `chosen` and give the schedule its next time."""
    if chosen.skipped is not None:
        schedule = recorded(schedule, chosen.skipped)
    schedule = replace(schedule, next=chosen.next, counted=chosen.counted)
    facts: Sequence[Fact] = ()
    if chosen.time is not None:
        done = max(schedule.done, chosen.time)
        if _has_failed_too_often(schedule):
            skipped = Firing(time=chosen.time, skipped=f"Its last {schedule.failures} jobs failed. It is paused.")
            schedule = replace(recorded(schedule, skipped), paused=True, failing=True, next=None, done=done)
        else:
            facts, firing = _added(table, name, schedule, chosen.time, now, edge)
            schedule = replace(recorded(schedule, firing), done=done)
    return [*facts, _stored(table, name, schedule)]


def choose(schedule: Schedule, first: int, wall: int, edge: Edge) -> Chosen:
    """Choose which of the times from `first` to `wall` is fired, and which are skipped; raises NoTimes."""
    settings, calendar = schedule.settings, edge.calendar
    following = next_after(settings, schedule.created, first, calendar)
    catches_up = settings.missed is Missed.ALL
    if following is None or following > wall or (catches_up and first <= schedule.counted):
        return _chosen(schedule, [first], None, following, wall)
    times = last_times(schedule, first, wall, MOST_MISSED if catches_up else 1, calendar)
    following = times[1] if len(times) > 1 else next_after(settings, schedule.created, times[0], calendar)
    if times[0] == first:
        return _chosen(schedule, times, None, following, wall)
    (until,) = last_times(schedule, first, times[0] - 1, 1, calendar)
    number = number_of_times(schedule, first, until, calendar)
    return _chosen(schedule, times, _missed(first, number, until), following, wall)


def _chosen(
    schedule: Schedule, times: Sequence[int], skipped: Firing | None, following: int | None, wall: int
) -> Chosen:
    """Fire the first of `times`, unless it is too old."""
    settings, time = schedule.settings, times[0]
    oldest = {Missed.ONCE: settings.missed_seconds * SECOND, Missed.NONE: ON_TIME}.get(settings.missed)
    if oldest is None or wall - time <= max(oldest, ON_TIME):
        counted = wall if len(times) > 1 else schedule.counted
        return Chosen(time=time, skipped=skipped, next=following, counted=counted)
    first, number = (time, 0) if skipped is None else (skipped.time, skipped.times)
    return Chosen(time=None, skipped=_missed(first, number + 1, time), next=following, counted=schedule.counted)


def _missed(first: int, number: int, until: int) -> Firing:
    return Firing(time=first, skipped="It was missed.", times=number, until=until if number > 1 else 0)


def with_ends(schedule: Schedule, table: Table) -> Schedule:
    """
    The schedule after counting the outcomes of its followed jobs that have ended.

    With `pause_after_failures` a failed job is kept until after the next firing, or moved into the dead-letter queue.
    So a followed job that is in neither queue has not failed.
    """
    followed, failures = [], schedule.failures
    for uid in schedule.followed:
        job = table.job(uid)
        if job is not None and job.state in UNFINISHED:
            followed.append(uid)
        elif job is None and uid in schedule.moved:
            failures += 1
        elif job is None or job.state is State.COMPLETE:
            failures = 0
        elif not job.cancelled:
            failures += 1
    if len(followed) == len(schedule.followed):
        return schedule
    return replace(schedule, followed=tuple(followed), failures=failures)


def _added(
    table: Table, name: str, schedule: Schedule, time: int, now: int, edge: Edge
) -> tuple[Sequence[Fact], Firing]:
    """The facts that add the job of a time, and the firing to record. Raises NoTimes."""
    running = unfinished(schedule, table)
    if running and schedule.settings.if_running is IfRunning.SKIP:
        return (), Firing(time=time, skipped=f"The job {running[-1].spec.uid} is not finished.")
    firing = Firing(time=time, uid=scheduled_uid(table.queue, name, time))
    try:
        facts, there = add_job(table, name, schedule, firing, now, edge)
    except DomainError as error:
        return (), Firing(time=time, skipped=str(error))
    if there is None:
        return facts, firing
    why = "was added for this time before" if there.spec.uid == firing.uid else "has the same unique_key"
    return (), Firing(time=time, skipped=f"The job {there.spec.uid} {why}.")


def add_job(
    table: Table, name: str, schedule: Schedule, firing: Firing, now: int, edge: Edge
) -> tuple[Sequence[Fact], Job | None]:
    """
    The facts that add the job of a firing and cancel the jobs that it replaces; or the existing job that prevents it.

    Raises NoTimes, QueueDraining, QueueFull, UidTaken or UniqueKeyTaken.
    """
    adding = Adding(table, FOR_QUEUE, edge.defaults, now, _no_id)
    result = adding.add(new_job(name, schedule, firing.time, firing.uid or "", edge))
    if not result.new:
        return (), result.job
    cancelled: list[Fact] = []
    for job in unfinished(schedule, table) if schedule.settings.if_running is IfRunning.REPLACE else ():
        fact, _ = update(table.queue, job, Changes(cancel=True), now, by_owner=True)
        if fact is not None and not job.standing.notes.cancel_requested:
            cancelled.append(fact)
    job = _kept_longer(result.job, schedule, table.wall(now))
    return [*adding.facts_before(), *cancelled, JobAdded(table.queue.name, job)], None


def needed_to_fire(table: Table, name: str) -> tuple[list[str], str | None]:
    """The uids of the jobs, and the unique key, that firing a schedule at its next time needs."""
    text = table.item(SCHEDULE, name)
    schedule = None if text is None else schedule_of(text)
    if schedule is None or schedule.next is None:
        return [], None
    uids = [*remembered(schedule), scheduled_uid(table.queue, name, schedule.next)]
    return uids, schedule.settings.job.unique_key


def unfinished(schedule: Schedule, table: Table) -> list[Job]:
    """The unfinished jobs of a schedule: those that it follows, and those of its last firings that were retried."""
    jobs = (table.job(uid) for uid in remembered(schedule))
    return [job for job in jobs if job is not None and job.state in UNFINISHED]


def new_job(name: str, schedule: Schedule, time: int, uid: str, edge: Edge) -> NewJob:
    """The request for the job of a time. Raises NoTimes."""
    its = schedule.settings.job
    return NewJob(
        content=its.content.encode(),
        priority=its.priority,
        keep_minutes=its.keep_minutes,
        timeout_seconds=its.timeout_seconds,
        tags=its.tags,
        max_attempts=its.max_attempts,
        retry_delay_seconds=its.retry_delay_seconds,
        unique_key=its.unique_key,
        context=Context(meta=meta_of(name, its.meta, edge.calendar.text(time, schedule.settings.timezone))),
        group=its.group,
        delay_seconds=its.delay_seconds,
        uid=uid,
    )


def recorded(schedule: Schedule, firing: Firing) -> Schedule:
    """The schedule with one more entry in its history."""
    followed = schedule.followed
    if firing.uid is not None:
        followed = (*followed, firing.uid)[-FOLLOWED:]
    firings = (*schedule.firings, firing)[-FIRINGS:]
    kept = {*followed, *(one.uid for one in firings)} if schedule.moved else ()
    return replace(
        schedule,
        firings=firings,
        followed=followed,
        moved=tuple(uid for uid in schedule.moved if uid in kept),
        done=schedule.done if firing.manual else max(schedule.done, firing.until or firing.time),
        fired=schedule.fired + (firing.uid is not None),
        skipped=schedule.skipped + (0 if firing.uid is not None else firing.times),
    )


def _has_failed_too_often(schedule: Schedule) -> bool:
    most = schedule.settings.pause_after_failures
    return most is not None and schedule.failures >= most


def _kept_longer(job: Job, schedule: Schedule, wall: int) -> Job:
    """The job, kept until a day after the next firing if it fails, so that this failure is counted."""
    if schedule.settings.pause_after_failures is None or schedule.next is None:
        return job
    needed, keep = (max(0, schedule.next - wall) + DAY) // MINUTE, job.spec.keep
    if keep.failed_minutes >= needed:
        return job
    return Job(replace(job.spec, keep=retention(keep.minutes, needed)), job.standing)


def _stored(table: Table, name: str, schedule: Schedule) -> Fact:
    return ItemSet(table.queue.name, SCHEDULE, name, schedule_text(schedule))


def _no_id() -> str:
    raise AssertionError("a schedule's job needs no new uid: its uid follows from the schedule and the time")
