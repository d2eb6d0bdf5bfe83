"""Jobs from the lines of a file: each is added once, however often the command is run."""

import io
import json
import re
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from jobengine.cli.file_of_jobs import BadLine, JobFile
from jobengine.client import (
    BadRequest,
    Conflict,
    JobEngineError,
    OutcomeUnknown,
    QueueNotFound,
    TooManyRequests,
    Unavailable,
)

from .fakes import Shell

LINES = b'{"n": 1}\n{"n": 2}\n\n{"n": 1}\n'


def _uids(data: bytes, name: str | None = None, batch: str | None = None) -> list[str]:
    jobs = JobFile.read(io.BytesIO(data), name, batch)
    numbers: list[int] = []
    uids = [str(job.options["uid"]) for job in jobs.new_jobs(numbers)]
    assert len(uids) == jobs.jobs == len(numbers)
    return uids


def test_the_uid_of_a_line_depends_only_on_its_file_and_on_import_name_and_batch() -> None:
    uids = _uids(LINES)
    assert uids == _uids(LINES)
    assert len(set(uids)) == 3
    assert [str(UUID(uid)) for uid in uids] == uids
    for others in (_uids(LINES + b"{}\n"), _uids(LINES, "again"), _uids(LINES, batch="b"), _uids(LINES, batch="c")):
        assert not set(uids) & set(others)


def test_correcting_a_line_or_the_line_ends_in_an_import_keeps_the_uids_of_the_other_lines() -> None:
    before, after = _uids(LINES, "b"), _uids(LINES.replace(b"2", b"3") + b"{}\n", "b")
    assert [one for one in before if one not in after] == [before[1]]
    assert len(after) == 4
    assert _uids(LINES.replace(b"\n", b"\r\n"), "b") == before


@pytest.mark.parametrize(
    ("text", "says"),
    [
        *((LINES + line, "^line 5: ") for line in (b"{", b"[]", b'"x"', b"\xff", b'{"n": NaN}', b'{"n": 1, "n": 1}')),
        (b'{}\n{"a": \n{}\n', r"^line 2: It is not JSON: Expecting value, at column 7\.$"),
    ],
)
def test_the_error_for_an_invalid_line_has_only_the_number_of_that_line(text: bytes, says: str) -> None:
    with pytest.raises(BadLine, match=says):
        JobFile.read(io.BytesIO(text), None)


def test_the_content_of_a_line_is_sent_unchanged() -> None:
    line = b' {"a": [1.50, -0, 1e2, "\\ud83d\\ude00"], "b": 123456789012345678901, "c": {"x": null}} '
    jobs = JobFile.read(io.BytesIO(line), None)
    assert [job.content for job in jobs.new_jobs([])] == [json.loads(line)]


@pytest.mark.parametrize("line", [b'{"n": 1', b"[11111]"])
def test_the_error_for_a_line_changed_after_the_check_has_its_number(line: bytes) -> None:
    file = io.BytesIO(b'{"n": 0}\n{"n": 1}')
    jobs = JobFile.read(file, None)
    file.seek(9)
    file.write(line)
    file.truncate()
    with pytest.raises(BadLine, match=r"^line 2: "):
        list(jobs.new_jobs([]))


def _file(home: Path, data: bytes = LINES) -> str:
    (home / "jobs.jsonl").write_bytes(data)
    return str(home / "jobs.jsonl")


def _contents(asked: list[tuple[Any, ...]]) -> list[Any]:
    return [content["n"] for _, chunk, _ in asked for content, _ in chunk]


@pytest.mark.parametrize("sent", [None, LINES], ids=["a file", "standard input"])
def test_all_lines_are_added_with_the_options(shell: Shell, tmp_path: Path, sent: bytes | None) -> None:
    done = shell("add", "mail", "--many", "-" if sent else _file(tmp_path), "--priority", "4", sent=sent)
    assert (done.exit_code, done.stdout) == (0, "")
    assert "All 3 jobs" in done.stderr
    assert "1 of them existed before" in done.stderr
    assert _contents(shell.mail.asked) == [1, 2, 1]
    assert {str(more) for _, _, more in shell.mail.asked} == {"{'priority': 4}"}


def test_a_file_with_a_bad_line_adds_nothing(shell: Shell, tmp_path: Path) -> None:
    done = shell("add", "mail", "--many", _file(tmp_path, LINES + b"oh"))
    assert done.exit_code == 2
    assert "line 5" in done.stderr
    assert shell.mail.asked == []


