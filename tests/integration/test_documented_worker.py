"""The Python on the page about workers, run as a reader would run it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from jobengine import client

from .daemons import DEADLINE, Daemon, until
from .documents import blocks, python

PAGE = "docs/workers.md"


def _code(heading: str) -> str:
    return blocks(PAGE, "python", heading)[0]


def _run(daemon: Daemon, heading: str) -> str:
    return python(_code(heading), daemon.port).stdout


def test_a_worker_works_until_sigterm_as_the_first_example_of_the_workers_page_says(
    daemon: Daemon, mail: client.Queue, tmp_path: Path
) -> None:
    program = tmp_path / "program.py"
    program.write_text(_code("## In Python"))
    environment = {**os.environ, "JOBENGINE_URL": f"http://127.0.0.1:{daemon.port}"}
    job = mail.add({"to": "ada@example.org"})
    with subprocess.Popen([sys.executable, program], env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert mail.wait(job.uid, timeout=DEADLINE).result == {"sent_to": "ada@example.org"}
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=DEADLINE)
    assert process.returncode == 0
    assert f"mail {job.uid}, attempt 1: complete" in log


def test_handlers_end_jobs_as_the_workers_page_says(daemon: Daemon, mail: client.Queue) -> None:
    sent, failed, later = (
        mail.add({"to": to}, max_attempts=2) for to in ("a@example.org", "nobody", "a@busy.example.org")
    )
    assert _run(daemon, "### How a job ends") == "2\n"
    assert mail.get(sent.uid).result == "sent"
    assert (mail.get(failed.uid).state, mail.get(failed.uid).error) == ("failed", "no such address")
    assert (mail.get(later.uid).state, mail.get(later.uid).history[-1].outcome) == ("queued", "released")


def test_a_worker_sets_a_schedule_as_the_workers_page_says(daemon: Daemon, mail: client.Queue) -> None:
    _run(daemon, "### On a schedule")
    uid = mail.schedules.run("nightly").uid
    assert uid is not None
    _run(daemon, "### On a schedule")
    assert mail.get(uid).result == {"sent_to": "ada@example.org", "for": mail.get(uid).meta["schedule"]["time"]}
    assert [schedule.cron for schedule in mail.schedules.list()] == ["0 3 * * *"]


def test_a_job_waits_for_other_jobs_as_the_workers_page_says(daemon: Daemon, mail: client.Queue) -> None:
    job = mail.add({"words": ["to", "whom", "it", "may", "concern"]})
    _run(daemon, "### Wait for other jobs")
    assert (mail.get(job.uid).result, mail.get(job.uid).attempts) == (18, 1)


def test_coroutine_handlers_run_as_the_workers_page_says(daemon: Daemon, mail: client.Queue) -> None:
    mail.add_many([{"to": f"{number}@example.org"} for number in range(50)])
    _run(daemon, "### Threads, asyncio or processes")
    assert mail.stats().counts.complete == 50


def test_hooks_are_called_as_the_workers_page_says(daemon: Daemon, mail: client.Queue) -> None:
    mail.add_many([{"to": "a@example.org"}, {"to": "nobody"}])
    assert _run(daemon, "### The log, and hooks").splitlines() == [
        "begins a@example.org",
        "has sent",
        "begins nobody",
        "has failed: no such address",
    ]


def test_a_documented_test_with_the_fixture_passes_and_the_next_test_has_no_queues(tmp_path: Path) -> None:
    (code,) = blocks(PAGE, "python", "### Test it")
    again = code.replace("test_mail_is_sent", "test_mail_is_sent_again").partition("\n\n\n")[2]
    (tmp_path / "test_mail.py").write_text(f"{code}\n\n{again}")
    # With warnings as errors, a connection that is left open would be an error.
    strict = ["-W", "error", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *strict, "--basetemp", tmp_path / "base", tmp_path],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, "2 passed" in done.stdout) == (0, True), done.stdout
    until("the server has ended", lambda: not _daemons_in(tmp_path))


def _daemons_in(home: Path) -> list[Path]:
    return [found for found in Path("/proc").glob("[0-9]*/cwd") if str(home) in _target(found)]


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:
        return ""


def test_a_worker_writes_its_log_as_json_as_the_workers_page_says(daemon: Daemon) -> None:
    log = "\nlogging.getLogger('mine').info('hello', extra={'number': 1})\n"
    code = _code("### The log for programs") + log
    done = python(code, daemon.port)
    fields = {"level": "info", "logger": "mine", "message": "hello", "number": 1}
    assert fields.items() <= json.loads(done.stderr).items()
