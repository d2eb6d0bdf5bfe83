"""
Everything together: a file of jobs, and workers in a shell and in Python; most are killed or stopped at work.

JOBENGINE_TEST_JOBS is how many jobs there are, 10,000 if it is not set.
"""

import os
import re
import signal
import subprocess
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
from attrs import frozen

from jobengine import client

from .conftest import MakeDaemon
from .daemons import DEADLINE, Daemon, free_port, until
from .shells import ADMIN_KEY, KEY, Shell

JOBS = int(os.environ.get("JOBENGINE_TEST_JOBS", "10000"))
#: Seconds without an update after which a job is given to another worker.
TIMEOUT = 5
#: Takes the time from a variable of bash, which starts no process.
IN_SHELL = """
note() { echo "$1 $JOBENGINE_UID $JOBENGINE_ATTEMPT ${EPOCHREALTIME/./} $PPID" >> journal; }
note begun
read -r content
n=${content//[!0-9]/}
echo "{\\"square\\": $((n * n))}"
note ended
"""
IN_PYTHON = """
import os
import time

from jobengine.worker import Worker

worker = Worker(["mail"], concurrency=8)


def note(what, job):
    # One write for each line: several programs write there.
    with open("journal", "ab", buffering=0) as journal:
        line = f"{what} {job.uid} {job.attempts} {time.time_ns() // 1000} {os.getpid()}\\n"
        journal.write(line.encode())


@worker.handler("mail")
def square(content, job):
    note("begun", job)
    time.sleep(0.01)
    note("ended", job)
    return {"square": content["n"] ** 2}
"""


@frozen
class Run:
    """A worker's own record of working on a job; times are microseconds of the wall clock."""

    uid: str
    attempt: int
    worker: int
    began: int
    #: None if the worker was killed before the end.
    ended: int | None


class Worker:
    """`jobengine work` as a process."""

    def __init__(self, shell: Shell, *arguments: str) -> None:
        self._log = shell.home / f"log of {arguments[-1]} {time.monotonic_ns()}"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                ["jobengine", "work", "mail", *arguments],
                cwd=shell.home,
                env=shell.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    @property
    def log(self) -> str:
        return self._log.read_text()

    def stop(self) -> None:
        """Send SIGTERM, after which the worker must exit with 0."""
        self.process.terminate()
        assert self.process.wait(DEADLINE) == 0, self.log[-4000:]

    def kill_over_a_job(self, journal: Path) -> None:
        """Send SIGKILL while the worker works on jobs."""
        until("it works on a job", partial(self._is_stopped_over_a_job, journal))
        self.process.kill()
        self.process.wait()

    def _is_stopped_over_a_job(self, journal: Path) -> bool:
        self.process.send_signal(signal.SIGSTOP)
        time.sleep(0.05)  # its threads stop one after the other
        if any(run.ended is None and run.worker == self.process.pid for run in _runs(journal)):
            return True
        self.process.send_signal(signal.SIGCONT)
        return False


def _runs(journal: Path) -> list[Run]:
    began: dict[tuple[str, int], tuple[int, int]] = {}
    ended: dict[tuple[str, int], int] = {}
    for what, uid, attempt, at, worker in re.findall(r"^(\w+) (\S+) (\d+) (\d+) (\d+)$", journal.read_text(), re.M):
        key = uid, int(attempt)
        if what == "begun":
            assert key not in began, f"two workers had attempt {attempt} at {uid}"
            began[key] = int(at), int(worker)
        else:
            assert began[key][1] == int(worker)
            ended[key] = int(at)
    return [Run(*key, worker, at, ended.get(key)) for key, (at, worker) in began.items()]


@pytest.fixture
def server(make_daemon: MakeDaemon) -> Daemon:
    return make_daemon(settings={"API_PORT": str(free_port()), "ADMIN_KEY": ADMIN_KEY}).start()


@pytest.fixture
def mail(server: Daemon) -> Iterator[client.Queue]:
    with client.JobEngine(f"http://127.0.0.1:{server.port}", access_key=KEY, admin_key=ADMIN_KEY) as engine:
        queue = engine.queue("mail")
        queue.create()
        yield queue


