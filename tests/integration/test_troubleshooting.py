"""docs/troubleshooting.md: each symptom is caused, and its commands show what the page says."""

import os
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from . import documents
from .conftest import MakeDaemon
from .daemons import ROOT, SECRET, Daemon, free_port, until
from .documents import at_port, blocks
from .shells import KEY, Shell, stop

PAGE = "docs/troubleshooting.md"
TEXT = (ROOT / PAGE).read_text()
ADA = {"to": "ada@example.org"}


def _queued(shell: Shell) -> str:
    return shell.add([ADA])[0]


def _paused(shell: Shell) -> str:
    shell("queue", "pause", "mail")
    return _queued(shell)


def _held_by_a_dead_worker(shell: Shell) -> str:
    uid = _queued(shell)
    shell("next", "mail", "--claim", "--worker", "mailer-1")
    return uid


def _timed_out(shell: Shell) -> str:
    (uid,) = shell.add([ADA], timeout_seconds=1, max_attempts=2, retry_delay_seconds=0)
    shell("next", "mail", "--claim")
    until("its lease ends", lambda: shell.jobs()[uid]["state"] == "queued")
    return uid


def _failed(shell: Shell) -> str:
    uid = _queued(shell)
    shell("work", "mail", "--until-empty", "--", "sh", "-c", "echo 'Connection refused' >&2; exit 1")
    return uid


def _vanished(shell: Shell) -> str:
    (uid,) = shell.add([ADA], keep_minutes=0)
    shell("work", "mail", "--until-empty", "--", "true")
    return uid


def _complete(shell: Shell) -> str:
    uid = _queued(shell)
    shell("work", "mail", "--until-empty", "--", "true")
    return uid


def _draining(shell: Shell) -> str:
    shell("queue", "drain", "mail")
    return ""


def _skipped(shell: Shell) -> str:
    shell("queue", "create", "sales")
    shell("schedule", "add", "sales", "nightly", "{}", "--every", "1s")
    until("a time is skipped", lambda: "skipped" in shell("schedule", "show", "sales", "nightly").stdout)
    return ""


#: By section: causes the symptom, and returns the uid of the job in question.
SYMPTOMS: dict[str, Callable[[Shell], str]] = {
    "Nothing is done, and the queue grows": _queued,
    "One job is not claimed": _paused,
    "A job stays in progress, and nobody works on it": _held_by_a_dead_worker,
    "A job is done twice": _timed_out,
    "Jobs fail": _failed,
    "A job has vanished": _vanished,
    "Jobs can't be added": _draining,
    "Adding jobs is slow": _queued,
    "The server needs much memory": _complete,
    "A schedule adds no job": _skipped,
}
#: Sections with a test of their own: their symptom needs another server, or no server.
OTHERS = (
    "A key is refused",
    "There is no answer",
    "The answer is not from JobEngine",
    "The server does not start",
    "After a restart, all jobs are gone",
    "The server answers 503 or 507",
    "The browser shows 403",
)


def _outcome(section: str, home: Path, environment: Mapping[str, str], port: int) -> str:
    """Run the first command of a section; returns its output, which must have the section's lines."""
    first, *_ = blocks(PAGE, "sh", f"## {section}")
    done = documents.shell(at_port(f"set +e\n{first}", port), home, environment)
    output = done.stdout + done.stderr
    (lines,) = blocks(PAGE, "text", f"## {section}")
    missing = [line for line in lines.splitlines() if line not in output]
    assert missing == [], output
    return output


def test_every_section_of_the_troubleshooting_page_has_a_test() -> None:
    sections = re.findall("^## (.+)$", TEXT, re.MULTILINE)
    assert sorted(sections) == sorted([*SYMPTOMS, *OTHERS])
    linked = re.findall(r"\]\(#(.+?)\)", TEXT.partition("\n## ")[0])
    assert linked == [anchor for anchor in linked if anchor in {_anchor(section) for section in sections}]
    assert len(linked) == len(sections)


def _anchor(section: str) -> str:
    return re.sub(r"[^a-z0-9 -]", "", section.lower()).replace(" ", "-")


