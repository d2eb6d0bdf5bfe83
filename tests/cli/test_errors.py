"""The line that names an error, and errors by kind."""

import json
import re
import shlex
from typing import Any

import pytest

from jobengine.cli.error_lines import error_line
from jobengine.client import Explanation, FailureGroup

from . import fakes
from .fakes import UID, Shell, job_of

_TRACE = "Traceback (most recent call last):\n" + "".join(
    f'  File "/srv/app/mailer.py", line {line}, in send_{line}\n    server.sendmail(text)\n' for line in range(3)
)
_REFUSED = "ConnectionRefusedError: [Errno 111] Connection refused"
_DURING = "During handling of the above exception, another exception occurred:"
#: Errors, and the line that names each; the same as in the dashboard's test.
_ERRORS = {
    "no route to host": "no route to host",
    "\n\n  first\nsecond": "first",
    "java.io.IOException: refused\n\tat a.B.c(B.java:1)": "java.io.IOException: refused",
    f"{_TRACE}ValueError: not\n  an address\nnor a name": "ValueError: not",
    f"{_TRACE[40:]}{_REFUSED}\n": _REFUSED,
    f"{_TRACE}KeyError: 1\n\n{_DURING}\n\n{_TRACE}OSError: 2": "OSError: 2",
    '  + Exception Group Traceback (most recent call last):\n  |   File "a.py", line 1, in <module>\n'
    "  | ExceptionGroup: both (2 sub-exceptions)\n  +-+---------------- 1 ----------------\n"
    "    | ValueError: 1\n    +------------------------------------": "ExceptionGroup: both (2 sub-exceptions)",
    '  File "a.py", line 1\n    x = = 1\n        ^\nSyntaxError: invalid syntax': "SyntaxError: invalid syntax",
    _TRACE: "server.sendmail(text)",
    "": "",
}


@pytest.mark.parametrize(("error", "line"), list(_ERRORS.items()))
def test_error_line_returns_the_line_that_names_the_error(error: str, line: str) -> None:
    assert error_line(error) == line


def _groups(*errors: str | None) -> list[FailureGroup]:
    return [
        FailureGroup(
            {
                "fingerprint": f"kind-{number}",
                "error": error,
                "count": 9 - number,
                "first": 1800000000,
                "last": 1800000100 - number,
                "uids": [UID],
                "minutes": [0] * 60,
            }
        )
        for number, error in enumerate(errors)
    ]


def test_jobengine_errors_prints_a_line_for_each_kind_of_error(shell: Shell) -> None:
    shell.mail.answers["failures"] = _groups(_REFUSED, "x\x1b[2J", None)
    first, second, third = shell("errors", "mail").stdout.splitlines()
    assert first == f"9\t2027-01-15T08:00:00Z\t2027-01-15T08:01:40Z\tkind-0\t{_REFUSED}"
    assert second == "8\t2027-01-15T08:00:00Z\t2027-01-15T08:01:39Z\tkind-1\tx\\x1b[2J"
    assert third.endswith("\tkind-2\tno error was given")


def test_jobengine_errors_with_json_prints_the_servers_answer_unchanged(shell: Shell) -> None:
    shell.mail.answers["failures"] = _groups(_REFUSED)
    (line,) = shell("errors", "mail", "--json").stdout.splitlines()
    assert json.loads(line) == shell.mail.answers["failures"][0].raw


def test_jobengine_errors_ends_with_the_count_of_jobs_in_unlisted_kinds(shell: Shell) -> None:
    shell.mail.answers |= {"failures": _groups("a"), "dropped_failures": 1_200}
    note = "Jobs of kinds beyond the 1,000 most frequent, which are not listed: 1,200.\n"
    assert shell("errors", "mail").stderr == note
    assert shell("errors", "mail", "--json").stdout.splitlines()[1:] == ['{"dropped":1200}']


def test_jobengine_errors_reports_an_empty_or_cut_list(shell: Shell) -> None:
    assert shell("errors", "mail").stderr == "No job of 'mail' has failed or is to be tried again.\n"
    shell.mail.answers["failures"] = _groups("a", "b", "c")
    done = shell("errors", "mail", "--limit", "2")
    assert len(done.stdout.splitlines()) == 2
    assert "There are more than 2" in done.stderr
    assert len(shell("errors", "mail", "--all").stdout.splitlines()) == 3


def test_errors_and_status_name_the_dead_letter_queue(shell: Shell) -> None:
    setting = {"queue_name": "mail dead", "keep_minutes": 60}
    shell.mail.answers["stats"] = fakes.stats_of(dead_letter=setting)
    moves = "Failed jobs of mail move to mail dead: `jobengine errors 'mail dead'` lists them."
    note = f"{moves} Of one that stays, `jobengine explain` says why.\n"
    for command in ("errors", "status"):
        assert shell(command, "mail").stderr.endswith(note)
        assert note not in shell(command, "mail", "--json").stderr
    shell.mail.answers["stats"] = fakes.stats_of(dead_letter={**setting, "missing": True})
    assert shell("status", "mail").stderr == ""


