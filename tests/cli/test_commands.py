"""The client calls that commands make, their output, and their exit codes."""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from jobengine.cli.app import app
from jobengine.cli.command import Command
from jobengine.cli.session import Session
from jobengine.client import (
    AccessDenied,
    BadRequest,
    BadSettings,
    Conflict,
    EventsLost,
    Forbidden,
    JobEngineError,
    JobEvent,
    JobNotFound,
    KeyNotFound,
    OutcomeUnknown,
    QueueExists,
    QueueNotFound,
    TooManyRequests,
    Unavailable,
    WorkerJobs,
)
from jobengine.client.errors import error_of
from jobengine.client.http_codec import not_connected
from tests.client.doubles import unconnected

from .fakes import KEY, UID, FakeEngine, Shell, job_of

# How commands end


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (BadRequest("no", status=400), 1),
        (QueueExists("no", status=409), 1),
        (Conflict("no", status=409), 1),
        (TooManyRequests("no", status=429), 1),
        (Unavailable("no", status=503), 1),
        (Unavailable("no", status=507), 1),
        (JobEngineError("no", status=500), 1),
        (BadSettings("no"), 2),
        (QueueNotFound("no", status=404), 3),
        (JobNotFound("no", status=404), 3),
        (KeyNotFound("no", status=404), 3),
        (AccessDenied("no", status=401), 4),
        (Forbidden("no", status=403), 4),
        (Unavailable("no"), 5),
        (Unavailable("no", status=502), 5),
    ],
)
def test_errors_go_to_standard_error_and_set_the_exit_code(shell: Shell, error: JobEngineError, code: int) -> None:
    shell.mail.answers["add"] = error
    done = shell("add", "mail", "{}")
    assert (done.exit_code, done.stdout, done.stderr) == (code, "", "jobengine: no\n")
    assert shell.engine.closed


@pytest.mark.parametrize(
    ("options", "again"),
    [
        ((), f"Run the same command again with --uid {UID}, so that it is not added twice."),
        (("--uid", "mine"), "Run the same command again with --uid mine, so that it is not added twice."),
        (("--unique-key", "k"), "Run the same command again."),
    ],
)
def test_add_shows_how_to_repeat_it_if_its_outcome_is_unknown(shell: Shell, options: Sequence[str], again: str) -> None:
    shell.mail.answers["add"] = OutcomeUnknown("The answer was lost.", status=503)
    done = shell("add", "mail", "{}", *options)
    assert (done.exit_code, done.stderr) == (5, f"jobengine: The answer was lost. {again}\n")


