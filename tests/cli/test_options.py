"""Options of commands for jobs: which jobs they select, what they set, and advice after mistakes."""

import json
import re
import shlex
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from jobengine.client import Explanation, QueueSetup

from .fakes import UID, Shell, job_of

# Advice


@pytest.mark.parametrize(
    ("line", "advice"),
    [
        ("jbos", "did you mean 'jobs'?"),
        ("list", "did you mean `jobengine jobs`?"),
        ("help", "write `jobengine --help`, or --help after any command."),
        ("queue help", "write `jobengine queue --help`, or --help after any command."),
        ("enqueue mail", "did you mean `jobengine add`?"),
        ("batches", "did you mean `jobengine batch list`?"),
        ("batch finish mail b", "did you mean `jobengine batch close`?"),
        ("queue purge mail", "did you mean `jobengine delete QUEUE --all`?"),
        ("groups", "did you mean `jobengine group list`?"),
        ("groups tenants", "did you mean `jobengine group list tenants`?"),
        ("group tenants", "did you mean `jobengine group list tenants`?"),
        ("key xyzzy", "did you mean `jobengine key list xyzzy`?"),
        ("queue xyzzy", "There is no command 'xyzzy'."),
        ("limit mail 5", "did you mean `jobengine queue configure`?"),
        ("schedules", "did you mean `jobengine schedule list`?"),
        ("schedule backfill mail n", "did you mean `jobengine schedule run`?"),
        ("group stop mail g", "did you mean `jobengine group pause`?"),
        ("group configure mail g", "did you mean `jobengine group set`?"),
        ("queues", "did you mean `jobengine queue list`?"),
        ("pause mail", "did you mean `jobengine queue pause`?"),
        ("revoke mail 1", "did you mean `jobengine key revoke`?"),
        ("db verify jobengine.jedb", "did you mean `jobengine db check`?"),
        ("check jobengine.jedb", "did you mean `jobengine db check`?"),
        ("queue rm mail", "did you mean `jobengine queue delete`?"),
        ("xyzzy", "There is no command 'xyzzy'."),
    ],
)
def test_an_unknown_command_is_refused_with_a_suggestion(shell: Shell, line: str, advice: str) -> None:
    done = shell(*line.split())
    assert done.exit_code == 2
    assert done.stderr.endswith(f"{advice}\n")


@pytest.mark.parametrize("arguments", [(UID, "--state", "complete"), ("--state", "complete")])
def test_an_update_with_state_instead_of_new_status_gets_advice(shell: Shell, arguments: tuple[str, ...]) -> None:
    done = shell("update", "mail", *arguments)
    assert done.exit_code == 2
    assert "--state selects jobs by their state; --new-status sets it." in done.stderr
    assert "--new-status" not in shell("update", "mail", UID).stderr


_AT_8 = datetime(2027, 1, 15, 8, tzinfo=UTC)
_BY = {"error": "no route", "worker": "ada-1"}
_BY_OPTIONS = "--error 'no route' --worker ada-1"
_CONFIGURED = {"keep_minutes": 2, "timeout_seconds": 90, "retry_delay_seconds": 3600}


