"""Cron lines in time zones, judged by a walk through all minutes of a year."""

from collections import Counter
from itertools import pairwise, takewhile
from zoneinfo import available_timezones

import pytest

from jobengine.core.errors import NoTimes
from jobengine.timetable import NICKNAMES, TIMETABLE, cron_error, knows_zone, notes_on, time_of
from tests.debian_cron import fired, year

ZONES = ["Europe/Berlin", "Australia/Lord_Howe", "Africa/Casablanca"]
LINES = [
    *("0 3 * * *", "30 2 * * *", "15,45 1,2 * * *", "0 0-4 * * *", "59 1 * * 0", "30 2 1-7 * 0", "0 0 1,15 * 1"),
    *(
        "* 1-3 * 2-4,10,11 *",
        "*/20 * * * *",
        "0 * * * *",
        "*/15 2 * * *",
        "30 */2 * * *",
        "45 1-3 * 3,10,11 *",
        "0 2 * 2-4 *",
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize("zone", ZONES)
def test_every_time_of_a_year_matches_debians_cron(zone: str) -> None:
    first, last = year(2027)
    for line in LINES:
        times = TIMETABLE.following(line, zone, int(first.timestamp()) * 1000 - 1)
        found = [time // 1000 for time in takewhile(lambda time: time < last.timestamp() * 1000, times)]
        assert found == fired(line, zone, first, last), line


@pytest.mark.slow
@pytest.mark.parametrize("zone", ["Europe/Berlin", "Australia/Lord_Howe"])
def test_the_next_time_does_not_depend_on_the_start_of_the_search(zone: str) -> None:
    """Also from within an hour that comes twice, and right before and after a jump."""
    first, last = year(2027)
    for line in LINES:
        times = [time * 1000 for time in fired(line, zone, first, last)]
        gaps = Counter(after - before for before, after in pairwise(times))
        for before, time in pairwise(times):
            if gaps[time - before] < 5:
                for begin in (before, before + 1, (before + time) // 2, time - 1):
                    assert next(TIMETABLE.following(line, zone, begin)) == time, (line, begin)


def test_notes_name_the_times_that_clock_changes_affect() -> None:
    start = 1_704_067_200_000  # a past year: governments may still change the clocks of others
    assert notes_on("30 2 * * *", "Europe/Berlin", start) == [
        "2024-03-31: 02:30 does not exist; it fires at 03:00",
        "2024-10-27: 02:30 comes twice; it fires the first time only",
    ]
    assert notes_on("15 2 * * *", "Australia/Lord_Howe", start) == [
        "2024-10-06: 02:15 does not exist; it fires at 02:30",
    ]
    assert notes_on("@hourly", "Africa/Casablanca", start) == [
        "2024-03-10: 02:00 comes twice; it fires both times",
        "2024-04-14: 02:00 does not exist; it is skipped",
    ]
    assert notes_on("0 12 * * *", "Europe/Berlin", start) == notes_on("* * * * *", "UTC", start) == []


@pytest.mark.parametrize("line", [*NICKNAMES, "0 0 * * SUN", "0 0 1 JAN *", "0 0 L * *", "0 0 * * MON#2"])
def test_a_cron_line_that_debians_cron_or_cronsim_accepts_is_accepted(line: str) -> None:
    assert cron_error(line) is None
    assert next(TIMETABLE.following(line, "UTC", 0)) > 0


def test_the_times_of_a_cron_line_end_with_the_year_9999() -> None:
    latest = 253_402_300_799_000
    for zone in ("UTC", "Europe/Berlin", "America/New_York"):
        assert 1 <= len(list(TIMETABLE.following("0 0 * * *", zone, latest - 3 * 86_400_000))) <= 3
    with pytest.raises(NoTimes):
        next(TIMETABLE.following("0 0 * * *", "UTC", latest * 100))


def test_every_time_zone_is_known_without_the_time_zone_files_of_the_system() -> None:
    assert all(map(knows_zone, available_timezones()))
    assert not any(map(knows_zone, ["", ".", "..", "../UTC", "/usr/share/zoneinfo/UTC", "utc\x00", "Mars", "Europe"]))


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2027-03-28T03:00:00+02:00", 1_806_195_600_000),
        ("2027-03-28T01:00:00Z", 1_806_195_600_000),
        ("2027-03-28T03:00:00", None),
        ("2027-03-28", None),
        ("", None),
        ("x", None),
    ],
)
def test_a_time_written_as_text_needs_an_offset_from_utc(text: str, time: int | None) -> None:
    assert time_of(text) == time
