"""
Computes when Debian's cron fires a line in a time zone: an independent judge of schedules.

It walks through all minutes, as Debian's cron does, and looks up what clocks show with `zoneinfo`. A line whose minute
or hour begins with * fires whenever its fields match what clocks show. Any other line is tried once for each minute of
the calendar: minutes that clocks skip are tried right after the jump, minutes that clocks repeat only the first time.
"""

from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

_RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
_MINUTE = timedelta(minutes=1)


@cache
def _clocks(zone: str, first: datetime, last: datetime) -> list[datetime]:
    """What clocks show in each minute between two times in UTC."""
    info, minutes = ZoneInfo(zone), int((last - first) / _MINUTE)
    return [(first + number * _MINUTE).astimezone(info).replace(tzinfo=None) for number in range(minutes)]


def fired(line: str, zone: str, first: datetime, last: datetime) -> list[int]:
    """The Unix seconds at which a cron line fires between two times in UTC."""
    clocks = _clocks(zone, first, last)
    follows_clock = any(field.startswith("*") for field in line.split()[:2])
    matches, start = _Matcher(line), int(first.timestamp())
    if follows_clock:
        return [start + 60 * number for number, shown in enumerate(clocks) if matches(shown)]
    tried = _by_calendar(zone, first, last)
    return sorted({start + 60 * number for number, shown in tried if matches(shown)})


@cache
def _by_calendar(zone: str, first: datetime, last: datetime) -> list[tuple[int, datetime]]:
    """
    The calendar minutes that cron tries, each with the number of the minute in which it does: none in a minute that
    clocks repeat, and several after a jump.
    """
    tries, newest = list[tuple[int, datetime]](), first.astimezone(ZoneInfo(zone)).replace(tzinfo=None) - _MINUTE
    for number, shown in enumerate(_clocks(zone, first, last)):
        while newest < shown:
            newest += _MINUTE
            tries.append((number, newest))
    return tries


class _Matcher:
    """Whether a line fires at a minute of the calendar."""

    def __init__(self, line: str) -> None:
        fields = line.split()
        sets = [_values(field, *bounds) for field, bounds in zip(fields, _RANGES, strict=True)]
        self.minutes, self.hours, self.days, self.months, weekdays = sets
        self.weekdays = {day % 7 for day in weekdays}
        self.needs_both = fields[2].startswith("*") or fields[4].startswith("*")

    def __call__(self, at: datetime) -> bool:
        if at.minute not in self.minutes or at.hour not in self.hours or at.month not in self.months:
            return False
        days = (at.day in self.days, (at.weekday() + 1) % 7 in self.weekdays)
        return all(days) if self.needs_both else any(days)


def _values(field: str, least: int, most: int) -> set[int]:
    found: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        low, _, high = span.partition("-")
        first, last = (least, most) if span == "*" else (int(low), int(high or (most if step else low)))
        found.update(range(first, last + 1, int(step or 1)))
    return found


def year(number: int) -> tuple[datetime, datetime]:
    """The first moments of a year and of the next, in UTC."""
    return datetime(number, 1, 1, tzinfo=UTC), datetime(number + 1, 1, 1, tzinfo=UTC)