@pytest.mark.parametrize(
    ("line", "asked"),
    [
        (f"jobs mail {_BY_OPTIONS} --all", ("jobs", None, {"sort": None, **_BY})),
        ("jobs mail --retrying --all", ("jobs", None, {"sort": None, "retrying": True})),
        ("jobs mail --cancelled --all", ("jobs", None, {"sort": None, "cancelled": True})),
        ("jobs mail --sort -updated --all", ("jobs", None, {"sort": "-updated"})),
        ("jobs mail --sort -updated --limit 3", ("jobs", 4, {"sort": "-updated"})),
        (f"delete mail {_BY_OPTIONS} --yes", ("delete_all", _BY)),
        ("delete mail --retrying --yes", ("delete_all", {"retrying": True})),
        ("delete mail --not-cancelled --state failed --yes", ("delete_all", {"cancelled": False, "state": "failed"})),
        (f"retry mail {_BY_OPTIONS} --yes", ("retry", _BY)),
        ("retry mail --all --yes", ("retry", {"all": True})),
        (
            "retry mail --all --without-dependencies --yes",
            ("update_all", {"new_status": "queued", "depends_on": []}, {"state": "failed", "cancelled": False}),
        ),
        ("retry mail --cancelled --yes", ("retry", {"cancelled": True})),
        ("retry mail --tag x --yes", ("retry", {"tag": "x"})),
        (
            f"update mail {UID} --error 'a b' --new-status failed",
            ("update", UID, {"new_status": "failed", "error": "a b"}),
        ),
        ("add mail {} --uid mine", ("add", {}, {"uid": "mine"})),
        ('add mail {} --meta \'{"by": "shop"}\'', ("add", {}, {"uid": UID, "meta": {"by": "shop"}})),
        ("add mail {} --priority 5 --tag x --tag y", ("add", {}, {"uid": UID, "priority": 5, "tags": ["x", "y"]})),
        ("add mail {} --delay 2m --keep 1d", ("add", {}, {"uid": UID, "delay_seconds": 120.0, "keep_minutes": 1440.0})),
        ("add mail {} --unique k", ("add", {}, {"uid": UID, "unique_key": "k"})),
        (
            "add mail {} --unique-key k --replace",
            ("add", {}, {"uid": UID, "unique": {"key": "k", "if_queued": "replace"}}),
        ),
        (
            "add mail {} --unique k --until started --if-running add",
            ("add", {}, {"uid": UID, "unique": {"key": "k", "until": "started", "if_running": "add"}}),
        ),
        (
            "add mail {} --unique k --unique-for 1h",
            ("add", {}, {"uid": UID, "unique": {"key": "k", "seconds": 3600.0}}),
        ),
        ("add mail {} --unique k --debounce 5s", ("add", {}, {"uid": UID, "unique_key": "k", "debounce": 5.0})),
        (
            "add mail {} --unique k --debounce 5s --debounce-at-most 1m",
            ("add", {}, {"uid": UID, "unique_key": "k", "debounce": {"seconds": 5.0, "at_most_seconds": 60.0}}),
        ),
        ("add mail {} --not-before 1800000000", ("add", {}, {"uid": UID, "not_before": 1800000000.0})),
        ("add mail {} --not-before 2027-01-15", ("add", {}, {"uid": UID, "not_before": datetime(2027, 1, 15)})),
        ("add mail {} --not-before 2027-01-15T09:00+01:00", ("add", {}, {"uid": UID, "not_before": _AT_8})),
        ("add mail {} --not-before 2027-01-15T08:00:00Z", ("add", {}, {"uid": UID, "not_before": _AT_8})),
        (f"add mail {{}} --uid {UID} --wait --wait-at-most 1s", ("add_and_wait", {}, {"timeout": 1.0, "uid": UID})),
        ("queue configure mail --max-jobs none", ("configure", {"max_jobs": 0})),
        ("queue configure mail --max-jobs 9 --require-lease", ("configure", {"max_jobs": 9, "require_lease": True})),
        ("queue configure mail --keep 120s --timeout 1.5m --retry-delay 1h", ("configure", {"defaults": _CONFIGURED})),
        ("queue configure mail --timeout 4.35m", ("configure", {"defaults": {"timeout_seconds": 261}})),
        ("queue configure mail --keep-failed 7d", ("configure", {"defaults": {"keep_failed_minutes": 10080}})),
    ],
)
def test_options_are_passed_to_the_client_as_arguments(shell: Shell, line: str, asked: tuple[Any, ...]) -> None:
    done = shell(*shlex.split(line))
    assert (done.exit_code, shell.mail.asked) == (0, [asked]), done.stderr


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("next mail --wait 5s", ""),
        ("cancel mail", ""),
        (f"cancel mail {UID} --tag x", ""),
        (f"cancel mail {UID} --all", ""),
        ("cancel mail --tag x --all", ""),
        (f"update mail {UID}", ""),
        ("queue configure mail", ""),
        ("move mail mail --all --yes", "TO must be a queue other than QUEUE."),
        ("add mail --many /no/such/file", ""),
        ("add mail", "Give the CONTENT of a job, - to read it from standard input, or --many FILE."),
        ("add mail {} --many x", ""),
        ("add mail {} --until started", "need --unique."),
        ("add mail {} --priority 9223372036854775808", "'--priority': 9223372036854775808 is beyond 64 bits."),
        (f"update mail {UID} --priority -9223372036854775809", "'--priority': -9223372036854775809 is beyond"),
        ("add mail {} --debounce 5s", "need --unique."),
        ("schedule add mail n {} --every 0.5", "'--every': '0.5' is not a whole number of seconds; write 1s."),
        ("queue configure mail --group-limit many", "'--group-limit': 'many' is not a valid integer."),
        ("add mail {} --max-attempts 0", "'--max-attempts': 0 is not in the range x>=1."),
        ("add mail {} --keep 90s", "'--keep': '90s' is not a whole number of minutes; write 2m."),
        ("queue configure mail --seconds-per-priority 0.01m", "'0.01m' is not a whole number of seconds; write 1s."),
        ("add mail {} --unique k --debounce-at-most 5s", "needs --debounce."),
        ("add mail {} --unique k --unique-key k", "Give one key: --unique and --unique-key are the same option."),
        ("show mail ''", "UID must not be empty."),
        ("explain '' u", "QUEUE must not be empty."),
        ("update mail '' --delay 0", "UID must not be empty."),
        ("add mail {} --import-name x", ""),
        (f"add mail --many - --uid {UID}", ""),
        ("add mail {} --not-before tomorrow", "'tomorrow' is not a time; write 2027-01-15T08:00"),
        ("add mail {} --meta [1]", "must be a JSON object"),
        (
            "add mail hello",
            "It is not JSON: Expecting value, at column 1. Write a JSON object in single quotes, such as",
        ),
        ("add mail [1]", """JSON object. Write a JSON object in single quotes, such as '{"to": "ada@example.org"}'."""),
        *((f"add mail '{content}'", "") for content in ("{", "[1]", "NaN", '{"a": NaN}', '{"a": 1e999}')),
        ('add mail \'{"a": "\\ud800"}\'', ""),
        ("add mail @/no/such/file", ""),
        (f"add mail {'[' * 100_000}", ""),
        ('add mail \'{"b": 1, "to": {"a": 1, "c": 2, "a": 3}}\'', "The key 'a' occurs twice in an object."),
        ("add mail '{\"a\" 1}'", "at column 6."),
        ("add mail '{\"a\":\nx}'", "line 2 column 1"),
    ],
    ids=lambda value: value[:80],
)
def test_wrong_usage_exits_with_2_and_sends_no_request(shell: Shell, line: str, says: str) -> None:
    done = shell(*shlex.split(line), sent="{}")
    assert (done.exit_code, [queue.asked for queue in shell.engine.made if queue.asked]) == (2, [])
    assert says in done.stderr