def test_every_job_of_a_file_is_completed_once_despite_kills_of_workers_and_server(
    server: Daemon, mail: client.Queue, tmp_path: Path
) -> None:
    shell = Shell(server, tmp_path)
    journal = tmp_path / "journal"
    (tmp_path / "jobs.jsonl").write_text("".join(f'{{"n": {n}}}\n' for n in range(JOBS)))
    (tmp_path / "in_shell").write_text(IN_SHELL)
    (tmp_path / "tasks.py").write_text(IN_PYTHON)
    shell("add", "mail", "--many", "jobs.jsonl", "--timeout", f"{TIMEOUT}s", "--max-attempts", "10")

    in_shell, in_python, to_be_killed = workers = [
        Worker(shell, "-j", "4", "--", "bash", "in_shell"),
        Worker(shell, "--app", "tasks:worker"),
        Worker(shell, "--app", "tasks:worker"),
    ]
    _until_complete(mail, 0.2)
    to_be_killed.kill_over_a_job(journal)
    _until_complete(mail, 0.3)
    _restart(server)
    _until_complete(mail, 0.5)
    in_shell.stop()
    workers.append(Worker(shell, "-j", "4", "--", "bash", "in_shell"))
    _until_complete(mail, 0.7)
    _restart(server)
    _until_complete(mail, 1)
    for worker in (in_python, workers[-1]):
        worker.stop()

    jobs = {job.uid: job for job in mail.jobs()}
    assert {job.content["n"]: job.result for job in jobs.values()} == {n: {"square": n * n} for n in range(JOBS)}
    runs = _runs(journal)
    assert {run.worker for run in runs} == {worker.process.pid for worker in workers}
    _judge(jobs, runs, to_be_killed.process.pid)


def _until_complete(mail: client.Queue, share: float) -> None:
    until(f"{share:.0%} are complete", lambda: mail.stats().counts.complete >= share * JOBS, seconds=60 + JOBS / 100)


def _restart(server: Daemon) -> None:
    server.kill()
    server.start()


def _judge(jobs: Mapping[str, client.Job], runs: Sequence[Run], killed: int) -> None:
    """Compare each job on the server with its workers' records."""
    by_uid: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        by_uid[run.uid].append(run)
    wrong = [job for uid, job in jobs.items() if not _matches_records(job, by_uid[uid])]
    assert [(job, job.raw.get("history"), by_uid[job.uid]) for job in wrong] == []

    cut = [run for run in runs if run.ended is None]
    assert {run.worker for run in cut} == {killed}
    # Jobs of claims whose answer was lost with the server time out, too.
    outcomes = Counter(attempt.outcome for job in jobs.values() for attempt in job.history)
    assert outcomes["complete"] == JOBS
    assert outcomes["timeout"] >= len(cut)
    assert sum(job.attempts for job in jobs.values()) == JOBS + outcomes["timeout"]


def _matches_records(job: client.Job, runs: Sequence[Run]) -> bool:
    """Whether the job's attempts are the recorded runs, in order, and only the last one was successful."""
    attempts = [attempt for attempt in job.history if attempt.outcome != "released"]
    noted = sorted(runs, key=lambda run: run.attempt)
    return (
        job.state == "complete"
        and job.attempts == len(attempts)
        and [attempt.outcome for attempt in attempts] == ["timeout"] * (len(attempts) - 1) + ["complete"]
        and all(one.ended <= next_.started for one, next_ in pairwise(job.history))
        and all((one.ended or one.began) <= next_.began for one, next_ in pairwise(noted))
        # An attempt without a run never started: its claim was not answered, or its worker was killed first.
        and all(_matches_run(attempts[run.attempt - 1], run) for run in noted)
        and noted[-1].attempt == len(attempts)
        and noted[-1].ended is not None
    )


def _matches_run(attempt: client.Attempt, run: Run) -> bool:
    """Whether the attempt matches the recorded run; times in a job are whole seconds."""
    last = run.ended or run.began
    return (
        str(attempt.worker).endswith(f"-{run.worker}")
        and int(attempt.started.timestamp()) <= run.began / 1e6
        and (attempt.outcome == "timeout" or last / 1e6 <= attempt.ended.timestamp() + 1)
    )