@pytest.mark.parametrize(
    ("error", "code", "output"),
    [
        (
            UnicodeEncodeError("utf-8", "\udcff", 0, 1, "surrogates not allowed"),
            2,
            "jobengine: An argument or environment variable is not UTF-8.\n",
        ),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_an_error_ends_a_command_without_a_traceback_and_closes_its_connections(
    shell: Shell, error: BaseException, code: int, output: str
) -> None:
    shell.mail.answers["stats"] = error
    done = shell("queue", "stats", "mail")
    assert (done.exit_code, done.output, shell.engine.closed) == (code, output, True)


@pytest.mark.parametrize(
    ("options", "variable", "source"),
    [
        ((), "", "This is the default address; --url or JOBENGINE_URL names another."),
        ((), "http://localhost:1", "Its address comes from JOBENGINE_URL."),
        (("--url", "http://localhost:1"), "", "Its address comes from --url."),
        (("--profile", "home"), "", "Its address comes from JOBENGINE_URL or the profile 'home'."),
    ],
)
def test_the_error_for_an_unreachable_server_names_the_source_of_its_address(
    shell: Shell, options: tuple[str, ...], variable: str, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOBENGINE_URL", variable)
    for question in ("", " Is the server running?"):
        shell.mail.answers["stats"] = Unavailable(f"No answer from http://localhost:1: Connection refused.{question}")
        done = shell("queue", "stats", "mail", *options)
        assert done.stderr.endswith(f"refused. Is the server running? {source}\n")


class _Untrusted(OSError):
    reason = "CERTIFICATE_VERIFY_FAILED"
    verify_code, verify_message = 18, "self-signed certificate"


class _Incomplete(_Untrusted):
    verify_code, verify_message = 20, "unable to get local issuer certificate"


def test_the_error_for_an_untrusted_certificate_names_ssl_cert_file_only() -> None:
    engine, _ = unconnected([not_connected(_Untrusted())], access_key="k", retry_for=0)
    done = CliRunner().invoke(app, ["queue", "stats", "mail"], obj=Session(lambda *_, **__: engine))
    assert (done.exit_code, done.stderr) == (
        5,
        "jobengine: No TLS connection to http://server.example:6006: its certificate is not trusted (self-signed "
        "certificate); set SSL_CERT_FILE to its file or its issuer's.\n",
    )


def test_the_error_for_a_certificate_without_its_issuer_says_that_the_server_must_send_it() -> None:
    engine, _ = unconnected([not_connected(_Incomplete())], access_key="k", retry_for=0)
    done = CliRunner().invoke(app, ["queue", "stats", "mail"], obj=Session(lambda *_, **__: engine))
    assert done.exit_code == 5
    assert done.stderr.endswith(
        "if a public authority issued it, the server must send its intermediate certificates too.\n"
    )


def test_advice_about_http_in_an_error_becomes_advice_about_commands_and_settings(shell: Shell) -> None:
    for problem, said in (
        ("No key 'k'; GET /api/v1/queue/key lists its keys.", "No key 'k'; `jobengine key list` lists its keys."),
        ("No; send one that does in X-Access-Key.", "No; set JOBENGINE_ACCESS_KEY to one that does, or use --profile."),
        ("No; send the server's in X-Admin-Key.", "No; set JOBENGINE_ADMIN_KEY to the server's."),
    ):
        shell.mail.answers["stats"] = error_of(404, {"detail": problem})
        assert shell("queue", "stats", "mail").stderr == f"jobengine: {said}\n"


_HOSTILE = "no \x1b]0;owned\x07\x9b2J\n\u202ejobengine: done"
_ESCAPED = r"no \x1b]0;owned\x07\x9b2J\n\u202ejobengine: done"


def test_text_in_a_servers_error_can_not_control_the_terminal(shell: Shell) -> None:
    shell.mail.answers["add"] = shell.mail.answers["cancel"] = BadRequest(_HOSTILE, status=400)
    assert shell("add", "mail", "{}").stderr == f"jobengine: {_ESCAPED}\n"
    assert shell("cancel", "mail", UID).stderr.splitlines()[0] == f"jobengine: {UID}: {_ESCAPED}"
    shell.mail.answers["add_and_wait"] = job_of(state="failed", error=_HOSTILE)
    said = shell("add", "mail", "{}", "--wait").stderr.partition(" has failed: ")[2]
    assert said == _ESCAPED.replace(r"\n", "\n") + "\n"  # the lines of an error stay lines


def test_text_in_results_and_events_can_not_control_the_terminal(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    shell.mail.answers["add_and_wait"] = job_of(state="complete", result={"\x9b": "\x7f\u202e\U000e0001 Zoë"})
    printed = shell("add", "mail", "{}", "--wait").stdout
    assert printed == '{"\\u009b":"\\u007f\\u202e\\udb40\\udc01 Zoë"}\n'
    assert json.loads(printed) == {"\x9b": "\x7f\u202e\U000e0001 Zoë"}
    event = JobEvent({"uid": "\x1b[2J", "before": None, "state": "queued", "at": 1800000000}, "e")
    monkeypatch.setattr(shell.mail, "events", lambda after: iter([event]))
    assert r"\x1b[2J" in shell("events", "mail").stdout


def test_events_show_why_a_job_was_not_moved(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    event = JobEvent({"uid": UID, "before": "failed", "state": "failed", "at": 1800000000, "not_moved": "full"}, "e")
    monkeypatch.setattr(shell.mail, "events", lambda after: iter([event]))
    assert shell("events", "mail").stdout.split()[-5:] == ["failed", "failed", "not", "moved:", "full"]


def test_without_any_key_no_request_is_sent() -> None:
    shell = Shell(FakeEngine(access_key=None))
    done = shell("add", "mail", "{}")
    assert done.exit_code == 4
    assert "JOBENGINE_ACCESS_KEY" in done.stderr
    assert shell.mail.asked == []


@pytest.mark.parametrize(
    "arguments", [("--profile", "p", "--json", "jobs", "mail"), ("jobs", "mail", "--json", "--profile", "p")]
)
def test_common_options_may_stand_before_or_after_the_name_of_the_command(
    shell: Shell, arguments: tuple[str, ...]
) -> None:
    shell.mail.found = [job_of()]
    done = shell(*arguments)
    assert json.loads(done.stdout)["uid"] == UID
    assert shell.engine.with_options[1]["profile"] == "p"


def _commands(group: click.Command = app, name: str = "") -> Iterator[tuple[str, Command]]:
    if not isinstance(group, click.Group):
        assert isinstance(group, Command)
        yield name.strip(), group
        return
    context = click.Context(group)
    for one in group.list_commands(context):
        found = group.get_command(context, one)
        assert found is not None
        yield from _commands(found, f"{name} {one}")


@pytest.mark.parametrize(("name", "command"), list(_commands()))
def test_the_help_of_each_command_ends_with_examples(shell: Shell, name: str, command: Command) -> None:
    if name != "serve":  # its help is followed by that of twistd
        done = shell(*name.split(), "--help")
        assert done.exit_code == 0
        assert done.stdout.endswith("".join(f"  {example}\n" for example in command.examples))
    assert command.examples
    assert all(f"jobengine {name}" in example for example in command.examples)


@pytest.mark.parametrize("group", [(), ("queue",), ("key",), ("db",)])
def test_the_list_of_commands_describes_each_in_a_complete_sentence(shell: Shell, group: tuple[str, ...]) -> None:
    commands = shell(*group, "--help").stdout.partition("Commands:\n")[2].splitlines()
    assert commands
    assert [line for line in commands if not line.endswith(".") or line.endswith("..")] == []


def test_no_option_takes_a_key_as_its_value() -> None:
    for name, command in _commands():
        for parameter in command.params:
            said = {*parameter.opts, *parameter.secondary_opts}
            assert not said & {"--key", "--access-key", "--admin-key", "--lease", "--secret"}, name


def test_add_takes_its_content_from_any_source_and_prints_the_uid(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "job.json").write_text('{"from": "file"}')
    shell("add", "mail", "-", sent='{"from": "input"}')
    shell("add", "mail", f"@{tmp_path}/job.json")
    done = shell("add", "mail", '{"a": 1}')
    assert [content for _, content, _ in shell.mail.asked] == [{"from": "input"}, {"from": "file"}, {"a": 1}]
    assert (done.stdout, done.stderr) == (f"{UID}\n", "")


@pytest.mark.parametrize(
    ("job", "said"),
    [
        (job_of(state="failed", error="no such mailbox"), "no such mailbox"),
        (job_of(state="inprogress"), "still inprogress"),
    ],
)
def test_add_wait_exits_with_1_if_the_job_fails_or_does_not_finish(shell: Shell, job: Any, said: str) -> None:
    shell.mail.answers["add_and_wait"] = job
    done = shell("add", "mail", "{}", "--wait")
    assert (done.exit_code, done.stdout) == (1, "")
    assert said in done.stderr


def test_jobengine_jobs_prints_tab_separated_lines_without_a_terminal(shell: Shell) -> None:
    shell.mail.found = [job_of(tags=["a", "b"], worker="w\x1b[31m\n1")]
    done = shell("jobs", "mail", "--state", "queued", "--tag", "a", "--search", "ada")
    assert (
        done.stdout
        == f'{UID}\tqueued\t0\t0/1\t2027-01-15T08:00:00Z\tw\\x1b[31m\\n1\ta,b\t{{"to": "ada@example.org"}}\t\t\t\n'
    )
    assert shell.mail.asked == [("jobs", 51, {"sort": None, "state": "queued", "tag": "a", "q": "ada"})]


def test_a_list_cut_by_limit_gets_a_note_that_there_are_more_jobs(shell: Shell) -> None:
    shell.mail.found = [job_of()] * 60
    few, every = shell("jobs", "mail", "--json", "--limit", "3"), shell("jobs", "mail", "--all")
    assert [json.loads(line)["uid"] for line in few.stdout.splitlines()] == [UID] * 3
    assert "more than 3" in few.stderr
    assert (len(every.stdout.splitlines()), every.stderr) == (60, "")


def test_a_job_is_shown_field_by_field(shell: Shell) -> None:
    attempt = {"worker": "w", "started": 1800000000, "ended": 1800000001, "outcome": "failed", "error": "a\nb"}
    shell.mail.answers["get"] = job_of(history=[attempt], not_before=1800000060)
    lines = dict(line.split("\t") for line in shell("show", "mail", UID).stdout.splitlines())
    assert lines["content"] == '{"to": "ada@example.org"}'
    assert lines["timeout_time"] == "never"
    assert lines["not_before"] == "2027-01-15T08:01:00Z"
    assert lines["history.1.error"] == "a\\nb"
    assert json.loads(shell("show", "mail", UID, "--json").stdout)["history"] == [attempt]


def test_next_exits_with_3_if_no_job_is_ready(shell: Shell) -> None:
    assert shell("next", "mail").exit_code == 0
    shell.mail.answers["peek"] = None
    done = shell("next", "mail")
    assert (done.exit_code, done.stdout) == (3, "")


def test_jobengine_events_prints_lines_or_json_with_event_ids(shell: Shell) -> None:
    lines = shell("events", "mail", "--count", "2").stdout.splitlines()
    assert [re.split(r"  +", line)[2:] for line in lines] == [["new", "queued"], ["queued", "inprogress"]]
    events = [json.loads(line) for line in shell("events", "mail", "--json", "--after", "e").stdout.splitlines()]
    assert [event["id"] for event in events] == ["e0", "e1", "e2"]
    assert shell.mail.asked[-1] == ("events", {"after": "e"})


class _Outages:
    """Streams of events that break off: each has its number of events, and the error that ends it."""

    def __init__(self, *streams: tuple[int, JobEngineError]) -> None:
        self._streams = list(streams)
        self.after: list[str | None] = []

    def __call__(self, after: str | None) -> Iterator[JobEvent]:
        self.after.append(after)
        number = len(self.after)
        count, error = self._streams.pop(0)
        for one in range(count):
            yield JobEvent({"uid": UID, "before": None, "state": "queued", "at": 1800000000}, f"{number}.{one}")
        raise error


_AWAY = Unavailable("No answer.")


def test_jobengine_events_continues_after_outages_of_the_server(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    streams = _Outages((1, _AWAY), (0, _AWAY), (0, EventsLost("lost")), (1, QueueNotFound("no", status=404)))
    monkeypatch.setattr(shell.mail, "events", streams)
    done = shell("events", "mail")
    assert (done.exit_code, len(done.stdout.splitlines())) == (3, 2)
    assert streams.after == [None, "1.0", "1.0", None]
    assert done.stderr.splitlines() == [
        "No answer. Retrying until it answers; events may be missed.",
        "Events are missing: the server no longer has them. Read the jobs again.",
        "jobengine: no",
    ]


@pytest.mark.parametrize(("error", "after", "code"), [(_AWAY, (), 5), (EventsLost("lost"), ("--after", "e"), 1)])
def test_jobengine_events_ends_if_its_first_request_fails(
    shell: Shell, error: JobEngineError, after: tuple[str, ...], code: int
) -> None:
    shell.mail.answers["events" if after else "stats"] = error
    assert shell("events", "mail", *after).exit_code == code


def test_top_prints_once_without_a_terminal(shell: Shell) -> None:
    held: list[dict[str, Any]] = [{"worker": "w2", "jobs": 700}, {"worker": None, "jobs": 1}]
    shell.mail.answers["workers"] = [WorkerJobs({**one, "last_updated": 1800000000}) for one in held]
    queues, workers = shell("top", "mail").stdout.split("\n\n")
    assert queues.split("\t")[:7] == ["mail", "open", "2", "0", "1", "3", "1m 15s"]
    assert re.findall(r"^(.+)\tmail\t(\d+)\t", workers, re.MULTILINE) == [("w2", "700"), ("(no name)", "1")]
    (line,) = shell("top", "mail", "--json").stdout.splitlines()
    assert [one["worker"] for one in json.loads(line)["workers"]] == ["w2", None]


def test_top_of_all_queues_needs_the_admin_key() -> None:
    assert Shell()("top").exit_code == 2
    done = Shell(FakeEngine(admin_key="admin"))("top")
    assert re.findall(r"^(\w+)\t(\w+)", done.stdout, re.MULTILINE)[:2] == [("mail", "open"), ("thumbnails", "paused")]


@pytest.mark.parametrize(
    ("name", "which"),
    [("retry", "All failed jobs"), ("cancel", "All jobs"), ("delete", "All jobs"), ("update", "All jobs")],
)
def test_the_help_says_which_jobs_the_option_all_selects(shell: Shell, name: str, which: str) -> None:
    assert re.search(rf"--all +{which} of the\s+queue", shell(name, "--help").stdout)


def test_a_command_for_many_jobs_counts_them_and_requires_confirmation(shell: Shell) -> None:
    done = shell("cancel", "mail", "--tag", "x")
    assert done.exit_code == 2
    assert "14 jobs of 'mail' would be cancelled" in done.stderr
    assert "--yes" in done.stderr
    assert [more["dry_run"] for _, more in shell.mail.asked] == [True, True]


_NEWS: dict[str, Any] = {"tag": "x"}
_CHANGES = {"priority": 9, "new_status": "queued"}


@pytest.mark.parametrize(
    ("line", "code", "said", "asked"),
    [
        ("delete mail --all --yes", 0, "7 jobs were deleted.\n", [("delete_all", {"all": True})]),
        (
            "retry mail --tag x",  # there is only one queue
            0,
            "1 job was queued again.\n",
            [("retry", {"dry_run": True, **_NEWS}), ("retry", _NEWS)],
        ),
        (
            f"update mail gone {UID} --priority 9 --new-status queued",
            3,
            "jobengine: gone: no such job\n1 job was updated.\n",
            [("update", "gone", _CHANGES), ("update", UID, _CHANGES)],
        ),
    ],
)
def test_a_change_that_needs_no_confirmation_says_how_many_jobs_it_changed(
    shell: Shell, line: str, code: int, said: str, asked: list[Any]
) -> None:
    done = shell(*line.split())
    assert (done.exit_code, done.stdout, done.stderr, shell.mail.asked) == (code, "", said, asked)


def test_a_dry_run_prints_the_count_and_changes_nothing(shell: Shell) -> None:
    done = shell("update", "mail", "--state", "queued", "--priority", "3", "--dry-run", "--json")
    assert json.loads(done.stdout) == {"matched": 7}
    assert shell.mail.asked == [("update_all", {"priority": 3}, {"dry_run": True, "state": "queued"})]


@pytest.mark.parametrize(
    ("job", "said"),
    [
        (job_of(state="failed", error="cancelled"), "1 job was cancelled."),
        (job_of(state="inprogress", cancel_requested=True), "1 job is running; its worker is asked to stop."),
        (job_of(state="complete"), "1 job is complete already."),
        (job_of(state="failed", error="no such mailbox"), "1 job has failed already."),
    ],
)
def test_cancel_reports_its_effect_on_the_job(shell: Shell, job: Any, said: str) -> None:
    shell.mail.answers["cancel"] = job
    done = shell("cancel", "mail", UID)
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", f"{said}\n")


def test_cancelling_a_missing_job_reports_only_that_it_is_missing(shell: Shell) -> None:
    shell.mail.answers["cancel"] = JobNotFound("no such job", status=404)
    done = shell("cancel", "mail", UID)
    assert (done.exit_code, done.stderr) == (3, f"jobengine: {UID}: no such job\n")


def test_update_takes_the_lease_from_the_environment(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBENGINE_LEASE", "secret")
    shell("update", "mail", UID, "--new-status", "complete", "--result", "null")
    assert shell.mail.asked == [("update", UID, {"new_status": "complete", "result": None, "lease": "secret"})]


def test_no_error_output_has_a_key(shell: Shell) -> None:
    shell.mail.answers["stats"] = RuntimeError("a mistake")
    done = shell("queue", "stats", "mail")
    assert isinstance(done.exception, RuntimeError)
    assert KEY not in repr(shell.engine._settings) + repr(done.exception) + done.output