@pytest.mark.parametrize(
    ("state", "changes", "told"),
    [
        ("failed", {"new_status": "queued"}, "1 job was queued again."),
        ("complete", {"new_status": "queued"}, "1 job was queued again."),
        ("queued", {"delay_seconds": 0}, "1 job was queued already, and has no delay now."),
    ],
)
def test_retry_of_one_job_queues_the_job_or_ends_the_delay_of_a_queued_job(
    shell: Shell, state: str, changes: dict[str, Any], told: str
) -> None:
    shell.mail.answers["get"] = job_of(state=state)
    done = shell("retry", "mail", UID)
    assert (done.exit_code, done.stderr) == (0, f"{told}\n")
    assert shell.mail.asked == [("get", UID), ("update", UID, changes)]


@pytest.mark.parametrize("dry_run", [(), ("--dry-run",)])
def test_retry_leaves_a_job_in_progress_with_its_worker(shell: Shell, dry_run: tuple[str, ...]) -> None:
    shell.mail.answers["get"] = job_of(state="inprogress")
    done = shell("retry", "mail", UID, *dry_run)
    assert (done.exit_code, shell.mail.asked) == (1, [("get", UID)])
    assert f"in progress; `jobengine update mail {UID} --new-status queued` takes it from its worker." in done.stderr


def test_the_option_fingerprint_selects_the_jobs_that_a_command_changes(shell: Shell) -> None:
    shell("retry", "mail", "--fingerprint", "kind-0", "--yes")
    assert shell.mail.asked == [("retry", {"fingerprint": "kind-0"})]


def _no_failed_but_retrying(shell: Shell, monkeypatch: pytest.MonkeyPatch, retrying: int) -> None:
    """Let the queue have no failed jobs, and this many that wait for their retry."""
    monkeypatch.setitem(fakes._ANSWERS, "retry", lambda name, **more: retrying if more.get("retrying") else 0)


@pytest.mark.parametrize(
    ("line", "advised"),
    [
        ("--fingerprint IndexError:bad.send", "--fingerprint IndexError:bad.send --retrying"),
        ("--error 'no route' --moved-from a --not-cancelled", "--error 'no route' --moved-from a --retrying"),
        ("--all", "--retrying"),
    ],
)
@pytest.mark.parametrize("how", ["--dry-run", "--yes"])
def test_a_retry_that_matches_no_failed_job_names_the_command_for_retrying_jobs(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, line: str, advised: str, how: str
) -> None:
    _no_failed_but_retrying(shell, monkeypatch, 3)
    done = shell("retry", "mail", *shlex.split(line), how)
    _, advice = done.stderr.splitlines()
    assert advice == f"3 jobs wait for their retry: `jobengine retry mail {advised}` makes them ready now."
    _no_failed_but_retrying(shell, monkeypatch, 1)
    shell.mail.answers["stats"] = fakes.stats_of(dead_letter={"queue_name": "dead", "keep_minutes": 60})
    _, one, dead = shell("retry", "mail", *shlex.split(line), how).stderr.splitlines()
    assert one == f"1 job waits for its retry: `jobengine retry mail {advised}` makes it ready now."
    chosen = advised.replace("--moved-from a ", "").removesuffix("--retrying")
    line = f"`jobengine move dead mail {chosen}--moved-from mail`"
    assert dead == f"Failed jobs of mail move to dead: {line} moves them back."


@pytest.mark.parametrize("options", ["--state failed", "--cancelled", "--all --json"])
def test_a_retry_by_state_or_of_cancelled_jobs_or_with_json_gives_no_advice_on_retrying_jobs(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, options: str
) -> None:
    _no_failed_but_retrying(shell, monkeypatch, 3)
    assert "retrying" not in shell("retry", "mail", *options.split(), "--dry-run").stderr
    assert len(shell.mail.asked) == 1


def test_retry_with_the_option_retrying_makes_jobs_ready_that_wait_for_their_retry(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    _no_failed_but_retrying(shell, monkeypatch, 3)
    counted = shell("retry", "mail", "--retrying", "--dry-run").stderr
    assert counted == "3 jobs would be made ready before their retry is due.\n"
    done = shell("retry", "mail", "--retrying", "--per-second", "50", "--yes").stderr
    assert done == "3 jobs were made ready before their retry was due.\n"
    shell("retry", "mail", "--retrying", "--without-dependencies", "--yes")
    free = {"new_status": "queued", "depends_on": []}
    assert shell.mail.asked == [
        ("retry", {"dry_run": True, "retrying": True}),
        ("retry", {"per_second": 50.0, "retrying": True}),
        ("update_all", free, {"state": "queued", "cancelled": False, "retrying": True}),
    ]


def test_explain_shows_how_long_ago_the_first_job_failed_with_the_same_error(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = {"uid": UID, "state": "failed", "reason": "It failed like 2 others since 2020-01-15T08:00:00Z. It is failed."}
    monkeypatch.setitem(fakes._ANSWERS, "explain", lambda *_: Explanation(raw))
    assert re.search(
        r"others since 2020-01-15T08:00:00Z \(\d+d( \d+h)? ago\)\. It is", shell("explain", "mail", UID).stdout
    )
