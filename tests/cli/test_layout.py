"""Tables at a terminal."""

import io
from datetime import timedelta
from typing import Any, Literal

import pytest
from rich.console import Console

from jobengine.cli.columns import JOBS, QUEUES, TOP
from jobengine.cli.layout import table_of
from jobengine.cli.terminal_text import duration
from jobengine.cli.top_data import Holder, Snapshot
from jobengine.cli.top_screen import screen
from jobengine.client import QueueStats, WorkerJobs

from .fakes import UID, job_of, stats_of


def _drawn(what: object, width: int, colours: Literal["standard"] | None = None) -> str:
    file = io.StringIO()
    Console(file=file, width=width, force_terminal=True, color_system=colours, highlight=False).print(what)
    return file.getvalue()


BUSY = stats_of(
    "a-queue-with-a-very-long-name-that-nobody-needs-to-read-to-its-end",
    counts={"queued": 123456789, "inprogress": 1234567, "complete": 7654321, "failed": 7777777},
    ready=123456789,
    last_minute={"added": 999999, "complete": 888888, "failed": 111111},
    wait_seconds={"p50": 0.2, "p99": 3.25},
    run_seconds={"p50": 12.0, "p99": 4000.0},
    retrying=6666666,
    workers_waiting=5555555,
    held=4444444,
    waiting=3333333,
)


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_top_never_cuts_numbers_in_a_narrow_terminal(width: int) -> None:
    drawn = _drawn(table_of(TOP, [BUSY], width), width)
    assert all(len(line) <= width for line in drawn.splitlines())
    assert {"123456789", "1234567", "6666666", "888888"} <= set(drawn.split())
    assert drawn.count("…") <= 1  # the name


def test_top_shows_all_columns_in_a_wide_terminal() -> None:
    drawn = _drawn(table_of(TOP, [BUSY], 250), 250)
    headings = drawn.splitlines()[0]
    places = [
        headings.index(heading)
        for heading in ("ready", "waiting", "held", "running", "idle", "failed", "retrying", "oldest")
    ]
    assert places == sorted(places)
    assert all(column.heading in headings for column in TOP)
    assert "1h 6m" in drawn
    assert "…" not in drawn


def test_top_at_80_columns_shows_paused_queues_and_numbers_of_jobs() -> None:
    queues = [stats_of(counts={"queued": 5718, "inprogress": 1234567, "complete": 0, "failed": 0}, paused=True)]
    drawn = _drawn(screen(Snapshot(queues, ()), "", "http://127.0.0.1:6006", 0, 80), 80)
    assert "paused" in drawn
    assert "queued 5,718 in progress 1,234,567" in " ".join(drawn.split())


def test_top_shows_the_seconds_since_the_last_update_of_each_worker() -> None:
    held = [{"worker": name, "jobs": 1, "last_updated": at} for name, at in (("ada", 58), ("bob", 101))]
    workers = [Holder("mail", WorkerJobs(one)) for one in held]
    drawn = _drawn(screen(Snapshot([BUSY], workers), "", "http://x", 100, 80), 80)
    ada, bob = drawn.splitlines()[-2:]
    assert (ada.split(), bob.split()) == (["ada", "mail", "1", "42s"], ["bob", "mail", "1", "0.0s"])


def test_idle_workers_are_shown_with_their_queues_and_how_long_they_have_been_idle() -> None:
    claim = {"worker": "ada", "waiting": True, "since": 58, "queues": ["mail", "news"], "host": "h1", "pid": "7"}
    drawn = _drawn(screen(Snapshot([BUSY], (), [Holder("mail", WorkerJobs(claim))]), "", "http://x", 100, 100), 100)
    headings, ada = drawn.splitlines()[-2:]
    assert headings.split() == ["idle", "worker", "queues", "host", "pid", "idle"]
    assert ada.split() == ["ada", "mail,news", "h1", "7", "42s"]


_LONELY = stats_of(ready=292, oldest_ready_seconds=780.0, workers_waiting=0, counts={"queued": 292})


@pytest.mark.parametrize(
    ("columns", "queue", "seen"),
    [(TOP, _LONELY, "\x1b[31mno worker"), (QUEUES, stats_of(paused=True), "\x1b[33mpaused")],
)
def test_problems_and_states_are_shown_in_colours(columns: Any, queue: QueueStats, seen: str) -> None:
    assert seen in _drawn(table_of(columns, [queue], 80), 80, "standard")


def test_a_table_of_jobs_has_whole_uids_and_no_empty_columns() -> None:
    drawn = _drawn(table_of(JOBS, [job_of(content={"text": "x" * 1000})], 80), 80)
    assert UID in drawn
    assert "worker" not in drawn
    assert "…" in drawn


def test_text_in_jobs_can_not_control_the_terminal() -> None:
    job = job_of(worker="\x1b]0;owned\x07", tags=["[red]no markup[/]"])
    drawn = _drawn(table_of(JOBS, [job], 250), 250)
    assert "\x1b]" not in drawn
    assert "\\x1b]0;owned" in drawn
    assert "[red]no markup[/]" in drawn


def test_top_shows_the_error_above_the_last_data() -> None:
    drawn = _drawn(screen(Snapshot([stats_of()], ()), "No answer.", "http://x", 0, 80), 80)
    assert "No answer." in drawn
    assert "mail" in drawn
    assert "in progress 1" in drawn


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.0s"), (9.94, "9.9s"), (42, "42s"), (60, "1m"), (310, "5m 10s"), (3600, "1h"), (11100, "3h 5m")],
)
def test_a_duration_is_printed_in_at_most_two_units(seconds: float, text: str) -> None:
    assert duration(timedelta(seconds=seconds)) == text
    assert duration(timedelta(days=2, hours=4)) == "2d 4h"
