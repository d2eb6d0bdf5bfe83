"""The workers in a shell, in Node and in Go on the page about workers, run as a reader would run them."""

import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from attrs import frozen

from jobengine import client

from .conftest import MakeDaemon
from .daemons import DEADLINE, Daemon, free_port, until
from .documents import at_port, blocks, shell
from .shells import KEY, Shell

PAGE = "docs/workers.md"


@frozen
class Language:
    """How to start the program of a section."""

    heading: str
    language: str
    file: str
    #: The last line of the work, and its replacement, which takes a minute for long@x unless it is told to stop.
    work: tuple[str, str]
    start: Sequence[str]
    build: Sequence[str] = ()


NODE = Language(
    "## In Node",
    "js",
    "worker.mjs",
    ("  return { sent_to", '  if (content.to === "long@x") await pause(60_000, null, { signal });\n  return { sent_to'),
    ("node", "worker.mjs"),
)
GO = Language(
    "## In Go",
    "go",
    "worker.go",
    (
        "\treturn fields{",
        '\tif to == "long@x" {\n\t\tselect {\n\t\tcase <-ctx.Done():\n\t\t\treturn nil, ctx.Err()\n'
        "\t\tcase <-time.After(time.Minute):\n\t\t}\n\t}\n\treturn fields{",
    ),
    ("./worker",),
    ("go", "build", "-o", "worker", "worker.go"),
)

Start = Callable[[], "subprocess.Popen[bytes]"]


@pytest.fixture
def server(make_daemon: MakeDaemon) -> Daemon:
    return make_daemon(settings={"API_PORT": str(free_port())}).start()


@pytest.fixture
def mail(server: Daemon) -> Iterator[client.Queue]:
    with client.JobEngine(f"http://127.0.0.1:{server.port}", access_key=KEY) as engine:
        queue = engine.queue("mail")
        queue.create()
        yield queue


@pytest.fixture(params=[NODE, GO], ids=["node", "go"])
def start(request: pytest.FixtureRequest, server: Daemon, tmp_path: Path) -> Start:
    """Starts the worker of a section, with work that takes a minute for long@x."""
    example: Language = request.param
    code = at_port(blocks(PAGE, example.language, example.heading)[0], server.port)
    assert code.count(example.work[0]) == 1
    (tmp_path / example.file).write_text(code.replace(*example.work))
    if example.build:
        # The first time on a machine it compiles the standard library.
        subprocess.run(example.build, cwd=tmp_path, env={**os.environ, "GO111MODULE": "off"}, check=True, timeout=300)
    return lambda: subprocess.Popen(example.start, cwd=tmp_path)


def test_jobs_end_as_their_work_does_and_a_restart_of_the_server_is_waited_for(
    start: Start, mail: client.Queue, server: Daemon
) -> None:
    start()
    sent, refused = (mail.add({"to": to}, max_attempts=2) for to in ("ada@example.org", "nobody"))
    assert _finished(mail, sent).result == {"sent_to": "ada@example.org"}
    failed = _finished(mail, refused)
    assert (failed.state, failed.attempts, failed.error) == ("failed", 2, "no such address")
    server.kill()
    server.start()
    after = mail.add({"to": "bob@example.org"}, timeout_seconds=1, max_attempts=2)
    assert _finished(mail, after).result == {"sent_to": "bob@example.org"}


def test_a_job_that_takes_longer_than_its_timeout_is_held_until_it_is_cancelled(
    start: Start, mail: client.Queue
) -> None:
    start()
    job = mail.add({"to": "long@x"}, timeout_seconds=1, max_attempts=3)
    begun = until("it has begun", lambda: (now := mail.get(job.uid)).state == "inprogress" and now)
    until(
        "its lease was extended beyond its time-out",
        lambda: (mail.get(job.uid).last_updated - begun.last_updated).total_seconds() >= 2,
    )
    assert mail.get(job.uid).attempts == 1
    mail.cancel(job.uid)
    assert (_finished(mail, job).state, mail.get(job.uid).attempts) == ("failed", 1)


def test_a_worker_whose_job_was_taken_away_goes_on_with_the_next(start: Start, mail: client.Queue) -> None:
    start()
    job = mail.add({"to": "long@x"}, timeout_seconds=1)
    until("it has begun", lambda: mail.get(job.uid).state == "inprogress")
    mail.update(job.uid, new_status="complete", result="by hand")
    after = mail.add({"to": "ada@example.org"})
    assert _finished(mail, after).state == "complete"
    assert mail.get(job.uid).result == "by hand"


def test_a_worker_with_a_wrong_key_ends_with_an_error(start: Start, server: Daemon) -> None:
    with server.client(key="another") as others:
        others.make_queue("mail")
    assert start().wait(DEADLINE) == 1


def test_the_worker_in_a_shell_ends_jobs_as_the_page_says(server: Daemon, mail: client.Queue, tmp_path: Path) -> None:
    sent, failed, later = (
        mail.add({"to": to}, max_attempts=2, retry_delay_seconds=600)
        for to in ("a@example.org", "nobody", "a@busy.example.org")
    )
    done = shell(blocks(PAGE, "sh", "## A worker in a shell")[0], tmp_path, Shell(server, tmp_path).environment)
    assert done.returncode == 0, done.stderr
    assert mail.get(sent.uid).result == {"sent_to": "a@example.org"}
    assert (mail.get(failed.uid).state, mail.get(failed.uid).error) == ("failed", "no such address")
    assert (mail.get(later.uid).state, mail.get(later.uid).history[-1].outcome) == ("queued", "released")


def _finished(mail: client.Queue, job: client.Job) -> client.Job:
    done = mail.wait(job.uid, timeout=DEADLINE)
    assert done.finished
    return done
