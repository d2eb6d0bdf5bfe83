"""The Python worker with a real daemon: the outcomes of jobs when workers and servers end, and how workers end."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from jobengine import client
from tests.processes import is_alive

from .conftest import MakeDaemon
from .daemons import DEADLINE, ROOT, Daemon, free_port, until

KINDS: list[dict[str, Any]] = [{}, {"coroutine": True}, {"processes": True}]


class Program:
    def __init__(self, port: int, home: Path, prefix: Sequence[str], **options: Any) -> None:
        self.journal = home / "journal"
        self.errors = home / f"worker-{time.monotonic_ns()}"
        given = {"url": f"http://127.0.0.1:{port}", "journal": str(self.journal), **options}
        with self.errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [*prefix, sys.executable, "-m", "tests.integration.worker_program", json.dumps(given)],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=errors,
            )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"ready\n", self.errors.read_text()

    def lines(self, what: str) -> list[tuple[int, int]]:
        """The numbers of the jobs with this entry in the journal, and the processes that wrote it."""
        text = self.journal.read_text() if self.journal.exists() else ""
        return [(int(n), int(pid)) for n, pid in re.findall(rf"^{what} (\d+) (\d+)$", text, re.MULTILINE)]

    def stop(self) -> float:
        """Send SIGTERM; returns the seconds until the worker has exited, which must be with 0."""
        began = time.monotonic()
        self.process.terminate()
        assert self.process.wait(DEADLINE) == 0, self.errors.read_text()
        return time.monotonic() - began

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


Start = Callable[..., Program]


@pytest.fixture
def program(daemon: Daemon, tmp_path: Path) -> Iterator[Start]:
    made: list[Program] = []

    def start(prefix: Sequence[str] = (), **options: Any) -> Program:
        made.append(Program(daemon.port, tmp_path, prefix, **options))
        return made[-1]

    yield start
    for one in made:
        one.kill()
        assert one.process.stdout is not None
        one.process.stdout.close()


@pytest.fixture
def daemon(make_daemon: MakeDaemon) -> Daemon:
    """A daemon that has the same port at each start."""
    return make_daemon(settings={"API_PORT": str(free_port())}).start()


def _sleeps(pid: int) -> bool:
    """Whether a process uses no processor time for a moment."""
    before = _switches(pid)
    time.sleep(0.3)
    return _switches(pid) == before


def _switches(pid: int) -> list[str]:
    return re.findall(r"^voluntary_ctxt_switches:\s+(\d+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)


def _await_begun(worker: Program, number: int = 1) -> list[tuple[int, int]]:
    return until(f"{number} jobs have begun", lambda: len(lines := worker.lines("begun")) >= number and lines)


def _have_ended(worker: Program, number: int) -> bool:
    return len(worker.lines("ended")) >= number


def _finished(queue: client.Queue, uid: str, seconds: float = DEADLINE) -> client.Job:
    job = queue.wait(uid, timeout=seconds)
    assert job.finished
    return job


def test_killing_and_restarting_the_server_causes_no_wrong_result_and_no_repeated_job(
    daemon: Daemon, queue: client.Queue, program: Start
) -> None:
    # A job whose lease ends while the server is down is rightly started again; a busy machine took 12 s for a start.
    queue.add_many([{"n": n, "seconds": 0.02} for n in range(400)], timeout_seconds=40, max_attempts=5)
    workers = [program(concurrency=4, **kind) for kind in KINDS]
    for share in (100, 250):
        until(f"{share} are done", partial(_have_ended, workers[0], share))
        daemon.kill()
        daemon.start()
    until("all are complete", lambda: queue.stats().counts.complete == 400, seconds=100)
    results = {job.content["n"]: job.result for job in queue.jobs()}
    assert results == {n: 2 * n for n in range(400)}
    assert Counter(n for n, _ in workers[0].lines("begun")) == Counter(range(400))
    for worker in workers:
        worker.stop()


def test_the_job_of_a_killed_worker_is_queued_again_after_its_lease(queue: client.Queue, program: Start) -> None:
    # Its second attempt may lose its short lease as well, if the machine is busy.
    job = queue.add({"n": 1, "seconds": 3}, timeout_seconds=1, max_attempts=20)
    first = program()
    _await_begun(first)
    first.kill()
    program()
    done = _finished(queue, job.uid)
    assert (done.state, done.result) == ("complete", 2)
    *before, last = [attempt.outcome for attempt in done.history]
    assert set(before) == {"timeout"}
    assert last == "complete"


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_leases_are_extended_while_a_job_runs_longer_than_its_timeout(
    queue: client.Queue, program: Start, kind: dict[str, Any]
) -> None:
    job = queue.add({"n": 1, "seconds": 5}, timeout_seconds=4)
    program(**kind)
    done = _finished(queue, job.uid)
    assert (done.state, done.attempts) == ("complete", 1)


def test_a_stopped_idle_worker_ends_at_once_and_claims_no_later_job(queue: client.Queue, program: Start) -> None:
    queue.add({"n": 0})
    worker = program()
    until("it has worked", lambda: worker.lines("ended"))
    until("it waits for a job", lambda: _sleeps(worker.process.pid))
    assert worker.stop() < 25, "it has waited for the end of its poll"
    job = queue.add({"n": 1})
    assert [claimed.uid for claimed in queue.claim()] == [job.uid]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_job_still_running_after_the_grace_is_released_without_using_an_attempt(
    queue: client.Queue, program: Start, kind: dict[str, Any]
) -> None:
    job = queue.add({"n": 1, "seconds": 60})
    worker = program(grace=0.2, **kind)
    _await_begun(worker)
    worker.stop()
    left = queue.get(job.uid)
    assert (left.state, left.attempts) == ("queued", 0)
    assert [attempt.outcome for attempt in left.history] == ["released"]
    assert worker.lines("ended") == []


def test_a_second_signal_stops_a_worker_at_once_and_its_job_is_released(queue: client.Queue, program: Start) -> None:
    job = queue.add({"n": 1, "seconds": 60})
    worker = program()
    _await_begun(worker)
    worker.process.send_signal(signal.SIGINT)
    assert worker.stop() < 25, "it has waited for the end of the grace"
    assert queue.get(job.uid).state == "queued"


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_the_handler_of_a_cancelled_job_is_stopped(queue: client.Queue, program: Start, kind: dict[str, Any]) -> None:
    # A process is killed even if its handler neither reports progress nor checks `cancelled`.
    quiet = bool(kind.get("processes"))
    job = queue.add({"n": 1, "seconds": 60, "quiet": quiet}, timeout_seconds=4, max_attempts=3)
    worker = program(**kind)
    ((_, pid),) = _await_begun(worker)
    queue.cancel(job.uid)
    done = _finished(queue, job.uid)
    assert (done.state, done.error, done.attempts) == ("failed", "cancelled", 1)
    if quiet:
        until("its process is gone", lambda: not is_alive(pid))
    else:
        assert worker.lines("cancelled") == [(1, pid)]


def test_a_process_that_dies_during_a_job_fails_only_that_job(queue: client.Queue, program: Start) -> None:
    dead, alive = queue.add({"n": 1, "dies": True}), queue.add({"n": 2, "seconds": 0.3})
    program(processes=True, concurrency=2)
    assert _finished(queue, dead.uid).error == "The process of the job ended before the job did."
    assert _finished(queue, alive.uid).result == 4


def test_an_idle_process_that_was_killed_is_replaced_before_it_gets_a_job(queue: client.Queue, program: Start) -> None:
    worker = program(processes=True)
    assert _finished(queue, queue.add({"n": 1}).uid).result == 2
    ((_, pid),) = _await_begun(worker)
    os.kill(pid, signal.SIGKILL)
    until("it is gone", lambda: not is_alive(pid))
    assert _finished(queue, queue.add({"n": 2}).uid).result == 4
    ((_, other),) = [line for line in worker.lines("begun") if line[0] == 2]
    assert other != pid


def test_a_worker_that_can_no_longer_fork_processes_ends_with_an_error(queue: client.Queue, program: Start) -> None:
    worker = program(processes=True)
    (nursery,) = until("it has forked", lambda: _children(worker.process.pid))
    os.kill(nursery, signal.SIGKILL)
    job = queue.add({"n": 1}, timeout_seconds=1, max_attempts=2)
    assert worker.process.wait(DEADLINE) == 1
    until("the job is back", lambda: queue.get(job.uid).state == "queued")


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_no_process_is_left_when_a_worker_with_processes_is_killed(queue: client.Queue, program: Start) -> None:
    queue.add_many([{"n": n, "seconds": 60, "quiet": True} for n in (1, 2)])
    worker = program(processes=True, concurrency=2)
    pids = {pid for _, pid in _await_begun(worker, 2)}
    assert len(pids) == 2
    worker.kill()
    until("they are gone", lambda: not any(is_alive(pid) for pid in pids))


def test_an_idle_worker_is_woken_only_by_the_answers_to_its_claims(
    daemon: Daemon, queue: client.Queue, program: Start, tmp_path: Path
) -> None:
    calls = tmp_path / "calls"
    seconds = 1.0
    job = queue.add({"n": 1})  # so that the handler's thread has started
    worker = program(["strace", "-f", "-o", str(calls)], wait=seconds)
    until("it has worked", lambda: worker.lines("ended"))
    # Its log line comes after the answer to its report.
    until("it is idle", lambda: f'write(2, "q {job.uid[:8]}' in calls.read_text())
    with daemon.client() as asking:
        begun = _claims(asking.call("GET", "/metrics").body.decode())
        skip = len(calls.read_text().splitlines())
        until("it has claimed 5 times", lambda: _claims(asking.call("GET", "/metrics").body.decode()) >= begun + 5)
        made = calls.read_text().splitlines()[skip:]
    sent = [line for line in made if re.search(r"\b(sendto|send|write)\(", line)]
    waits = [line for line in made if re.search(r"epoll_wait.*= \d+$|futex.*= ", line)]
    # Each claim sends a request and reads an answer: only the answer wakes the worker. The trace window may cut off
    # one claim.
    assert len(sent) >= 3
    assert [line for line in sent if "/api/v1/job/next" not in line] == []
    assert len(waits) <= 3 * (len(sent) + 1), "\n".join(waits)


def _claims(metrics: str) -> float:
    found = re.findall(r'^jobengine_requests_total\{.*route="/api/v1/job/next".*\} (\S+)$', metrics, re.MULTILINE)
    return sum(map(float, found))
