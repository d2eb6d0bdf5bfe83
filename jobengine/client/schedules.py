"""Schedules: the server's answers, and how their settings are sent."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Literal, TypedDict

from .answers import Answer, Field, as_span, as_time
from .jobs import Span, whole_seconds, written, written_content, written_options

#: What a schedule does at a time while a job of it is unfinished.
IfRunning = Literal["skip", "add", "replace"]
#: What a schedule does with the times that were missed.
Missed = Literal["once", "none", "all"]


def as_text_time(text: str) -> datetime:
    """A time in ISO 8601, with its offset."""
    return datetime.fromisoformat(text)


def as_text_times(texts: list[str]) -> tuple[datetime, ...]:
    """Times in ISO 8601, with their offsets."""
    return tuple(map(datetime.fromisoformat, texts))


class Firing(Answer):
    """What happened at a time of a schedule, or at several times in a row that were skipped together."""

    __slots__ = ()
    _shown = ("time", "uid", "state", "skipped")

    #: The time, in the schedule's time zone.
    time = Field[datetime]("time", as_text_time)
    #: The job that was added; None if the time was skipped.
    uid = Field[str | None]("uid")
    #: The job's state now; None if the job is no longer kept.
    state = Field[str | None]("state")
    #: Why no job was added.
    skipped = Field[str | None]("skipped")
    #: How many times of the schedule were skipped together; 1,000 may stand for more.
    times = Field[int]("times", default=1)
    #: The last of several times that were skipped together.
    until = Field[datetime | None]("until", as_text_time)
    #: Whether the firing was requested by `run` or `backfill`.
    manual = Field[bool]("manual", default=False)


def _firings(raw: list[Any]) -> tuple[Firing, ...]:
    return tuple([Firing(one) for one in raw])


class Schedule(Answer):
    """A schedule, with its next times and its last firings."""

    __slots__ = ()
    _shown = ("name", "cron", "every", "paused")

    queue_name = Field[str]("queue_name")
    name = Field[str]("name")
    #: The cron line; None with `every`.
    cron = Field[str | None]("cron")
    #: The time between two firings; None with `cron`.
    every = Field[timedelta | None]("every_seconds", as_span)
    timezone = Field[str]("timezone", default="UTC")
    #: The job that the schedule adds, as a JSON object.
    job = Field[dict[str, Any]]("job")
    if_running = Field[str]("if_running", default="skip")
    missed = Field[str]("missed", default="once")
    #: The age after which a missed time is too old for `missed="once"`.
    missed_within = Field[timedelta]("missed_seconds", as_span)
    #: After how many failures in a row the schedule pauses itself; None is never.
    pause_after_failures = Field[int | None]("pause_after_failures")
    paused = Field[bool]("paused", default=False)
    #: The number of failures in a row.
    failures = Field[int]("failures", default=0)
    #: Whether the schedule has paused itself after failures.
    paused_by_failures = Field[bool]("paused_by_failures", default=False)
    created = Field[datetime]("created", as_time)
    #: The next times, in the schedule's time zone: at most five, only one in a schedule from `list`, none
    #: while it is paused.
    next = Field[tuple[datetime, ...]]("next", as_text_times, ())
    #: A sentence for each clock change in the year from today that skips or repeats times; always empty if the schedule
    #: comes from `list`.
    notes = Field[tuple[str, ...]]("notes", tuple, ())
    #: The last firings, at most 20, oldest first.
    firings = Field[tuple[Firing, ...]]("firings", _firings, ())


class Backfill(Answer):
    """The times of a backfill."""

    __slots__ = ()
    _shown = ("matched", "added")

    #: The number of the schedule's times in the span.
    matched = Field[int]("matched")
    #: The number of jobs that were added (with `dry_run`: would be added); the jobs of the other times exist already.
    added = Field[int]("added", default=0)
    #: The times, oldest first.
    times = Field[tuple[datetime, ...]]("times", as_text_times, ())


class ScheduleOptions(TypedDict, total=False):
    """The settings of a schedule; the fields from `priority` on are settings of the jobs that it adds."""

    #: Five fields as in Debian's cron, or @hourly, @daily, @weekly, @monthly or @yearly.
    cron: str
    #: The time between two firings, on a fixed grid from the schedule's creation.
    every_seconds: Span
    #: An IANA name such as Europe/Berlin; default UTC.
    timezone: str
    #: What to do while a job of the schedule is unfinished: skip the time (default), add a job, or replace that job.
    if_running: IfRunning
    #: Times that were missed: fire the latest once (default), none or all of them.
    missed: Missed
    #: The age after which a missed time is too old for `missed="once"`; default one day.
    missed_seconds: Span
    #: After how many failures in a row the schedule pauses itself; None, the default, is never.
    pause_after_failures: int | None
    #: Whether the schedule is paused; by default a new one is not, and an existing one keeps its state.
    paused: bool
    priority: int
    keep_minutes: Span
    timeout_seconds: Span
    tags: Sequence[str]
    max_attempts: int
    retry_delay_seconds: Span
    #: While a job with this key is unfinished, a time is skipped.
    unique_key: str
    #: A JSON object without `schedule`, which the server adds: the schedule's name and the time.
    meta: Mapping[str, Any]
    group: str
    #: The time from the firing until the job can be claimed.
    delay_seconds: Span


_OF_SCHEDULE: Final = frozenset(
    {
        "cron",
        "every_seconds",
        "timezone",
        "if_running",
        "missed",
        "missed_seconds",
        "pause_after_failures",
        "paused",
    }
)
_WRITE: Final[Mapping[str, Callable[[Any], Any]]] = {"every_seconds": whole_seconds, "missed_seconds": whole_seconds}
_REMOVED: Final = frozenset({"pause_after_failures"})


def schedule_value(content: Mapping[str, Any] | None, options: Mapping[str, Any]) -> dict[str, Any]:
    """The settings as a JSON object; without `content` the job is left out. Raises TypeError."""
    value = written(options, ScheduleOptions.__optional_keys__, _REMOVED, _WRITE)
    job = {name: value.pop(name) for name in value.keys() - _OF_SCHEDULE}
    if content is not None:
        value["job"] = {**written_options(job), "content": written_content(content)}
    elif job:
        raise TypeError(f"{min(job)} can't be changed alone: a change replaces the whole job, so give the content too")
    return value
