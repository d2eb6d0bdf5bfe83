"""
Schedules: the jobs that a queue adds by itself at certain times, and what happened at these times.

A schedule is a named thing of its queue (see ItemSet). Its times are times of the wall clock, in milliseconds since the
Unix epoch. Cron lines and time zones are read outside core, by a `Calendar`; facts hold its results, so that replaying
facts needs no calendar.
"""

from collections.abc import Iterator
from enum import StrEnum
from hashlib import blake2b
from itertools import count, islice, takewhile
from typing import Final, Protocol, runtime_checkable
from uuid import UUID

from attrs import frozen
from msgspec import DecodeError, Struct
from msgspec.json import Decoder, Encoder

from .model import DAY, SECOND, Defaults, Queue, State
from .values import Value

#: The kind of named thing (see ItemSet) for schedules.
SCHEDULE: Final = "schedule"
#: The most characters of a schedule's name.
NAME_LENGTH: Final = 200
#: The most bytes of the content of a schedule's job: each firing writes the schedule too.
CONTENT_BYTES: Final = 64 << 10
#: The most schedules of a queue.
MOST_SCHEDULES: Final = 1_000
#: How many firings a schedule remembers.
FIRINGS: Final = 20
#: The most unfinished jobs that a schedule follows; with if_running `add` there may be several.
FOLLOWED: Final = 100
#: The most missed times that are counted one by one, and that `all` fires.
MOST_MISSED: Final = 1_000
#: A time that is fired at most this many milliseconds late was not missed.
ON_TIME: Final = 60 * SECOND


@runtime_checkable
class Calendar(Protocol):
    """Reads cron lines and time zones."""

    def following(self, cron: str, timezone: str, after: int) -> Iterator[int]:
        """The times of a cron line after a time, in order; ends if there are no more. Raises NoTimes."""

    def text(self, time: int, timezone: str) -> str:
        """A time as ISO 8601 with the offset of the time zone, such as 2027-03-28T03:00:00+02:00. Raises NoTimes."""


@frozen
class Edge:
    """The defaults and the calendar that firing a schedule needs from outside core."""

    #: The server's defaults, for a queue without its own.
    defaults: Defaults
    calendar: Calendar


class IfRunning(StrEnum):
    """What a firing does if a job of its schedule is not finished; the values are those of the API."""

    #: The firing adds no job.
    SKIP = "skip"
    #: The firing adds a job all the same.
    ADD = "add"
    #: The firing cancels the unfinished jobs, and adds a job.
    REPLACE = "replace"


class Missed(StrEnum):
    """What happens with times that were missed; the values are those of the API."""

    #: The latest missed time is fired, unless it is too old.
    ONCE = "once"
    NONE = "none"
    #: All missed times are fired, oldest first; if there are more than MOST_MISSED, only the last ones.
    ALL = "all"


class ScheduledJob(Value, frozen=True, kw_only=True, omit_defaults=True):
    """The job that a schedule adds; see commands.NewJob."""

    #: JSON text.
    content: str
    priority: int = 0
    keep_minutes: int | None = None
    timeout_seconds: int | None = None
    tags: tuple[str, ...] = ()
    max_attempts: int | None = None
    retry_delay_seconds: int | None = None
    unique_key: str | None = None
    #: JSON text of an object.
    meta: str | None = None
    group: str | None = None
    delay_seconds: int = 0


class Settings(Value, frozen=True, kw_only=True, omit_defaults=True):
    """The owner's settings: the times and the job. Either `cron` or `every_seconds` is given."""

    cron: str | None = None
    every_seconds: int | None = None
    timezone: str = "UTC"
    job: ScheduledJob
    if_running: IfRunning = IfRunning.SKIP
    missed: Missed = Missed.ONCE
    #: Seconds after which a missed time is too old for `once`.
    missed_seconds: int = DAY // SECOND
    #: Pause the schedule after this many failed jobs in a row; None is never.
    pause_after_failures: int | None = None

    @property
    def timing(self) -> tuple[str | None, int | None, str]:
        """The settings that say when to fire."""
        return self.cron, self.every_seconds, self.timezone


class Firing(Value, frozen=True, kw_only=True, omit_defaults=True):
    """The outcome of a schedule's time, or of consecutive times that were skipped together."""

    time: int
    #: The uid of the job that was added.
    uid: str | None = None
    #: Why no job was added.
    skipped: str | None = None
    #: How many times of the schedule this entry stands for; MOST_MISSED means that many or more.
    times: int = 1
    #: The last of several times that were skipped together.
    until: int = 0
    #: Whether a client requested this firing.
    manual: bool = False


class Schedule(Value, frozen=True, kw_only=True, omit_defaults=True):
    """A schedule as it is stored."""

    settings: Settings
    #: When the schedule was created, where the grid of `every_seconds` starts.
    created: int
    #: The next time; None if the schedule is paused, or no time follows.
    next: int | None = None
    #: Every time up to this one was fired or skipped: no such time is fired again, even if the clock is set back.
    done: int = 0
    paused: bool = False
    #: Whether the schedule was paused because its jobs failed.
    failing: bool = False
    #: The last firings, oldest first; at most FIRINGS.
    firings: tuple[Firing, ...] = ()
    #: The uids of the schedule's jobs that were unfinished at the last check, oldest first.
    followed: tuple[str, ...] = ()
    #: How many finished jobs of the schedule have failed in a row.
    failures: int = 0
    #: The uids of its jobs that have failed and moved into the dead-letter queue, as far as it remembers them.
    moved: tuple[str, ...] = ()
    #: The time up to which missed times were counted.
    counted: int = 0
    #: How many times of the schedule were fired, in all.
    fired: int = 0
    #: How many times of the schedule were skipped, in all.
    skipped: int = 0


