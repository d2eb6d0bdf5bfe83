"""The commands for batches and for jobs that wait for others, and how both are shown."""

import json
from pathlib import Path
from typing import Any

import pytest

from jobengine.cli.columns import batch_standing
from jobengine.client import Explanation
from jobengine.client.errors import error_of

from .fakes import UID, FakeEngine, Shell, batch_of, job_of, stats_of

OTHER = "0b8c9e1c-4c1e-4a35-9d5c-5a6f0f0f8a12"


def test_add_accepts_dependencies_in_the_same_queue_and_in_other_queues(shell: Shell) -> None:
    shell("add", "mail", "{}", "--after", UID, "--depends-on", f"a:b:{OTHER}", "--on-dependency-failure", "run")
    expected = {"uid": UID, "depends_on": [UID, ("a:b", OTHER)], "on_dependency_failure": "run"}
    assert shell.mail.asked == [("add", {}, expected)]
    assert shell("add", "mail", "{}", "--on-dependency-failure", "maybe").exit_code == 2
    for wrong in ("foo", f"{UID}:foo", UID.upper()):
        done = shell("add", "mail", "{}", "--after", wrong)
        error = f"'--after' / '--depends-on': '{wrong}' is neither a job's uid, "
        assert (done.exit_code, error in done.stderr) == (2, True)


@pytest.mark.parametrize("command", [("add", "mail", "--batch", "b"), ("batch", "add", "mail", "b")])
def test_jobs_are_added_to_a_batch_one_by_one_and_from_a_file(
    shell: Shell, tmp_path: Path, command: tuple[str, ...]
) -> None:
    (tmp_path / "jobs").write_text('{"n": 1}\n')
    assert shell(*command, '{"n": 0}', "--priority", "1").stdout == f"{UID}\n"
    assert shell(*command, "--many", str(tmp_path / "jobs")).exit_code == 0
    assert [(call[0], call[-1]) for call in shell.mail.asked] == [
        ("add", {"uid": UID, "priority": 1, "batch": "b"}),
        ("add_in_chunks", {"batch": "b"}),
    ]
    assert shell(*command).exit_code == 2


