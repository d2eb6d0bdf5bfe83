"""The commands about dead-letter queues and moves."""

from typing import Any

import pytest

from jobengine.cli.troubles import troubles
from jobengine.client import BadRequest, Moved

from .fakes import UID, Shell, stats_of

_ONE_MOVED = Moved({"matched": 1, "moved": 1})


@pytest.mark.parametrize(
    ("options", "value"),
    [
        (["--dead-letter", "dead"], {"queue_name": "dead"}),
        (["--dead-letter", "dead", "--dead-letter-keep", "14d"], {"queue_name": "dead", "keep_minutes": 20160}),
        (["--dead-letter", "dead", "--dead-letter-keep", "120"], {"queue_name": "dead", "keep_minutes": 2}),
        (["--dead-letter", "none"], None),
    ],
)
def test_configure_sets_and_removes_the_dead_letter_queue(shell: Shell, options: list[str], value: Any) -> None:
    assert shell("queue", "configure", "mail", *options).exit_code == 0
    assert shell.mail.asked[-1] == ("configure", {"dead_letter": value})


def test_the_retention_in_a_dead_letter_queue_can_be_changed_without_naming_the_queue(shell: Shell) -> None:
    shell.mail.answers["stats"] = stats_of(dead_letter={"queue_name": "dead", "keep_minutes": 5})
    assert shell("queue", "configure", "mail", "--dead-letter-keep", "1h").exit_code == 0
    assert shell.mail.asked[-1] == ("configure", {"dead_letter": {"queue_name": "dead", "keep_minutes": 60}})
    shell.mail.answers["stats"] = stats_of()
    done = shell("queue", "configure", "mail", "--dead-letter-keep", "1h")
    assert (done.exit_code, "needs --dead-letter" in done.stderr) == (2, True)


def test_move_reports_the_moved_jobs_and_the_jobs_that_stay(shell: Shell) -> None:
    done = shell("move", "mail", "other", "--state", "failed", "--per-second", "0.5", "--yes")
    assert done.exit_code == 0
    assert shell.mail.asked == [
        ("move", "other", {"all": False, "per_second": 0.5, "dry_run": False, "state": "failed"})
    ]
    assert done.stderr.splitlines() == [
        "2 jobs of 'mail' moved to 'other'.",
        "1 job not moved: the other queue is full.",
    ]


def test_move_needs_a_confirmation(shell: Shell) -> None:
    done = shell("move", "mail", "other", "--all", sent="n\n")
    assert done.exit_code != 0
    assert [asked[-1]["dry_run"] for asked in shell.mail.asked] == [True]


def test_a_dry_run_of_a_move_only_counts(shell: Shell) -> None:
    done = shell("move", "mail", "other", "--all", "--dry-run", "--json")
    assert '"moved":2' in done.stdout.replace(" ", "")
    assert shell.mail.asked == [("move", "other", {"all": True, "per_second": None, "dry_run": True})]


def test_move_by_uid_moves_each_job_without_a_confirmation(shell: Shell) -> None:
    shell.mail.answers["move"] = _ONE_MOVED
    done = shell("move", "mail", "other", UID, "another")
    assert (done.exit_code, done.stderr) == (0, "2 jobs were moved to 'other'.\n")
    assert shell.mail.asked == [("move", "other", {"uids": [uid], "dry_run": False}) for uid in (UID, "another")]
    assert shell("move", "mail", "other", UID, "--json").stdout == f'{{"uid":"{UID}"}}\n'
    done = shell("move", "mail", "other", UID, "--dry-run")
    assert (shell.mail.asked[-1][-1]["dry_run"], done.stderr) == (True, "1 job would be moved to 'other'.\n")


@pytest.mark.parametrize(
    ("reason", "code", "says"),
    [
        ("not_found", 3, "The queue 'mail' holds no job with this uid; it may have been moved"),
        ("complete", 1, "not moved: complete."),
        ("inprogress", 1, "not moved: in progress."),
    ],
)
def test_move_by_uid_reports_each_job_that_stays(shell: Shell, reason: str, code: int, says: str) -> None:
    shell.mail.answers["move"] = Moved({"matched": 0, "moved": 0, "not_moved": {reason: 1}})
    done = shell("move", "mail", "other", UID, "another", "--json")
    assert (done.exit_code, done.stdout) == (code, "")
    assert [line.partition(f": {says}")[0] for line in done.stderr.splitlines()] == [
        f"jobengine: {UID}",
        "jobengine: another",
    ]


def test_the_error_of_a_move_by_uid_names_the_malformed_uid(shell: Shell) -> None:
    shell.mail.answers["move"] = BadRequest("uids[0] must be a UUID in lower case.", status=400)
    done = shell("move", "mail", "other", "0b8c9e1c")
    assert (done.exit_code, done.stderr) == (1, "jobengine: 0b8c9e1c: The uid must be a UUID in lower case.\n")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ([], "Choose the jobs: by uid, by a filter"),
        (["--all", "--state", "failed"], "in one way only"),
        ([UID, "--all"], "in one way only"),
        ([UID, "--state", "failed"], "in one way only"),
        ([UID, "--per-second", "5"], "--per-second needs a filter, or --all"),
        ([""], "UID must not be empty"),
    ],
)
def test_move_needs_either_uids_or_a_filter_or_the_option_all(shell: Shell, options: list[str], says: str) -> None:
    done = shell("move", "mail", "other", *options)
    assert (done.exit_code, says in done.stderr) == (2, True)
    assert shell.mail.asked == []


def test_move_into_the_same_queue_is_a_usage_error(shell: Shell) -> None:
    done = shell("move", "mail", "mail", UID)
    assert (done.exit_code, "TO must be a queue other than QUEUE" in done.stderr) == (2, True)


def test_only_a_retry_with_a_filter_accepts_a_pace(shell: Shell) -> None:
    assert shell("retry", "mail", "--tag", "a", "--per-second", "50", "--yes").exit_code == 0
    assert shell.mail.asked == [("retry", {"per_second": 50.0, "tag": "a"})]
    for wrong in ([UID], ["--all", "--without-dependencies"]):
        assert shell("retry", "mail", *wrong, "--per-second", "50", "--yes").exit_code == 2


def test_a_missing_dead_letter_queue_is_shown_as_a_problem_of_its_queue() -> None:
    its = {"queue_name": "dead", "keep_minutes": 5, "missing": True}
    assert "its dead-letter queue dead is missing or was recreated: set it again" in troubles(stats_of(dead_letter=its))
    assert troubles(stats_of(dead_letter={**its, "missing": False})) == troubles(stats_of())
