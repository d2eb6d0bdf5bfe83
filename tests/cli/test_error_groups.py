"""How jobs are grouped by their errors."""

import json
from typing import Any

import pytest

from jobengine.cli.error_groups import error_line, grouped
from jobengine.client import Job

from .fakes import UID, Shell, job_of

_TRACE = "Traceback (most recent call last):\n" + "".join(
    f'  File "/srv/app/mailer.py", line {line}, in send_{line}\n    server.sendmail(text)\n' for line in range(3)
)
_REFUSED = "ConnectionRefusedError: [Errno 111] Connection refused"
_DURING = "During handling of the above exception, another exception occurred:"
#: Errors, and the line that names each; those of the dashboard's test.
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


def _failed(*errors: str | None) -> list[Job]:
    return [
        job_of(f"{number}", state="failed", error=error, last_updated=1800000100 - number)
        for number, error in enumerate(errors)
    ]


def test_errors_that_differ_only_in_numbers_and_uids_form_one_group() -> None:
    (group,) = grouped(_failed(f"job {UID} of 7 at 0xfe: no such user 12", "job 0x1 of 1 at 1: no such user 3"))
    assert (group.failed, group.latest.uid, group.filter) == (2, "0", ": no such user")


def test_groups_are_sorted_by_size_and_jobs_without_an_error_form_a_group() -> None:
    groups = grouped(_failed("a", None, "b", "b", None, "b"))
    assert [(group.name, group.failed, group.filter) for group in groups] == [
        ("b", 3, "b"),
        ("no error was given", 2, ""),
        ("a", 1, "a"),
    ]


def test_errors_prints_groups_with_the_line_that_names_the_error(shell: Shell) -> None:
    shell.mail.found = _failed(f"{_TRACE}{_REFUSED}", "x\x1b[2J", f"{_TRACE}{_REFUSED}")
    done = shell("errors", "mail", "--failed")
    assert done.stdout == f"2\t0\t2027-01-15T08:01:40Z\t{_REFUSED}\n1\t0\t2027-01-15T08:01:39Z\tx\\x1b[2J\n"
    assert shell.mail.asked == [("jobs", 1001, {"sort": "-updated", "state": "failed", "cancelled": False})]


def test_errors_of_retrying_jobs_are_counted_separately(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {None: _failed("a", "b"), True: [job_of("r", error="a", last_updated=1800000099.5)]}
    monkeypatch.setattr(shell.mail, "jobs", lambda limit, sort, **more: iter(found[more.get("retrying")]))
    assert [line.split("\t")[:2] for line in shell("errors", "mail").stdout.splitlines()] == [["1", "1"], ["1", "0"]]
    assert shell("errors", "mail", "--retrying").stdout.startswith("0\t1\t")
    done = shell("errors", "mail", "--limit", "2", "--json")  # the newest of both: a, and then r
    assert [json.loads(line)["retrying"] for line in done.stdout.splitlines()] == [1]
    assert "there are more" in done.stderr


def test_errors_as_json_have_a_filter_and_the_whole_text_of_the_newest(shell: Shell) -> None:
    shell.mail.found = _failed(f"{_TRACE}Error: 1", "Error: 2")
    (line,) = shell("errors", "mail", "--failed", "--json").stdout.splitlines()
    expected: dict[str, Any] = {"failed": 2, "retrying": 0, "error": "Error: 1", "filter": "Error:"}
    assert json.loads(line) == {**expected, "last": 1800000100, "last_uid": "0", "last_error": f"{_TRACE}Error: 1"}


def test_errors_prints_a_note_if_no_job_failed_or_more_jobs_failed_than_shown(shell: Shell) -> None:
    assert shell("errors", "mail").stderr == "No job of 'mail' has failed or is to be tried again.\n"
    assert shell("errors", "mail", "--failed").stderr == "No job of 'mail' has failed.\n"
    shell.mail.found = _failed("a", "a", "a")
    done = shell("errors", "mail", "--failed", "--limit", "2")
    assert (done.stdout[:2], done.stderr) == ("2\t", "These are the latest 2; there are more: use --limit.\n")