def test_a_batch_is_created_with_the_job_that_runs_at_its_end(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobengine.client.jobs.new_uid", lambda: UID)
    shell.mail.answers["create batch"] = batch_of(then=UID)
    options = ("--then", '{"a": 1}', "--then-on", "finish", "--priority", "5", "--after", OTHER)
    done = shell("batch", "create", "mail", "import-7", *options)
    assert (done.stdout, done.stderr) == (
        f"{UID}\n",
        "The batch 'import-7' of 'mail' is open: it takes jobs until it is closed.\n",
    )
    then = ("then", {"a": 1}, {"priority": 5, "depends_on": [OTHER], "uid": UID}, "finish")
    assert shell.mail.asked == [then, ("create batch", "import-7")]
    assert json.loads(shell("batch", "create", "mail", "import-7", "--json").stdout)["then"] == UID


@pytest.mark.parametrize(("then", "what"), [(None, "has no job at its end"), (OTHER, "keeps the job at its end")])
def test_creating_an_existing_batch_with_a_new_end_job_reports_that_the_job_was_not_added(
    shell: Shell, then: str | None, what: str
) -> None:
    shell.mail.answers["create batch"] = batch_of(then=then)
    done = shell("batch", "create", "mail", "import-7", "--then", "{}")
    assert (done.exit_code, what in done.stderr, "--then was not added" in done.stderr) == (0, True, True)


def test_a_batch_without_a_job_at_its_end_prints_no_uid(shell: Shell) -> None:
    assert shell("batch", "create", "mail", "b").stdout == ""
    for wrong in (("--then-on", "finish"), ("--priority", "5")):
        assert shell("batch", "create", "mail", "b", *wrong).exit_code == 2
    assert shell.mail.asked == [("create batch", "b")]


@pytest.mark.parametrize(
    ("fields", "word", "sentence"),
    [
        ({}, "open", "is open: it takes jobs until it is closed"),
        ({"open": False}, "closed", "is closed, and ends once its 3 unfinished jobs are finished"),
        ({"open": False, "ended": 1800000000, "succeeded": True}, "complete", "has ended: all its jobs are complete"),
        (
            {"open": False, "ended": 1800000000, "succeeded": False},
            "failed",
            "has ended: not all its jobs are complete",
        ),
    ],
)
def test_the_description_of_a_batch_has_its_unfinished_jobs_or_its_outcome(
    shell: Shell, fields: dict[str, Any], word: str, sentence: str
) -> None:
    shell.mail.answers["close batch"] = batch_of(**fields)
    shell.mail.answers["batches"] = [batch_of(**fields)]
    assert shell("batch", "close", "mail", "import-7").stderr == f"The batch 'import-7' of 'mail' {sentence}.\n"
    assert shell("batch", "list", "mail").stdout.split("\t")[:7] == ["import-7", word, "4", "2", "1", "1", "0"]


def test_the_description_of_a_closed_batch_says_when_the_batch_ends() -> None:
    last, none = batch_of(open=False, queued=0), batch_of(open=False, queued=0, inprogress=0)
    assert batch_standing(last) == "is closed, and ends once its 1 unfinished job is finished"
    assert batch_standing(none) == "is closed, and ends now: it has no unfinished job"


def test_show_prints_the_fields_of_a_batch(shell: Shell) -> None:
    lines = dict(line.split("\t") for line in shell("batch", "show", "mail", "b").stdout.splitlines())
    assert (lines["total"], lines["created"]) == ("4", "2027-01-15T08:00:00Z")
    assert json.loads(shell("batch", "show", "mail", "b", "--json").stdout) == batch_of("b").raw


def test_batch_list_reports_omitted_batches_and_an_empty_list(shell: Shell) -> None:
    assert "`jobengine batch create` creates one" in shell("batch", "list", "mail").stderr
    shell.mail.answers["batches"] = [batch_of(f"b{number}") for number in range(60)]
    assert "more than 50" in shell("batch", "list", "mail").stderr
    assert len(shell("batch", "list", "mail", "--all", "--json").stdout.splitlines()) == 60
    assert shell.mail.asked == [("batches", {"limit": 51})] * 2 + [("batches", {})]


@pytest.mark.parametrize(("command", "fields"), [("cancel", {}), ("retry", {"failed": 3})])
def test_changing_several_jobs_of_a_batch_needs_a_confirmation(
    shell: Shell, command: str, fields: dict[str, int]
) -> None:
    shell.mail.answers["progress batch"] = batch_of("b", **fields)
    shell.mail.answers[f"{command} batch"] = batch_of("b", matched=3)
    refused = shell("batch", command, "mail", "b")
    assert (refused.exit_code, "3 jobs of the batch 'b'" in refused.stderr) == (2, True)
    assert "3 jobs were" in shell("batch", command, "mail", "b", "--yes").stderr
    assert json.loads(shell("batch", command, "mail", "b", "--yes", "--json").stdout)["matched"] == 3
    assert shell.mail.asked == [("progress batch", "b"), *[(f"{command} batch", "b")] * 2]


@pytest.mark.parametrize(("command", "counts"), [("cancel", {"queued": 0}), ("retry", {"failed": 1})])
def test_changing_one_job_of_a_batch_needs_no_confirmation(shell: Shell, command: str, counts: dict[str, int]) -> None:
    shell.mail.answers["progress batch"] = batch_of("b", **counts)
    shell.mail.answers[f"{command} batch"] = batch_of("b", matched=1)
    assert "1 job was" in shell("batch", command, "mail", "b").stderr


def test_a_missing_batch_exits_with_3_and_names_batch_create(shell: Shell) -> None:
    text = "The queue has no batch 'b'; create it with PUT /api/v1/batch."
    shell.mail.answers["progress batch"] = error_of(404, {"detail": text})
    done = shell("batch", "show", "mail", "b")
    assert (done.exit_code, "create it with `jobengine batch create`." in done.stderr) == (3, True)


# Jobs


def test_jobs_are_selected_by_their_batch(shell: Shell) -> None:
    shell("jobs", "mail", "--batch", "b", "--all")
    shell("delete", "mail", "--batch", "b", "--yes")
    assert shell.mail.asked == [("jobs", None, {"sort": None, "batch": "b"}), ("delete_all", {"batch": "b"})]


def test_dependencies_are_dropped_by_an_update_and_by_a_retry(shell: Shell) -> None:
    shell("update", "mail", UID, "--without-dependencies")
    shell("retry", "mail", UID, "--without-dependencies")
    shell("retry", "mail", "--batch", "b", "--without-dependencies", "--yes")
    queued = {"new_status": "queued", "depends_on": []}
    assert shell.mail.asked == [
        ("update", UID, {"depends_on": []}),
        ("get", UID),
        ("update", UID, queued),
        ("update_all", queued, {"state": "failed", "cancelled": False, "batch": "b"}),
    ]


def test_a_retry_without_dependencies_reports_that_the_job_is_queued_and_waits_for_no_job(shell: Shell) -> None:
    done = shell("retry", "mail", UID, "--without-dependencies")
    assert done.stderr == "1 job is queued, and waits for no other job.\n"


def test_a_job_is_shown_with_its_batch_and_its_dependencies(shell: Shell) -> None:
    depends_on = [UID, {"queue_name": "other", "uid": OTHER}]
    shell.mail.answers["get"] = job_of(depends_on=depends_on, waiting=True, batch="b")
    lines = dict(line.split("\t") for line in shell("show", "mail", UID).stdout.splitlines())
    assert (lines["depends_on"], lines["waiting"], lines["batch"]) == (f"{UID}, other:{OTHER}", "true", "b")


def test_a_list_of_jobs_shows_the_batch_and_the_number_of_dependencies_of_each_job(shell: Shell) -> None:
    shell.mail.found = [
        job_of(batch="b"),
        job_of(depends_on=[UID], waiting=True),
        job_of(depends_on=[UID, OTHER], waiting=True),
        job_of(depends_on=[UID]),
        job_of(waiting=True),
    ]
    rows = [line.split("\t")[-2:] for line in shell("jobs", "mail").stdout.splitlines()]
    assert rows == [["b", ""], ["", "1 job"], ["", "2 jobs"], ["", ""], ["", "a batch"]]


def test_explain_names_the_commands_for_a_job_that_waits(shell: Shell) -> None:
    reason = 'It waits. To run it, send new_status "queued" with {"depends_on": []}.'
    links = [{"queue_name": "mail", "state": "failed", "uid": OTHER}]
    raw = {"uid": UID, "state": "queued", "reason": reason, "held_by": "dependencies", "dependencies": links}
    shell.mail.answers["explain"] = Explanation(raw)
    done = shell("explain", "mail", UID)
    lines = dict(line.split("\t") for line in done.stdout.splitlines())
    assert lines["reason"] == f"It waits. To run it, use `jobengine retry mail {UID} --without-dependencies`."
    assert lines["dependencies.1.uid"] == OTHER
    assert f"`jobengine graph mail {UID}` shows" in done.stderr


# Queues


def test_the_count_of_waiting_jobs_is_shown_only_for_a_queue_with_waiting_jobs() -> None:
    shell = Shell(FakeEngine(admin_key="admin"))
    shell.mail.answers["stats"] = stats_of(waiting=5)
    assert "waiting\t5\n" in shell("queue", "stats", "mail").stdout
    assert "waiting\t5 of the queued jobs wait for other jobs\n" in shell("status", "mail").stdout
    shell.mail.answers["stats"] = stats_of(waiting=0)
    assert "waiting" not in shell("queue", "stats", "mail").stdout + shell("status", "mail").stdout
    shell.engine.listed = [stats_of("a", waiting=5), stats_of("b", waiting=0)]
    for command in (("queue", "list"), ("top", "--once")):
        rows = [line.split("\t") for line in shell(*command).stdout.splitlines()]
        assert [(row[0], row[-1]) for row in rows] == [("a", "5"), ("b", "")]