@pytest.mark.parametrize(
    ("options", "states"),
    [
        (("--all",), ["queued", "inprogress"]),
        (("--tag", "x"), ["queued", "inprogress"]),
        (("--state", "queued"), ["queued"]),
        (("--state", "failed"), []),
    ],
)
def test_a_dry_run_of_cancel_counts_the_jobs_that_would_change(
    shell: Shell, options: tuple[str, ...], states: list[str]
) -> None:
    done = shell("cancel", "mail", *options, "--dry-run")
    assert done.stderr == f"{len(states) * 7} jobs would be cancelled.\n"
    assert [(more["state"], more["dry_run"], more.get("all")) for _, more in shell.mail.asked] == [
        (state, True, None) for state in states
    ]


def test_cancel_all_does_not_report_finished_jobs_as_cancelled(shell: Shell) -> None:
    done = shell("cancel", "mail", "--all", "--yes")
    assert done.stderr == "14 jobs were cancelled; workers of running ones are asked to stop.\n"
    counted = [("cancel_all", {"dry_run": True, "state": state}) for state in ("queued", "inprogress")]
    assert shell.mail.asked == [*counted, ("cancel_all", {"all": True})]
    assert json.loads(shell("cancel", "mail", "--all", "--yes", "--json").stdout) == {"matched": 14}


