"""Schedules in bodies and answers."""

from collections.abc import Mapping
from itertools import islice
from typing import Any, Final

from msgspec import UNSET, Raw, to_builtins
from msgspec.json import Decoder
from msgspec.structs import replace

from ..core.commands import Backfilled
from ..core.model import SECOND, State
from ..core.schedules import (
    CONTENT_BYTES,
    Firing,
    IfRunning,
    Missed,
    Schedule,
    ScheduledJob,
    ScheduleReport,
    Settings,
    meta_of,
    times_after,
)
from ..timetable import TIMETABLE, cron_error, knows_zone, notes_on, time_of, zone_names
from . import bodies
from .did_you_mean import did_you_mean, quoted
from .json_values import META_LENGTH, json_object, unique
from .request_head import BadInput, one_of

#: How many next times of a schedule an answer shows.
_NEXT: Final = 5
#: An unknown time zone of at most so many letters, all capitals, is taken for an abbreviation.
_ABBREVIATION: Final = 4
#: The longest text of a time with its offset.
_LONGEST_TIME: Final = "9999-12-31T23:59:59+00:00:00"
_read_object: Final = Decoder(dict[str, Raw]).decode


def settings_of(sent: bodies.SetSchedule) -> Settings:
    """The settings of a schedule; raises BadInput."""
    if sent.cron is None and sent.every_seconds is None:
        raise BadInput('Send cron, such as "0 3 * * *", or every_seconds.')
    return Settings(job=_job(sent.job, sent.name), **{**_timing(sent), **_rules(sent)})


def changed_settings(sent: bodies.ChangeSchedule) -> dict[str, Any]:
    """The settings that a request changes, by name; raises BadInput."""
    changes = {**_timing(sent), **_rules(sent)}
    if sent.job is not None:
        changes["job"] = _job(sent.job, sent.name)
    if "cron" in changes or "every_seconds" in changes:
        # `cron` and `every_seconds` replace each other.
        changes = {"cron": None, "every_seconds": None, **changes}
    return changes


def time_sent(value: int | str, place: str) -> int:
    """A time in milliseconds, from a Unix second or a text; raises BadInput."""
    time = value * SECOND if isinstance(value, int) else time_of(value)
    if time is None or not 0 <= time <= 253_402_300_799 * SECOND:
        raise BadInput(f"{place} must be a Unix second, or a time with its offset, such as 2027-03-28T03:00:00+02:00.")
    return time


def _timing(sent: bodies.SetSchedule | bodies.ChangeSchedule) -> dict[str, Any]:
    """The sent settings that decide when a schedule fires."""
    if sent.cron is not None and sent.every_seconds is not None:
        raise BadInput("cron and every_seconds can't be combined: send one of them.")
    found: dict[str, Any] = {}
    if sent.cron is not None:
        line = " ".join(sent.cron.split())
        error = cron_error(line)
        if error is not None:
            raise BadInput(f"cron {error}.")
        found["cron"] = line
    if sent.every_seconds is not None:
        found["every_seconds"] = sent.every_seconds
    if sent.timezone is not None:
        if not knows_zone(sent.timezone):
            # Suggest no name for an abbreviation such as CEST: the most similar name is another time zone.
            known = () if len(sent.timezone) <= _ABBREVIATION and sent.timezone.isupper() else zone_names()
            advice = did_you_mean(sent.timezone, known)
            advice = advice if advice.startswith("Did") else "Send a name such as Europe/Berlin or UTC."
            raise BadInput(f"timezone {quoted(sent.timezone)} is not known. {advice}")
        found["timezone"] = sent.timezone
    return found


def _rules(sent: bodies.SetSchedule | bodies.ChangeSchedule) -> dict[str, Any]:
    """The sent settings for unusual cases."""
    found: dict[str, Any] = {}
    if sent.if_running is not None:
        found["if_running"] = one_of(IfRunning, sent.if_running, "if_running")
    if sent.missed is not None:
        found["missed"] = one_of(Missed, sent.missed, "missed")
    if sent.missed_seconds is not None:
        found["missed_seconds"] = sent.missed_seconds
    if sent.pause_after_failures is not UNSET:
        found["pause_after_failures"] = sent.pause_after_failures
    return found


