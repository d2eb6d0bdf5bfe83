"""The page's workers in a shell, in Node and in Go, run as a reader would run them."""

import os
import re
import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from select import select
from time import monotonic

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
    #: The last line of the handler, and its replacement, which takes 5 seconds for long@x.
    work: tuple[str, str]
    #: The error of a job whose address is refused.
    error: str
    start: Sequence[str]
    build: Sequence[str] = ()


NODE = Language(
    "## In Node",
    "js",
    "worker.mjs",
    ("  return { sent_to", '  if (content.to === "long@x") await pause(5_000);\n  return { sent_to'),
    "Error: no such address",
    ("node", "worker.mjs"),
)
GO = Language(
    "## In Go",
    "go",
    "worker.go",
    (
        "\treturn fields{",
        '\tif to == "long@x" {\n\t\ttime.Sleep(5 * time.Second)\n\t}\n\treturn fields{',
    ),
    "no such address",
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
def example(request: pytest.FixtureRequest) -> Language:
    language: Language = request.param
    return language


@pytest.fixture
def start(example: Language, server: Daemon, tmp_path: Path) -> Start:
    """Starts the long worker of a section, with a handler that takes longer than a second for long@x."""
    _, code = blocks(PAGE, example.language, example.heading)
    assert code.count(example.work[0]) == 1
    return _built(example, code.replace(*example.work), server, tmp_path)


@pytest.fixture
def start_short(example: Language, server: Daemon, tmp_path: Path) -> Start:
    code, _ = blocks(PAGE, example.language, example.heading)
    assert len(code.splitlines()) <= 35
    return _built(example, code, server, tmp_path)


def _built(example: Language, code: str, server: Daemon, home: Path) -> Start:
    (home / example.file).write_text(at_port(code, server.port))
    if example.build:
        # The first time on a machine Go compiles the standard library.
        subprocess.run(example.build, cwd=home, env={**os.environ, "GO111MODULE": "off"}, check=True, timeout=300)
    return lambda: subprocess.Popen(example.start, cwd=home)


def test_a_short_worker_of_the_docs_reports_the_outcomes_of_jobs(
    example: Language, start_short: Start, mail: client.Queue
) -> None:
    start_short()
    sent, refused = (mail.add({"to": to}, max_attempts=1) for to in ("ada@example.org", "nobody"))
    failed = _finished(mail, refused)
    assert (failed.state, failed.error) == ("failed", example.error)
    assert _finished(mail, sent).state == "complete"


def test_a_worker_of_the_docs_reports_outcomes_and_waits_for_a_server_restart(
    example: Language, start: Start, mail: client.Queue, server: Daemon
) -> None:
    start()
    sent, refused = (mail.add({"to": to}, max_attempts=2) for to in ("ada@example.org", "nobody"))
    assert _finished(mail, sent).result == {"sent_to": "ada@example.org"}
    failed = _finished(mail, refused)
    assert (failed.state, failed.attempts, failed.error) == ("failed", 2, example.error)
    other_form = _finished(mail, mail.add({"to": 7}, max_attempts=1))
    assert (other_form.state, other_form.error is None) == ("failed", False)
    server.kill()
    server.start()
    after = mail.add({"to": "bob@example.org"}, timeout_seconds=1, max_attempts=2)
    assert _finished(mail, after).result == {"sent_to": "bob@example.org"}


def test_a_worker_of_the_docs_resends_an_outcome_that_the_server_did_not_accept(
    start: Start, mail: client.Queue, server: Daemon
) -> None:
    start()
    job = mail.add({"to": "long@x"}, max_attempts=2)
    until("it has begun", lambda: mail.get(job.uid).state == "inprogress")
    server.kill()
    _lose_a_request(server.port, b'"complete"')
    server.start()
    done = _finished(mail, job)
    assert (done.state, done.attempts) == ("complete", 1)


def test_a_worker_of_the_docs_extends_the_lease_of_a_job_that_outlasts_its_timeout(
    start: Start, mail: client.Queue
) -> None:
    start()
    done = _finished(mail, mail.add({"to": "long@x"}, timeout_seconds=4, max_attempts=2))
    assert (done.state, done.attempts) == ("complete", 1)


def test_a_worker_of_the_docs_continues_with_the_next_job_after_a_lost_lease(start: Start, mail: client.Queue) -> None:
    start()
    job = mail.add({"to": "long@x"}, timeout_seconds=1)
    until("it has begun", lambda: mail.get(job.uid).state == "inprogress")
    mail.update(job.uid, new_status="complete", result="by hand")
    after = mail.add({"to": "ada@example.org"})
    assert _finished(mail, after).state == "complete"
    assert mail.get(job.uid).result == "by hand"


@pytest.mark.parametrize("length", ["start", "start_short"])
def test_a_worker_with_a_wrong_key_ends_with_an_error(
    request: pytest.FixtureRequest, example: Language, server: Daemon, length: str
) -> None:
    with server.client(key="another") as others:
        others.make_queue("mail")
    assert request.getfixturevalue(length)().wait(DEADLINE) == 1


def test_the_shell_worker_of_the_workers_page_reports_outcomes(
    server: Daemon, mail: client.Queue, tmp_path: Path
) -> None:
    sent, failed, later = (
        mail.add({"to": to}, max_attempts=2, retry_delay_seconds=600)
        for to in ("a@example.org", "nobody", "a@busy.example.org")
    )
    done = shell(blocks(PAGE, "sh", "## A worker in a shell")[0], tmp_path, Shell(server, tmp_path).environment)
    assert done.returncode == 0, done.stderr
    assert mail.get(sent.uid).result == {"sent_to": "a@example.org"}
    assert (mail.get(failed.uid).state, mail.get(failed.uid).error) == ("failed", "no such address")
    assert (mail.get(later.uid).state, mail.get(later.uid).history[-1].outcome) == ("queued", "released")


def _lose_a_request(port: int, text: bytes) -> None:
    """Close each connection to this port without an answer once it has sent a request, until a request has the text."""
    sent: dict[socket.socket, bytes] = {}
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", port)))
        until_then = monotonic() + 3 * DEADLINE
        while not any(text in its for its in sent.values()):
            assert monotonic() < until_then, "the job was complete before the server was killed"
            # Such a connection may be the worker's claim of its next job.
            ready, _, _ = select([listener, *sent], [], [], DEADLINE)
            assert ready, f"sent: {[*sent.values()]}"
            for one in ready:
                if one is listener:
                    connection, _ = listener.accept()
                    sent[stack.enter_context(connection)] = b""
                    continue
                data = _received(one)
                sent[one] += data
                if text not in sent[one] and (not data or _is_whole(sent[one])):
                    one.close()
                    del sent[one]


def _received(connection: socket.socket) -> bytes:
    """The bytes that the connection has sent; empty if it was closed."""
    try:
        return connection.recv(65536)
    except ConnectionError:
        return b""


def _is_whole(request: bytes) -> bool:
    head, end, body = request.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\ncontent-length: (\d+)", head)
    return bool(end) and len(body) >= (int(length[1]) if length else 0)


def _finished(mail: client.Queue, job: client.Job) -> client.Job:
    done = mail.wait(job.uid, timeout=DEADLINE)
    assert done.finished
    return done