@pytest.mark.parametrize("section", SYMPTOMS, ids=_anchor)
def test_each_symptom_and_remedy_of_the_troubleshooting_page_is_as_documented(section: str, shell: Shell) -> None:
    uid = SYMPTOMS[section](shell)
    admin = {"ADMIN": shell.environment["JOBENGINE_ADMIN_KEY"]}
    environment = {**shell.environment, **admin, "uid": uid}
    environment["PATH"] = f"{_curl_as_admin(shell.home)}:{environment['PATH']}"
    _outcome(section, shell.home, environment, shell.daemon.port)
    for remedy in blocks(PAGE, "sh", f"## {section}")[1:]:
        done = documents.shell(remedy, shell.home, environment)
        assert done.returncode == 0, done.stderr
    if section in ("Jobs fail", "A job stays in progress, and nobody works on it"):
        assert shell.jobs()[uid]["state"] == "queued"


def test_a_job_in_progress_of_a_queue_that_requires_leases_is_queued_again_as_documented(shell: Shell) -> None:
    shell("queue", "configure", "mail", "--require-lease")
    uid = _held_by_a_dead_worker(shell)
    refused = shell("update", "mail", uid, "--new-status", "queued", code=1)
    assert "This queue requires leases" in refused.stderr
    assert "`This queue requires leases`" in TEXT
    assert "`jobengine queue configure mail --no-require-lease`" in TEXT
    shell("queue", "configure", "mail", "--no-require-lease")
    shell("update", "mail", uid, "--new-status", "queued")
    assert shell.jobs()[uid]["state"] == "queued"


def _curl_as_admin(home: Path) -> Path:
    """A directory with a curl that sends the admin key, which the server of these tests has."""
    place = home / "bin"
    place.mkdir()
    (place / "curl").write_text(f'#!/bin/sh\nexec {shutil.which("curl")} -H "X-Admin-Key: $ADMIN" "$@"\n')
    (place / "curl").chmod(0o755)
    return place


@pytest.mark.parametrize(
    ("reason", "job"),
    [
        ("It can't be claimed before", {"delay_seconds": 3600}),
        ("The group 'customer-7' has 1 of 1 jobs in progress.", {"group": "customer-7"}),
        ("It waits for", {"depends_on": ["0b8c9e1c-4c1e-4a35-9d5c-5a6f0f0f8a11"]}),
        ("It can be claimed.", {"tags": ["gpu"]}),
    ],
)
def test_explain_gives_each_reason_of_the_troubleshooting_table(reason: str, job: dict[str, Any], shell: Shell) -> None:
    assert f"| `{reason}" in TEXT
    shell("queue", "configure", "mail", "--group-limit", "1")
    shell.add([ADA], uid="0b8c9e1c-4c1e-4a35-9d5c-5a6f0f0f8a11", group="customer-7")
    shell("next", "mail", "--claim")
    (uid,) = shell.add([ADA], "mail", **job)
    assert reason in shell("explain", "mail", uid).stdout


def test_explain_gives_the_documented_reason_for_a_job_with_other_tags_than_the_waiting_worker(shell: Shell) -> None:
    reason = "1 worker waits, but only for jobs with the tag 'cpu'."
    assert f"| `{reason}` |" in TEXT
    (uid,) = shell.add([ADA], tags=["gpu"])
    worker = shell.start("work", "mail", "--tag", "cpu", "--", "true")
    until("the worker waits", lambda: "\tcpu" in shell("workers", "mail").stdout)
    assert reason in shell("explain", "mail", uid).stdout
    stop(worker)


def test_explain_gives_the_documented_reason_for_a_job_behind_a_limit_that_is_not_reached(shell: Shell) -> None:
    shell("queue", "configure", "mail", "--limit", "2")
    *_, last = [shell.add([ADA])[0] for _ in range(4)]
    reason = "3 jobs are before it, and at most 2 run at once; 0 run now."
    assert f"| `{reason}` |" in TEXT
    done = shell("explain", "mail", last)
    assert (reason in done.stdout, done.stderr) == (True, "")
    shell("queue", "pause", "mail")
    assert shell("explain", "mail", last).stderr == "`jobengine queue resume mail` ends the pause.\n"


def test_explain_names_a_held_group_and_the_documented_command_releases_it(shell: Shell) -> None:
    (uid,) = shell.add([ADA], group="customer-7")
    shell("group", "hold", "mail", "customer-7", "--for", "1h")
    assert "| `The group 'customer-7' is held` |" in TEXT
    assert "The group 'customer-7' is held" in shell("explain", "mail", uid).stdout
    assert "`jobengine group release mail customer-7`" in TEXT
    shell("group", "release", "mail", "customer-7")
    assert "It can be claimed." in shell("explain", "mail", uid).stdout


