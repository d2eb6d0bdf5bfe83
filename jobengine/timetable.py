"""
Cron lines and time zones, which `core` does not read itself.

A cron line is read as Debian's cron reads it. On days on which clocks change: a time that does not exist is fired right
after the change, and a time that comes twice is fired once, the first time; but a line whose minute or hour begins with
* follows the clock. cronsim only finds the times that clocks would show, without a time zone: with one, it returns
wrong times in zones whose clocks change by half an hour.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache
from itertools import takewhile
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

from .core.errors import NoTimes
from .core.schedules import Calendar

#: The names that Debian's cron accepts instead of five fields, each with its fields.
NICKNAMES: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
#: The fields of a cron line, as cronsim names them, and what each may be.
_FIELDS: Final = {
    "minute": "0 to 59",
    "hour": "0 to 23",
    "day-of-month": "1 to 31",
    "month": "1 to 12, or JAN to DEC",
    "day-of-week": "0 to 7, or SUN to SAT",
}
#: The beginning of Unix time, in UTC; like all moments here, without a time zone.
_EPOCH: Final = datetime(1970, 1, 1)
_DAY: Final = timedelta(days=1)
_NOTHING: Final = timedelta()
#: How many days ahead changes of clocks are searched for.
_AHEAD: Final = 366


class _Timetable:
    """The Calendar of jobengine.core.schedules for cron lines."""

    __slots__ = ()

    def following(self, cron: str, timezone: str, after: int) -> Iterator[int]:
        zone, line = _zone(timezone), NICKNAMES.get(cron, cron)
        try:
            shown = _shown_at(after, zone)
            # If clocks go back within the next day, some times come again: start the search earlier by the same amount.
            back = max(_NOTHING, _offset(shown.at, zone) - _offset(shown.at + _DAY, zone))
            matching = CronSim(line, shown.clock - back)
        except (CronSimError, OverflowError) as error:
            raise NoTimes(f"The cron line {cron!r} can't be read: {error}.") from None
        return _later(_moments(matching, zone, follows_clock=_follows_clock(line)), after)

    def text(self, time: int, timezone: str) -> str:
        at = _EPOCH + timedelta(seconds=time // 1000)
        return at.replace(tzinfo=UTC).astimezone(_zone(timezone)).isoformat()


#: The calendar of this server.
TIMETABLE: Final[Calendar] = _Timetable()


def _later(times: Iterator[int], after: int) -> Iterator[int]:
    """The times later than `after`, each once."""
    try:
        for time in times:
            if time > after:
                yield time
                after = time
    except (OverflowError, ValueError):  # the year 9999
        return


def _moments(shown: Iterator[datetime], zone: tzinfo, *, follows_clock: bool) -> Iterator[int]:
    """The moments when clocks show the sorted times `shown`; for times that clocks skip or repeat, see the module."""
    again: list[int] = []
    for clock in shown:
        first, second = (clock.replace(tzinfo=zone, fold=fold).utcoffset() or _NOTHING for fold in (0, 1))
        if first < second:
            if not follows_clock:
                yield _jump_before(clock - first, zone)
            continue
        time = _time(clock, first)
        while again and again[0] < time:
            yield again.pop(0)
        yield time
        if first > second and follows_clock:
            again.append(_time(clock, second))
    yield from again


def _jump_before(at: datetime, zone: tzinfo) -> int:
    """When clocks went forward, in the day before `at` (in UTC)."""
    return _time(_first_with(_offset(at, zone), at - _DAY, zone), _NOTHING)


def _follows_clock(line: str) -> bool:
    return any(field.startswith("*") for field in line.split()[:2])


def _time(clock: datetime, offset: timedelta) -> int:
    return (clock - offset - _EPOCH) // timedelta(milliseconds=1)


class _Shown(NamedTuple):
    """A moment in UTC, and the local time then; both are naive datetimes."""

    at: datetime
    clock: datetime


def _shown_at(time: int, zone: tzinfo) -> _Shown:
    """A Unix time as a moment in UTC, with the local time then; raises OverflowError beyond the year 9999."""
    at = _EPOCH + timedelta(milliseconds=time)
    return _Shown(at, at + _offset(at, zone))


@lru_cache(maxsize=1_000)
def _zone(name: str) -> tzinfo:
    """A time zone; raises NoTimes."""
    try:
        return UTC if name == "UTC" else ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        raise NoTimes(f"The time zone {name!r} is not known here.") from None


def time_of(text: str) -> int | None:
    """The time of a text in ISO 8601 with an offset; None for another text."""
    try:
        moment = datetime.fromisoformat(text)
        offset = moment.utcoffset()
        return None if offset is None else _time(moment.replace(tzinfo=None), offset)
    except (ValueError, OverflowError):
        return None


def knows_zone(name: str) -> bool:
    """Whether this is the name of a time zone."""
    try:
        _zone(name)
    except NoTimes:
        return False
    return True


@lru_cache(maxsize=1)
def zone_names() -> frozenset[str]:
    """The names of all time zones."""
    return frozenset(available_timezones())


def cron_error(cron: str) -> str | None:
    """What is wrong with a cron line, as a sentence that lacks its subject; None for a valid line."""
    line = NICKNAMES.get(cron, cron)
    if line.startswith("@"):
        return f"must be five fields or one of {', '.join(NICKNAMES)}, not {cron!r}"
    fields = line.split()
    if len(fields) != len(_FIELDS):
        return f"must have five fields, minute hour day-of-month month day-of-week; {cron!r} has {len(fields)}"
    try:
        CronSim(line, _EPOCH)
    except (CronSimError, RecursionError, ValueError) as error:
        name = str(error).removeprefix("Bad ")
        field = fields[list(_FIELDS).index(name)] if name in _FIELDS else ""
        if field == "" or _is_valid(name, field):
            return f"{cron!r} never fires: no month has such a day" if field else f"{cron!r} can't be read"
        return f"has {field!r} as {name}, which must be {_FIELDS[name]}, with *, lists, ranges and steps"
    return None


def _is_valid(name: str, field: str) -> bool:
    """Whether a field of a cron line is valid, whatever the other fields are."""
    alone = [field if each == name else "*" for each in _FIELDS]
    try:
        CronSim(" ".join(alone), _EPOCH)
    except CronSimError:
        return False
    return True


def notes_on(cron: str, timezone: str, after: int) -> list[str]:
    """A sentence for each clock change in the year from `after` that skips or repeats cron times; raises NoTimes."""
    line, notes = NICKNAMES.get(cron, cron), []
    for change, before, since in _changes(timezone, _shown_at(after, UTC).at.date()):
        first, last = sorted([change + before, change + since])
        named = _local_times(line, first, last)
        if named:
            odd = _missing if since > before else _repeated
            notes.append(f"{named[0].date()}: {odd(named, last, follows_clock=_follows_clock(line))}")
    return notes


def _local_times(line: str, first: datetime, end: datetime) -> list[datetime]:
    """The times of a cron line from `first` until before `end`, also those that clocks skip."""
    return list(takewhile(lambda each: each < end, CronSim(line, first - timedelta(seconds=1))))


def _missing(named: Sequence[datetime], last: datetime, *, follows_clock: bool) -> str:
    """A sentence about local times that do not exist, because clocks go forward to `last`."""
    what = "it is skipped" if follows_clock else f"it fires at {last:%H:%M}"
    if len(named) == 1:
        return f"{named[0]:%H:%M} does not exist; {what}"
    what = "they are skipped" if follows_clock else f"it fires once for them, at {last:%H:%M}"
    return f"{named[0]:%H:%M} to {named[-1]:%H:%M} do not exist; {what}"


def _repeated(named: Sequence[datetime], _last: datetime, *, follows_clock: bool) -> str:
    """A sentence about local times that come twice, because clocks go back."""
    what = "both times" if follows_clock else "the first time only"
    if len(named) == 1:
        return f"{named[0]:%H:%M} comes twice; it fires {what}"
    return f"{named[0]:%H:%M} to {named[-1]:%H:%M} come twice; they fire {what}"


@lru_cache(maxsize=1_000)
def _changes(timezone: str, day: date) -> Sequence[tuple[datetime, timedelta, timedelta]]:
    """
    The changes of clocks in the year from `day` on. Each has its time (in UTC, without a time zone), and the zone's
    offset before it and after it.
    """
    zone, found = _zone(timezone), []
    at = datetime.combine(day, datetime.min.time())
    for _ in range(_AHEAD):
        before, since = _offset(at, zone), _offset(at + _DAY, zone)
        if before != since:
            found.append((_first_with(since, at, zone), before, since))
        at += _DAY
    return found


def _first_with(offset: timedelta, at: datetime, zone: tzinfo) -> datetime:
    """The first second with this offset, in the day that begins at `at`."""
    low, high = 0, 86_400
    while high - low > 1:
        middle = (low + high) // 2
        if _offset(at + timedelta(seconds=middle), zone) == offset:
            high = middle
        else:
            low = middle
    return at + timedelta(seconds=high)


def _offset(at: datetime, zone: tzinfo) -> timedelta:
    return at.replace(tzinfo=UTC).astimezone(zone).utcoffset() or _NOTHING