class Totals(Struct, frozen=True):
    """The part of a schedule that engines read at each change; other fields are ignored."""

    next: int | None = None
    failing: bool = False
    fired: int = 0
    skipped: int = 0


class ScheduleCounts(Value, frozen=True):
    """Counts of a queue's schedules."""

    #: The number of schedules.
    number: int = 0
    #: How many schedules are paused because their jobs failed.
    failing: int = 0
    #: The earliest next time, or None.
    next: int | None = None


class ScheduledBy(Value, frozen=True):
    """The name of the schedule that added a job, and the time at which the schedule fired."""

    name: str
    time: str


class _Meta(Struct):
    schedule: ScheduledBy


_encode: Final = Encoder().encode
_read: Final = Decoder(Schedule).decode
_read_totals: Final = Decoder(Totals).decode
_read_meta: Final = Decoder(_Meta).decode
_NO_TOTALS: Final = Totals()


def schedule_text(schedule: Schedule) -> str:
    """A schedule as the value of its named thing."""
    return _encode(schedule).decode()


def schedule_of(text: str) -> Schedule:
    """A schedule from the value of a named thing; raises ValidationError."""
    return _read(text)


def schedule_totals(text: str | None) -> Totals:
    """The totals of a schedule from the value of a named thing; raises ValidationError."""
    return _NO_TOTALS if text is None else _read_totals(text)


def scheduled_uid(queue: Queue, name: str, time: int) -> str:
    """The uid of the job that a schedule adds for a time: the same on each server, so that only one job is added."""
    text = f"{name}/{time // SECOND}"
    digest = blake2b(text.encode(), key=queue.salt.encode(), digest_size=16, person=b"je-schedule").digest()
    return str(UUID(bytes=digest, version=4))


def meta_of(name: str, meta: str | None, time: str) -> str:
    """The `meta` of a job that a schedule adds: the given `meta`, with the schedule's name and the time."""
    schedule = _encode({"schedule": {"name": name, "time": time}}).decode()
    rest = "" if meta is None else meta.strip()[1:].lstrip()
    return schedule if rest in ("", "}") else f"{schedule[:-1]},{rest}"


def scheduled_by(meta: str | None) -> ScheduledBy | None:
    """The schedule that added a job, as the job's `meta` says; any producer may send such a `meta`."""
    if meta is None or '"schedule"' not in meta:
        return None
    try:
        return _read_meta(meta).schedule
    except DecodeError:
        return None


def remembered(schedule: Schedule) -> list[str]:
    """The uids of the jobs that a schedule remembers: those of its last firings, and those that it follows."""
    return [*dict.fromkeys([*(one.uid for one in schedule.firings if one.uid), *schedule.followed])]


def times_after(settings: Settings, created: int, after: int, calendar: Calendar) -> Iterator[int]:
    """The times of a schedule after a time; raises NoTimes."""
    if settings.every_seconds is None:
        return calendar.following(settings.cron or "", settings.timezone, after)
    period, start = settings.every_seconds * SECOND, _grid(created)
    return count(start + max(1, (after - start) // period + 1) * period, period)


def next_after(settings: Settings, created: int, after: int, calendar: Calendar) -> int | None:
    """The first time of a schedule after a time, or None; raises NoTimes."""
    return next(times_after(settings, created, after, calendar), None)


def last_times(schedule: Schedule, first: int, until: int, most: int, calendar: Calendar) -> list[int]:
    """
    The last times from `first` to `until`, at most `most`, in order; `first` is a time of the schedule. Raises NoTimes.

    Lists the times shortly before `until` first, and earlier ones only if needed: there may be millions since `first`.
    """
    settings = schedule.settings
    span = _span(settings, most)
    while True:
        start = max(first - 1, until - span)
        times = times_after(settings, schedule.created, start, calendar)
        found = list(takewhile(lambda time: time <= until, times))
        if len(found) >= most or start < first:
            return found[-most:]
        span *= 4


def number_of_times(schedule: Schedule, first: int, last: int, calendar: Calendar) -> int:
    """The number of times from `first` to `last`; times of a cron line are counted only up to MOST_MISSED."""
    settings = schedule.settings
    if settings.every_seconds is not None:
        return (last - first) // (settings.every_seconds * SECOND) + 1
    times = times_after(settings, schedule.created, first - 1, calendar)
    return sum(1 for _ in islice(takewhile(lambda time: time <= last, times), MOST_MISSED))


def _span(settings: Settings, most: int) -> int:
    """The milliseconds in which `most` times are likely."""
    return 3_600 * SECOND if settings.every_seconds is None else most * settings.every_seconds * SECOND


def _grid(created: int) -> int:
    return created // SECOND * SECOND


class ScheduleReport(Value, frozen=True, kw_only=True):
    """A schedule as clients see it: with the present time and the states of its jobs."""

    name: str
    schedule: Schedule
    #: The present time.
    wall: int
    #: Whether the request has created the schedule.
    new: bool = False
    #: The states of the jobs that its remembered firings added, by uid; without removed jobs.
    states: dict[str, State]
