"""The commands for schedules, and how schedules are shown."""

import json
import time
from typing import Any

import pytest

from jobengine.client import ScheduleNotFound
from jobengine.client.errors import error_of

from .fakes import UID, Shell, schedule_of

_FIRINGS = [
    {
        "time": "2027-01-10T03:00:00+01:00",
        "skipped": "It was missed.",
        "times": 3,
        "until": "2027-01-12T03:00:00+01:00",
    },
    {"time": "2027-01-13T03:00:00+01:00", "uid": UID},
    {"time": "2027-01-14T03:00:00+01:00", "uid": UID, "state": "complete", "manual": True},
]
_NIGHTLY = schedule_of(
    cron="0 3 * * *",
    timezone="Europe/Berlin",
    next=["2027-01-16T03:00:00+01:00", "2027-01-17T03:00:00+01:00"],
    notes=["2027-03-28: 02:30 does not exist; it fires at 03:00"],
    firings=_FIRINGS,
    missed_seconds=86_400,
    created=1_800_000_000,
)


@pytest.mark.parametrize(
    ("options", "settings"),
    [
        (("--cron", "@daily"), {"cron": "@daily"}),
        (("--every", "5m", "--missed", "none"), {"every_seconds": 300, "missed": "none"}),
        (
            ("--cron", "@daily", "--timezone", "UTC", "--if-running", "add", "--missed-within", "1h", "--paused"),
            {"cron": "@daily", "timezone": "UTC", "if_running": "add", "missed_seconds": 3_600, "paused": True},
        ),
        (
            ("--cron", "@daily", "--pause-after-failures", "3", "--not-paused", "--priority", "5", "--tag", "a"),
            {"cron": "@daily", "pause_after_failures": 3, "paused": False, "priority": 5, "tags": ["a"]},
        ),
        (
            ("--cron", "@daily", "--keep", "2h", "--timeout", "30", "--group", "g", "--delay", "1m"),
            {"cron": "@daily", "keep_minutes": 120, "timeout_seconds": 30, "group": "g", "delay_seconds": 60},
        ),
    ],
)
def test_schedule_add_sends_only_the_given_settings(
    shell: Shell, options: tuple[str, ...], settings: dict[str, Any]
) -> None:
    assert shell("schedule", "add", "mail", "nightly", '{"a": 1}', *options).exit_code == 0
    assert shell("schedule", "add", "mail", "nightly", *options, "--dry-run").exit_code == 0
    assert [asked for asked in shell.mail.asked if asked[0] == "schedule"] == [
        ("schedule", "nightly", {"a": 1}, {"dry_run": False, **settings}),
        ("schedule", "nightly", {}, {"dry_run": True, **settings}),
    ]


@pytest.mark.parametrize(
    ("before", "options", "said"),
    [
        (_NIGHTLY, (), "The schedule 'nightly' was replaced, also its time zone: from Europe/Berlin to UTC.\n"),
        (
            _NIGHTLY,
            ("--dry-run",),
            "The schedule 'nightly' would be replaced, also its time zone: from Europe/Berlin to",
        ),
        (_NIGHTLY, ("--timezone", "Europe/Berlin"), ""),
        (ScheduleNotFound("no"), ("--timezone", "Europe/Berlin"), ""),
    ],
)
def test_schedule_add_reports_that_it_has_replaced_the_time_zone_of_a_schedule(
    shell: Shell, before: Any, options: tuple[str, ...], said: str
) -> None:
    shell.mail.answers["get schedule"] = before
    done = shell("schedule", "add", "mail", "nightly", "--cron", "@daily", *options)
    assert done.exit_code == 0
    assert done.stderr.startswith(said)
    assert bool(done.stderr) == bool(said)


def test_the_help_of_schedule_add_and_configure_says_when_a_default_applies(shell: Shell) -> None:
    added, configured = (" ".join(shell("schedule", name, "--help").stdout.split()) for name in ("add", "configure"))
    for default in ("UTC", "`skip`", "`once`", "1d"):
        assert f"; {default} by default." in added
        assert f"; {default} unless it was set." in configured


@pytest.mark.parametrize("options", [(), ("--cron", "@daily", "--every", "5m"), ("--cron", "@daily", "[]")])
def test_schedule_add_needs_either_a_cron_line_or_a_time_span(shell: Shell, options: tuple[str, ...]) -> None:
    assert shell("schedule", "add", "mail", "nightly", *options).exit_code == 2
    assert shell.engine.made == []


@pytest.mark.parametrize(
    ("given", "content", "sent"),
    [
        (("--cron", "0 4 * * *"), None, {"cron": "0 4 * * *"}),
        (("--every", "5m", "--paused"), None, {"every_seconds": 300, "paused": True}),
        (("--pause-after-failures", "none"), None, {"pause_after_failures": None}),
        (("--pause-after-failures", "3"), None, {"pause_after_failures": 3}),
        (('{"a": 2}',), {"a": 2}, {"priority": 5, "tags": ["x"]}),
        (("--priority", "7", "--missed", "all"), {"a": 1}, {"missed": "all", "priority": 7, "tags": ["x"]}),
        (("{}", "--keep", "2h"), {}, {"priority": 5, "tags": ["x"], "keep_minutes": 120}),
    ],
)
def test_schedule_configure_changes_only_what_is_given(
    shell: Shell, given: tuple[str, ...], content: Any, sent: dict[str, Any]
) -> None:
    job = {"content": {"a": 1}, "priority": 5, "tags": ["x"]}
    shell.mail.answers["get schedule"] = schedule_of(job=job)
    assert shell("schedule", "configure", "mail", "nightly", *given).exit_code == 0
    assert shell.mail.asked[-1] == ("change schedule", "nightly", content, sent)