def test_jobs_are_refused_with_the_documented_messages(shell: Shell) -> None:
    (uid,) = shell.add([ADA])
    shell("queue", "configure", "mail", "--max-jobs", "1")
    with shell.daemon.client(key=KEY) as client:
        answers = [
            client.add(queue="mail").json["detail"],
            client.add({"other": 1}, "mail", uid=uid).json["detail"],
            client.add({"text": "x" * 1_100_000}, "mail").json["detail"],
            client.call("PUT", "/api/v1/job", body={"queue_name": "mail", "job": {"contents": {}}}).json["detail"],
        ]
    messages = [found.partition(" … ")[0] for found in re.findall(r"^\| `(.+?)` \|", TEXT, re.MULTILINE)]
    assert [answer for answer in answers if not any(answer.startswith(message) for message in messages)] == []


def test_a_wrong_key_and_a_key_with_a_role_get_the_documented_messages(shell: Shell) -> None:
    environment = {**shell.environment, "JOBENGINE_ACCESS_KEY": "wrong", "JOBENGINE_ADMIN_KEY": ""}
    _outcome("A key is refused", shell.home, environment, shell.daemon.port)
    key = shell("key", "add", "mail", "--role", "viewer").stdout.strip()
    environment["JOBENGINE_ACCESS_KEY"] = key
    done = documents.shell("jobengine add mail '{}'", shell.home, environment)
    assert "may not do this" in done.stderr
    assert "`may not do this`" in TEXT


def test_the_error_for_an_unreachable_server_is_as_documented(shell: Shell) -> None:
    environment = {**shell.environment, "JOBENGINE_URL": f"http://127.0.0.1:{free_port()}"}
    _outcome("There is no answer", shell.home, environment, shell.daemon.port)


class _Other(BaseHTTPRequestHandler):
    """Another HTTP server: some program, or a proxy whose server is down."""

    status = 404

    def do_GET(self) -> None:
        self.send_error(self.status)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


def test_the_error_for_another_program_at_the_servers_address_is_as_documented(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = ThreadingHTTPServer(("127.0.0.1", 0), _Other)
    thread = threading.Thread(target=other.serve_forever)
    thread.start()
    try:
        environment = {**shell.environment, "JOBENGINE_URL": f"http://127.0.0.1:{other.server_port}"}
        _outcome("The answer is not from JobEngine", shell.home, environment, shell.daemon.port)
        monkeypatch.setattr(_Other, "status", 502)
        done = documents.shell("jobengine queue stats mail", shell.home, environment)
    finally:
        other.shutdown()
        thread.join()
        other.server_close()
    assert "The server answered with status 502" in done.stderr
    assert "`The server answered with status 502`" in TEXT


def _serving(daemon: Daemon, secret: str) -> dict[str, str]:
    """The environment of `jobengine serve` in the home of a daemon."""
    path = f"{Shell(daemon, daemon.home).environment['PATH']}"
    return {**daemon.environment, "PATH": path, "SECRET": secret, "API_PORT": str(free_port())}


def test_a_server_with_a_wrong_secret_does_not_start_and_logs_the_reason(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(settings={"DB_PATH": "data/jobengine.jedb"}).start()
    assert daemon.stop() == 0
    _outcome("The server does not start", daemon.home, _serving(daemon, "another"), 6006)


def test_a_start_that_creates_a_new_database_is_logged_as_documented(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon().start()
    assert daemon.stop() == 0
    (command,) = blocks(PAGE, "sh", "## After a restart, all jobs are gone")
    (line,) = blocks(PAGE, "text", "## After a restart, all jobs are gone")
    log = daemon.home / "serving"
    with open(log, "w") as output:
        process = subprocess.Popen(
            ["bash", "-c", f"exec {command}"],
            cwd=daemon.home,
            env={**os.environ, **_serving(daemon, SECRET)},
            stdout=output,
            stderr=output,
        )
        try:
            until("it says so", lambda: line.strip() in log.read_text())
        finally:
            process.terminate()
            process.wait()


def test_readyz_reports_a_full_disk(make_daemon: MakeDaemon, small_disk: Path) -> None:
    daemon = make_daemon(settings={"DB_PATH": str(small_disk / "jobengine.jedb")}).start()
    with daemon.client() as client:
        client.make_queue()
        until("the disk is full", lambda: client.add({"text": "x" * 100_000}).status == 507)
    _outcome("The server answers 503 or 507", daemon.home, daemon.environment, daemon.port)


def test_a_browser_that_uses_an_unknown_host_name_is_refused_as_documented(daemon: Daemon) -> None:
    _outcome("The browser shows 403", daemon.home, daemon.environment, daemon.port)