@pytest.mark.parametrize(
    ("lines", "noted"),
    [
        (b'{"content": {"n": 1}, "group": "c1"}\n{"content": {"n": 2}}\n', True),
        (b'{"content": {"n": 1}, "group": "c1"}\n{"n": 2}\n', False),
        (b'{"content": {"n": 1}, "title": "x"}\n', False),
        (b'{"content": "some text", "tags": ["a"]}\n', False),
        (b"", False),
    ],
)
def test_lines_that_look_like_jobs_with_their_fields_cause_a_note(
    shell: Shell, tmp_path: Path, lines: bytes, *, noted: bool
) -> None:
    done = shell("add", "mail", "--many", _file(tmp_path, lines))
    assert done.exit_code == 0
    assert ("but is taken as the content of a job" in done.stderr) == noted


def test_an_interrupted_add_many_shows_its_progress_or_how_to_resume(shell: Shell, tmp_path: Path) -> None:
    shell.mail.answers["add_in_chunks"] = OutcomeUnknown("lost")
    done = shell("add", "mail", "--many", _file(tmp_path))
    assert done.exit_code == 5
    assert "Run the same command again" in done.stderr
    shell.mail.answers["add_in_chunks"] = KeyboardInterrupt()
    done = shell("add", "mail", "--many", _file(tmp_path))
    assert done.exit_code == 130
    assert "0 of 3" in done.stderr


def test_add_many_reports_an_unresponsive_server_once(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def added(*what: Any, **more: Any) -> Any:
        for _ in range(2):
            shell.engine._caller.tell(Unavailable("No answer."))
        yield []

    monkeypatch.setattr(shell.mail, "add_in_chunks", added)
    said = shell("add", "mail", "--many", _file(tmp_path)).stderr
    assert said.count("No answer. Trying for a minute.\n") == 1


def test_an_error_without_an_index_names_the_first_line_that_was_not_added(shell: Shell, tmp_path: Path) -> None:
    shell.mail.answers["add_in_chunks"] = BadRequest("a number is too large", status=400)
    said = shell("add", "mail", "--many", _file(tmp_path, b"\n" + LINES)).stderr
    assert "line 2 or one after it: a number" in said
    assert "correct the file" in said


def test_a_file_that_was_added_with_other_options_needs_another_import_name(shell: Shell, tmp_path: Path) -> None:
    taken = "jobs[1]: The queue holds another job with uid 'x': use a new uid or Idempotency-Key for a new job."
    shell.mail.answers["add_in_chunks"] = Conflict(taken, status=409, index=1)
    path = _file(tmp_path)
    done = shell("add", "mail", "--many", path, "--group", "tenant-2")
    assert done.exit_code == 1
    assert f"{path}, line 2: The queue has this line's job already: it was added with other options" in done.stderr
    assert "--import-name with a new name adds all lines once more" in done.stderr
    assert "use a new uid" not in done.stderr
    assert "correct the file" not in done.stderr


def test_the_error_of_a_draining_queue_for_a_file_of_jobs_is_shown_unchanged(shell: Shell, tmp_path: Path) -> None:
    shell.mail.answers["add_in_chunks"] = Conflict("The queue is draining.", status=409)
    said = shell("add", "mail", "--many", _file(tmp_path)).stderr
    assert "The queue is draining." in said
    assert "has this line's job already" not in said


@pytest.mark.parametrize("error", [QueueNotFound("no", status=404), TooManyRequests("full", status=429, index=1)])
def test_an_error_unrelated_to_the_file_does_not_advise_correcting_the_file(
    shell: Shell, tmp_path: Path, error: JobEngineError
) -> None:
    shell.mail.answers["add_in_chunks"] = error
    assert "correct the file" not in shell("add", "mail", "--many", _file(tmp_path)).stderr


def test_the_error_for_a_refused_line_has_its_number_and_the_import_name_for_a_resume(
    shell: Shell, tmp_path: Path
) -> None:
    shell.mail.answers["add_in_chunks"] = BadRequest("too long", status=400, index=1)
    path = _file(tmp_path, b"\n" + LINES)
    done = shell("add", "mail", "--many", path)
    assert done.exit_code == 1
    assert f"{path}, line 3: too long" in done.stderr
    (name,) = re.findall(r"--import-name (\w+)", done.stderr)
    assert set(_uids(b"\n" + LINES)) == set(_uids(b"\n" + LINES, name))
