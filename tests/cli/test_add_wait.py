"""`jobengine add --wait`: what it prints, and what it does when the server is away."""

import json
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from jobengine.client import Job, JobEngineError, JobNotFound, OutcomeUnknown, Unavailable

from .fakes import UID, Shell, job_of


def test_add_wait_prints_the_result(shell: Shell) -> None:
    done = shell("add", "mail", "{}", "--wait", "--wait-at-most", "30s")
    assert (done.exit_code, json.loads(done.stdout)) == (0, {"sent": True})
    ((name, content, more),) = shell.mail.asked
    assert (name, content, more) == ("add_and_wait", {}, {"timeout": 30.0, "uid": more["uid"]})


def test_ctrl_c_during_add_wait_shows_how_to_cancel_the_added_job(shell: Shell) -> None:
    shell.mail.answers["add_and_wait"] = KeyboardInterrupt()
    done = shell("add", "mail", "{}", "--wait")
    ((_, _, more),) = shell.mail.asked
    assert (done.exit_code, done.stdout) == (130, "")
    assert f"`jobengine cancel mail {more['uid']}` cancels it." in done.stderr
    done = shell("add", "mail", "{}", "--wait", "--unique-key", "k")
    assert (done.exit_code, done.stderr) == (130, "jobengine: The job stays in the queue.\n")


@pytest.fixture
def wait_outcomes(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> list[Job | JobEngineError]:
    """The outcomes of successive waits for jobs, each after 5 seconds; the last outcome repeats."""
    now, outcomes = [0.0], list[Job | JobEngineError]()

    def advance(seconds: float) -> None:
        now[0] += seconds

    def add_and_wait(content: Any, **options: Any) -> Job:
        return next_outcome("add_and_wait", options["uid"])

    def next_outcome(call: str, uid: str, **_: Any) -> Job:
        shell.mail.asked.append((call, uid))
        advance(5)
        outcome = outcomes.pop(0) if len(outcomes) > 1 else outcomes[0]
        if isinstance(outcome, JobEngineError):
            raise outcome
        return outcome

    monkeypatch.setattr("jobengine.cli.add.time", SimpleNamespace(monotonic=lambda: now[0], sleep=advance))
    monkeypatch.setattr(shell.mail, "add_and_wait", add_and_wait)
    monkeypatch.setattr(shell.mail, "wait", partial(next_outcome, "wait"), raising=False)
    return outcomes


def test_add_wait_continues_after_an_outage_of_the_server(
    shell: Shell, wait_outcomes: list[Job | JobEngineError]
) -> None:
    recovering = Unavailable("starting", status=503)
    wait_outcomes += [OutcomeUnknown("Lost."), Unavailable("Away."), recovering, job_of(state="complete", result=7)]
    done = shell("add", "mail", "{}", "--wait", "--wait-at-most", "30s", "--uid", UID)
    assert (done.exit_code, done.stdout) == (0, "7\n")
    assert done.stderr == f"Lost. The job {UID} may be in the queue. Waiting for the server.\n"
    assert shell.mail.asked == [("add_and_wait", UID), *[("wait", UID)] * 3]


def test_add_wait_does_not_add_a_removed_job_again_after_an_outage(
    shell: Shell, wait_outcomes: list[Job | JobEngineError]
) -> None:
    wait_outcomes += [OutcomeUnknown("Lost."), JobNotFound("It is gone.")]
    done = shell("add", "mail", "{}", "--wait", "--uid", UID)
    assert (done.exit_code, shell.mail.asked) == (3, [("add_and_wait", UID), ("wait", UID)])
    assert done.stderr.endswith("It is gone. Or it was never added.\n")


@pytest.mark.parametrize(
    ("errors", "attempts", "code"),
    [
        ([OutcomeUnknown("Lost."), Unavailable("Away.")], 5, 5),
        ([OutcomeUnknown("Lost."), Unavailable("The disk is full.", status=507)], 2, 1),
    ],
)
def test_an_add_wait_that_gives_up_prints_the_uid_of_the_job(
    shell: Shell, wait_outcomes: list[Job | JobEngineError], errors: list[JobEngineError], attempts: int, code: int
) -> None:
    wait_outcomes += errors
    done = shell("add", "mail", "{}", "--wait", "--wait-at-most", "30s")
    assert (done.exit_code, len(shell.mail.asked)) == (code, attempts)
    assert done.stderr.endswith(f"{errors[-1].detail} The job {shell.mail.asked[0][1]} may be in the queue.\n")


def test_add_wait_fails_at_once_if_the_server_was_never_reached(
    shell: Shell, wait_outcomes: list[Job | JobEngineError]
) -> None:
    wait_outcomes.append(Unavailable("Away."))
    done = shell("add", "mail", "{}", "--wait")
    assert (done.exit_code, done.stderr, len(shell.mail.asked)) == (5, "jobengine: Away.\n", 1)
