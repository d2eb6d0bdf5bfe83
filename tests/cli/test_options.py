"""Options of commands for jobs: which jobs they select, what they set, and advice after mistakes."""

import re
from datetime import UTC, datetime
from typing import Any

import pytest

from jobengine.client import Explanation

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
        ("queues", "did you mean `jobengine queue list`?"),
        ("pause mail", "did you mean `jobengine queue pause`?"),
        ("revoke mail 1", "did you mean `jobengine key revoke`?"),
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


# Selecting


def test_jobs_accepts_filters_by_error_and_worker(shell: Shell) -> None:
    shell("jobs", "mail", "--error", "no route", "--worker", "ada-1", "--all")
    assert shell.mail.asked == [("jobs", None, {"sort": None, "error": "no route", "worker": "ada-1"})]


@pytest.mark.parametrize(
    ("options", "filters"),
    [
        (("--retrying",), {"retrying": True}),
        (("--cancelled",), {"cancelled": True}),
        (("--not-cancelled", "--state", "failed"), {"cancelled": False, "state": "failed"}),
    ],
)
def test_jobs_and_delete_accept_filters_by_retrying_and_cancelled(
    shell: Shell, options: tuple[str, ...], filters: dict[str, Any]
) -> None:
    shell("jobs", "mail", *options, "--all")
    shell("delete", "mail", *options, "--yes")
    assert shell.mail.asked == [("jobs", None, {"sort": None, **filters}), ("delete_all", filters)]


def test_retry_of_all_skips_cancelled_jobs(shell: Shell) -> None:
    shell("retry", "mail", "--all", "--yes")
    shell("retry", "mail", "--cancelled", "--yes")
    shell("retry", "mail", "--tag", "x", "--yes")
    assert shell.mail.asked == [
        ("retry", {"cancelled": False}),
        ("retry", {"cancelled": True}),
        ("retry", {"tag": "x"}),
    ]


@pytest.mark.parametrize("name", ["retry", "delete"])
def test_retry_and_delete_accept_filters_by_error_and_worker(shell: Shell, name: str) -> None:
    shell(name, "mail", "--error", "no route", "--worker", "ada-1", "--yes")
    ((_, filters),) = shell.mail.asked
    assert filters == {"error": "no route", "worker": "ada-1"}


def test_update_with_the_option_error_changes_the_error(shell: Shell) -> None:
    shell("update", "mail", UID, "--error", "no route", "--new-status", "failed")
    assert shell.mail.asked == [("update", UID, {"new_status": "failed", "error": "no route"})]


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
    assert done.stderr.startswith("7 jobs matched: queued ones are cancelled")
    assert shell.mail.asked == [("cancel_all", {"all": True})]


# Adding


def test_add_accepts_meta_uid_and_not_before(shell: Shell) -> None:
    done = shell(
        "add", "mail", "{}", "--uid", "mine", "--meta", '{"by": "shop"}', "--not-before", "2027-01-15T08:00:00Z"
    )
    assert done.stdout == "mine\n"
    not_before = datetime(2027, 1, 15, 8, tzinfo=UTC)
    assert shell.mail.asked == [("add", {}, {"uid": "mine", "meta": {"by": "shop"}, "not_before": not_before})]


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("1800000000", 1800000000.0),
        ("2027-01-15", datetime(2027, 1, 15)),
        ("2027-01-15T08:00+01:00", datetime.fromisoformat("2027-01-15T08:00+01:00")),
    ],
)
def test_a_time_option_accepts_iso_8601_or_unix_seconds(shell: Shell, text: str, time: Any) -> None:
    shell("add", "mail", "{}", "--not-before", text)
    assert shell.mail.asked == [("add", {}, {"not_before": time})]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--not-before", "tomorrow"), "'tomorrow' is not a time; write 2027-01-15T08:00"),
        (("--meta", "[1]"), "must be a JSON object"),
    ],
)
def test_an_invalid_time_or_meta_is_wrong_usage(shell: Shell, options: tuple[str, ...], says: str) -> None:
    done = shell("add", "mail", "{}", *options)
    assert done.exit_code == 2
    assert says in done.stderr
    assert shell.engine.made == []


def test_add_wait_waits_for_the_given_uid_which_add_many_refuses(shell: Shell) -> None:
    assert shell("add", "mail", "--many", "-", "--uid", UID, sent="{}").exit_code == 2
    shell("add", "mail", "{}", "--uid", UID, "--wait", "--wait-at-most", "1s")
    assert shell.mail.asked == [("add_and_wait", {}, {"timeout": 1.0, "uid": UID})]


# Showing


def test_jobs_shows_a_failed_job_with_the_line_that_names_its_error(shell: Shell) -> None:
    shell.mail.found = [
        job_of(
            state="failed", error='Traceback (most recent call last):\n  File "a.py", line 1, in b\n    c\nOSError: no'
        )
    ]
    (line,) = shell("jobs", "mail", "--state", "failed").stdout.splitlines()
    assert line.split("\t")[-1] == "OSError: no"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"not_before": 4000000000}, r"It can't be claimed before 2096-10-02T07:06:40Z \(in \d+d( \d+h)?\)\."),
        ({"lease_expires": 1}, r"It can't be claimed before 1970-01-01T00:00:01Z \(in 0\.0s\)\."),
        ({"paused": True, "error": "a\nb"}, r"It can't be claimed before \."),
    ],
)
def test_explain_shows_readable_times(shell: Shell, fields: dict[str, Any], reason: str) -> None:
    time = fields.get("not_before") or fields.get("lease_expires", "")
    raw = {"uid": UID, "state": "queued", "reason": f"It can't be claimed before {time}.", **fields}
    shell.mail.answers["explain"] = Explanation(raw)
    lines = dict(line.split("\t") for line in shell("explain", "mail", UID).stdout.splitlines())
    assert re.fullmatch(reason, lines["reason"])
    assert f'"{raw["reason"]}"' in shell("explain", "mail", UID, "--json").stdout