@pytest.mark.parametrize("text", ["a,b\n1,2\n", '{"n": 1}\n{"n": 2}\n'])
def test_adding_a_file_that_is_not_one_json_object_advises_the_option_many(
    shell: Shell, tmp_path: Path, text: str
) -> None:
    path = tmp_path / "jobs.csv"
    path.write_text(text)
    done = shell("add", "mail", f"@{path}")
    assert done.exit_code == 2
    assert f"If each of its lines is a JSON object, add a job for each: --many {path}" in done.stderr
    assert "--many" not in shell("update", "mail", UID, "--content", f"@{path}").stderr


def test_the_option_tz_of_schedule_add_is_refused_and_timezone_suggested(shell: Shell) -> None:
    said = shell("schedule", "add", "mail", "nightly", "--cron", "@daily", "--tz", "Europe/Berlin").stderr
    assert "Did you mean '--timezone'?" in said
    assert "--timezone" not in shell("add", "mail", "{}", "--tz", "UTC").stderr


def test_the_option_in_progress_of_group_set_is_refused_and_limit_suggested(shell: Shell) -> None:
    assert "Did you mean '--limit'?" in shell("group", "set", "mail", "g", "--in-progress", "1").stderr


def test_jobengine_jobs_shows_a_failed_job_with_the_line_that_names_its_error(shell: Shell) -> None:
    shell.mail.found = [
        job_of(
            state="failed", error='Traceback (most recent call last):\n  File "a.py", line 1, in b\n    c\nOSError: no'
        )
    ]
    (line,) = shell("jobs", "mail", "--state", "failed").stdout.splitlines()
    assert line.split("\t")[-3] == "OSError: no"


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("before 2096-10-02T07:06:40Z.", r"before 2096-10-02T07:06:40Z \(in \d+d( \d+h)?\)\."),
        ("held, until 1970-01-01T00:00:01Z.", r"held, until 1970-01-01T00:00:01Z \(\d+d( \d+h)? ago\)\."),
        ("Added for 1970-01-01T00:00:01Z.", r"Added for 1970-01-01T00:00:01Z\."),
        ("a\nb at 7", r"a\\nb at 7"),
    ],
)
def test_explain_shows_the_time_left_until_each_time(shell: Shell, sent: str, shown: str) -> None:
    raw = {"uid": UID, "state": "queued", "reason": sent}
    shell.mail.answers["explain"] = Explanation(raw)
    lines = dict(line.split("\t") for line in shell("explain", "mail", UID).stdout.splitlines())
    assert re.fullmatch(shown, lines["reason"])
    assert json.dumps(sent) in shell("explain", "mail", UID, "--json").stdout


_ONE_ATTEMPT = "With one attempt, --retry-delay has no effect; --max-attempts 3 allows two retries.\n"
_PERHAPS_ONE = _ONE_ATTEMPT.replace("effect;", "effect unless the queue's default is more;")


@pytest.mark.parametrize(
    ("line", "more", "note"),
    [
        ("add mail {}", "", _ONE_ATTEMPT),
        ("add mail {}", "--max-attempts 1", _ONE_ATTEMPT),
        ("add mail {} --wait", "", _ONE_ATTEMPT),
        ("add mail --many -", "", _PERHAPS_ONE),
        ("add mail --many -", "--max-attempts 2", ""),
        ("queue configure mail", "", _ONE_ATTEMPT),
        ("schedule add mail nightly --every 1d", "", _PERHAPS_ONE),
        ("batch create mail b --then {}", "", _PERHAPS_ONE),
    ],
)
def test_a_retry_delay_without_a_second_attempt_gets_a_note(shell: Shell, line: str, more: str, note: str) -> None:
    done = shell(*line.split(), "--retry-delay", "5s", *more.split(), sent='{"n": 1}\n')
    assert done.exit_code == 0
    assert ("--retry-delay" in done.stderr) is bool(note)
    assert note in done.stderr


def test_a_retry_delay_with_attempts_left_gets_no_note(shell: Shell) -> None:
    shell.mail.answers["add"] = job_of(max_attempts=3)
    shell.mail.answers["configure"] = QueueSetup({"name": "mail", "defaults": {"max_attempts": 2}})
    for line in ("add mail {} --retry-delay 5s", "add mail {}", "queue configure mail --retry-delay 5s"):
        assert "--retry-delay" not in shell(*line.split()).stderr
