"""The history of a queue: bars at a terminal, lines elsewhere."""

import json
from types import SimpleNamespace
from typing import Any

import pytest

from jobengine.cli import history
from jobengine.cli.history import bars

from .fakes import Shell, stats_of

_COUNTS = ("added", "claimed", "complete", "failed", "cancelled", "attempts_failed")


def _history(**minutes: Any) -> Any:
    """A history in which nothing has happened, except in these minutes."""
    return SimpleNamespace(
        raw={
            "minutes": {**{name: [0] * 60 for name in _COUNTS}, "run_p50": [None] * 60, **minutes},
            "hours": {name: [0] * 168 for name in _COUNTS},
        }
    )


@pytest.fixture(autouse=True)
def at_a_quarter_past(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobengine.cli.history.time", SimpleNamespace(time=lambda: 1800000915.0))


def test_history_prints_a_line_for_each_minute_and_hour_without_a_terminal(shell: Shell) -> None:
    shell.mail.answers["history"] = _history(added=[*range(60)], run_p50=[None] * 59 + [12.003])
    lines = [line.split("\t") for line in shell("history", "mail").stdout.splitlines()]
    assert [(len(line), line[0]) for line in lines] == [(12, "minute")] * 60 + [(12, "hour")] * 168
    assert lines[0][:4] == ["minute", "2027-01-15T07:16:00Z", "0", "0"]
    assert lines[59] == ["minute", "2027-01-15T08:15:00Z", "59", "0", "0", "0", "0", "0", "", "", "12.003", ""]
    assert (lines[60][1], lines[-1][1]) == ("2027-01-08T09:00:00Z", "2027-01-15T08:00:00Z")


@pytest.mark.parametrize(
    ("created", "count"),
    [(1800000915 - 2 * 3600, 60 + 3), (1800000915 - 120, 3 + 1), (1800000915, 1 + 1), (1800009999, 1 + 1)],
    ids=["2 hours ago", "2 minutes ago", "now", "after this machine's clock"],
)
def test_history_has_no_line_for_the_time_before_the_queue_was_made(shell: Shell, created: int, count: int) -> None:
    shell.mail.answers["history"] = _history()
    shell.mail.answers["stats"] = stats_of(created=created)
    assert len(shell("history", "mail").stdout.splitlines()) == count


@pytest.mark.parametrize(("option", "unit", "count"), [("--minutes", "minutes", 60), ("--hours", "hours", 168)])
def test_history_can_be_limited_to_minutes_or_hours(shell: Shell, option: str, unit: str, count: int) -> None:
    shell.mail.answers["history"] = _history()
    assert len(shell("history", "mail", option).stdout.splitlines()) == count
    assert list(json.loads(shell("history", "mail", option, "--json").stdout)) == [unit]
    assert list(json.loads(shell("history", "mail", "--json").stdout)) == ["minutes", "hours"]


def test_the_height_of_a_bar_is_proportional_to_the_number_it_shows() -> None:
    assert bars([0, 1, 4, 8, None], add=True) == " ▁▄█ "
    assert bars([0] * 60, add=True) == " " * 60
    many: list[float | None] = [0] * 162 + [1, 2, 3, 6, 0, None]
    assert bars(many, add=True).strip() == "██"
    assert len(bars(many, add=True)) == 56
    assert bars([1, 1, 1] * 55 + [1, 2, 8], add=False)[-2:] == "▁█"


def test_charts_omit_figures_that_are_always_0() -> None:
    figures: dict[str, list[float | None]] = {"added": [0, 1200], "failed": [0, 0], "run_p99": [None, 65.0]}
    assert history._charts(figures) == [("  added", " █ 1,200"), ("  run p99", " █ up to 1m 5s")]
    assert history._charts({"added": [0, 0]}) == [("  nothing", "")]
