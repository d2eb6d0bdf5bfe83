"""The commands about dead-letter queues and moves."""

from typing import Any

import pytest

from jobengine.cli.troubles import troubles

from .fakes import UID, Shell, stats_of


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


@pytest.mark.parametrize("options", [[], ["--all", "--state", "failed"]])
def test_move_needs_either_a_filter_or_the_option_all(shell: Shell, options: list[str]) -> None:
    assert shell("move", "mail", "other", *options).exit_code == 2


def test_only_a_retry_with_a_filter_accepts_a_pace(shell: Shell) -> None:
    assert shell("retry", "mail", "--tag", "a", "--per-second", "50", "--yes").exit_code == 0
    assert shell.mail.asked == [("retry", {"per_second": 50.0, "tag": "a"})]
    for wrong in ([UID], ["--all", "--without-dependencies"]):
        assert shell("retry", "mail", *wrong, "--per-second", "50", "--yes").exit_code == 2


def test_a_missing_dead_letter_queue_is_shown_as_a_problem_of_its_queue() -> None:
    its = {"queue_name": "dead", "keep_minutes": 5, "missing": True}
    assert "its dead-letter queue dead is missing" in troubles(stats_of(dead_letter=its))
    assert troubles(stats_of(dead_letter={**its, "missing": False})) == troubles(stats_of())