@pytest.mark.parametrize("given", [(), ("--cron", "@daily", "--every", "5m")])
def test_schedule_configure_refuses_no_change_and_cron_together_with_every(
    shell: Shell, given: tuple[str, ...]
) -> None:
    assert shell("schedule", "configure", "mail", "nightly", *given).exit_code == 2
    assert shell.engine.made == []


def test_show_prints_settings_next_times_notes_and_last_outcomes(shell: Shell) -> None:
    shell.mail.answers["get schedule"] = _NIGHTLY
    done = shell("schedule", "show", "mail", "nightly")
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert ["timezone", "Europe/Berlin"] in rows
    assert ["created", "2027-01-15T08:00:00Z"] in rows
    assert rows[-6:] == [
        ["next", "2027-01-16T03:00:00+01:00"],
        ["next", "2027-01-17T03:00:00+01:00"],
        ["note", "2027-03-28: 02:30 does not exist; it fires at 03:00"],
        ["time", "2027-01-10T03:00:00+01:00 to 2027-01-12T03:00:00+01:00 (3 times): skipped: It was missed."],
        ["time", f"2027-01-13T03:00:00+01:00: no longer kept {UID}"],
        ["time", f"2027-01-14T03:00:00+01:00, by hand: complete {UID}"],
    ]
    assert json.loads(shell("schedule", "show", "mail", "nightly", "--json").stdout) == _NIGHTLY.raw


def test_list_shows_the_next_and_the_last_time_of_each_schedule(shell: Shell) -> None:
    failing = schedule_of("refresh", every_seconds=300, paused=True, paused_by_failures=True, next=[])
    often = schedule_of("z", every_seconds=2, paused=True, next=[])
    shell.mail.answers["schedules"] = [_NIGHTLY, failing, often]
    done = shell("schedule", "list", "mail")
    next_time, last = "2027-01-16T03:00:00+01:00", "2027-01-14T03:00:00+01:00"
    assert [line.split("\t") for line in done.stdout.splitlines()] == [
        ["nightly", "open", "0 3 * * *", "Europe/Berlin", next_time, last, "complete"],
        ["refresh", "paused by failures", "every 5m", "UTC", "", "", ""],
        ["z", "paused", "every 2s", "UTC", "", "", ""],
    ]
    assert "more than 2" in shell("schedule", "list", "mail", "--limit", "2").stderr
    assert len(shell("schedule", "list", "mail", "--all", "--json").stdout.splitlines()) == 3
    assert shell.mail.asked == [("schedules", {"limit": 51}), ("schedules", {"limit": 3}), ("schedules", {})]
    shell.mail.answers["schedules"] = []
    assert "`jobengine schedule add` adds one" in shell("schedule", "list", "mail").stderr


def test_pause_resume_and_delete_report_their_effect(shell: Shell) -> None:
    said = [shell("schedule", name, "mail", "nightly").stderr for name in ("pause", "resume", "delete")]
    assert said == [
        "The schedule 'nightly' of 'mail' is paused.\n",
        "The schedule 'nightly' of 'mail' fires next at 2027-01-16T03:00:00+00:00.\n",
        "The schedule 'nightly' of 'mail' was deleted.\n",
    ]
    assert [asked[0] for asked in shell.mail.asked] == ["pause schedule", "resume schedule", "delete schedule"]
    assert json.loads(shell("schedule", "pause", "mail", "nightly", "--json").stdout)["paused"] is True
    deleted = json.loads(shell("schedule", "delete", "mail", "nightly", "--json").stdout)
    assert deleted == {"queue_name": "mail", "name": "nightly"}


def test_run_prints_the_uid_of_the_job(shell: Shell) -> None:
    assert shell("schedule", "run", "mail", "nightly").stdout == f"{UID}\n"
    assert json.loads(shell("schedule", "run", "mail", "nightly", "--json").stdout)["manual"] is True
    assert shell.mail.asked == [("run", "nightly")] * 2


def test_run_for_past_times_prints_the_times_and_counts_the_jobs(shell: Shell) -> None:
    arguments = ("schedule", "run", "mail", "nightly", "--from", "1800000000")
    done = shell(*arguments, "--until", "1800003600", "--dry-run")
    assert done.stdout == "2027-01-15T03:00:00+01:00\n"
    assert done.stderr == "2 jobs would be added; 1 exist already.\n"
    before = time.time()
    assert shell(*arguments).stderr == "2 jobs were added; 1 exist already.\n"
    first, second = shell.mail.asked
    assert first == ("backfill", "nightly", 1_800_000_000, 1_800_003_600, {"dry_run": True})
    assert before <= second[3] <= time.time()
    for wrong in (("--until", "1800000000"), ("--dry-run",)):
        assert shell("schedule", "run", "mail", "nightly", *wrong).exit_code == 2


def test_a_missing_schedule_exits_with_3_and_names_the_list_command(shell: Shell) -> None:
    text = "The queue has no schedule 'n'; GET /api/v1/schedules lists its schedules."
    shell.mail.answers["get schedule"] = error_of(404, {"detail": text}, special={404: ScheduleNotFound})
    done = shell("schedule", "show", "mail", "n")
    assert (done.exit_code, "`jobengine schedule list` lists its schedules" in done.stderr) == (3, True)