def _job(sent: bodies.ScheduledJob, name: str) -> ScheduledJob:
    has_meta = bytes(sent.meta) not in (b"", b"null")
    meta = json_object(sent.meta, "job.meta", META_LENGTH).decode() if has_meta else None
    if len(meta_of(name, meta, _LONGEST_TIME).encode()) > META_LENGTH:
        raise BadInput(f"job.meta is too long: with the schedule's name and time it has more than {META_LENGTH} bytes.")
    if has_meta and "schedule" in _read_object(sent.meta):
        raise BadInput("job.meta must not have a field schedule: the server adds it, with the name and the time.")
    return ScheduledJob(
        content=json_object(sent.content, "job.content", CONTENT_BYTES).decode(),
        priority=sent.priority or 0,
        keep_minutes=sent.keep_minutes,
        timeout_seconds=sent.timeout_seconds,
        tags=unique(sent.tags),
        max_attempts=sent.max_attempts,
        retry_delay_seconds=sent.retry_delay_seconds,
        unique_key=sent.unique_key,
        meta=meta,
        group=sent.group,
        delay_seconds=sent.delay_seconds or 0,
    )


def schedule_value(queue: str, report: ScheduleReport, *, most: int = _NEXT) -> dict[str, Any]:
    """A schedule with at most `most` next times; with its notes on clock changes if `most` is above 1."""
    schedule, its = report.schedule, report.schedule.settings
    # The schedule may have been made by a server that knew more zones.
    zone = its.timezone if knows_zone(its.timezone) else "UTC"
    optional: dict[str, Any] = {
        "pause_after_failures": its.pause_after_failures,
        "failures": schedule.failures or None,
        "paused_by_failures": schedule.failing or None,
        "notes": _notes(its, zone, report.wall) if most > 1 else None,
    }
    return {
        "queue_name": queue,
        "name": report.name,
        **({"every_seconds": its.every_seconds} if its.cron is None else {"cron": its.cron}),
        "timezone": its.timezone,
        "job": _job_value(its.job),
        "if_running": its.if_running,
        "missed": its.missed,
        "missed_seconds": its.missed_seconds,
        "paused": schedule.paused,
        "created": schedule.created // SECOND,
        "next": [TIMETABLE.text(time, zone) for time in _next_times(schedule, zone, most)],
        "firings": [firing_value(one, zone, report.states) for one in schedule.firings],
        **{name: value for name, value in optional.items() if value is not None},
    }


def firing_value(firing: Firing, timezone: str, states: Mapping[str, State]) -> dict[str, Any]:
    """What happened at a time of a schedule."""
    value: dict[str, Any] = {"time": TIMETABLE.text(firing.time, timezone)}
    if firing.uid is not None:
        state = states.get(firing.uid)
        value |= {"uid": firing.uid, **({} if state is None else {"state": state})}
    if firing.skipped is not None:
        value["skipped"] = firing.skipped
    if firing.times > 1:
        value |= {"times": firing.times, "until": TIMETABLE.text(firing.until, timezone)}
    return {**value, "manual": True} if firing.manual else value


def backfilled_value(backfilled: Backfilled) -> dict[str, Any]:
    """The times of a backfill."""
    times = [TIMETABLE.text(time, backfilled.timezone) for time in backfilled.times]
    return {"matched": len(times), "added": backfilled.added, "times": times}


def _job_value(job: ScheduledJob) -> dict[str, Any]:
    value: dict[str, Any] = to_builtins(job)
    raw = {name: Raw(value[name].encode()) for name in ("content", "meta") if value.get(name) is not None}
    return {**value, **raw}


def _next_times(schedule: Schedule, zone: str, most: int) -> list[int]:
    if schedule.next is None:
        return []
    settings = replace(schedule.settings, timezone=zone)
    return [schedule.next, *islice(times_after(settings, schedule.created, schedule.next, TIMETABLE), most - 1)]


def _notes(its: Settings, zone: str, wall: int) -> list[str]:
    return [] if its.cron is None else notes_on(its.cron, zone, wall)
