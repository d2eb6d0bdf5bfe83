"""
What do 1,000 waiting workers cost? Run from the root: `python -m benchmarks.idle_polls`.

A live daemon has 1,000 long polls and no other work. strace counts the system calls of its threads in 10 s: each
wake-up makes at least one.
"""

import re
import shutil
import subprocess
import time
from pathlib import Path

from .calls import Connection, request
from .results import TIMES, Results, Row, run_alone, say
from .servers import Failed, JobEngine
from .servers.jobengine import QUEUE

_POLLS, _SECONDS = 1_000, 10.0
_POLL = request("POST", "/api/v1/job/next", {"queue_names": [QUEUE], "wait": 60})
_WHAT = "1,000 idle long polls, wake-ups in 10 s"


def measure(results: Results) -> None:
    """Measure the system calls of a daemon with waiting workers; adds the row to `results`."""
    if shutil.which("strace") is None:
        results.rows.append(Row(_WHAT, "strace is not installed: `apt-get install strace`", target="≤ 0"))
        return
    results.bound(_WHAT, [_wake_ups() for _ in range(TIMES)], "", 0)


def _wake_ups() -> int:
    # The default limit is 1,000 connections, and one more is needed to make the queue.
    server = JobEngine(settings={"MAX_CONNECTIONS": str(_POLLS + 100)})
    with server.running():
        connections = [Connection(server.port) for _ in range(_POLLS)]
        for connection in connections:
            connection.send(_POLL)
        time.sleep(1)
        calls = _calls(server)
        for connection in connections:
            connection.close()
    say(f"{calls} system calls in {_SECONDS:.0f} s")
    return calls


def _calls(server: JobEngine) -> int:
    """The number of system calls of the daemon's threads, except those that only wait."""
    path = server.home / "calls"
    command = ["strace", "-f", "-ttt", "-p", str(server.pid), "-o", str(path)]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert tracer.stderr is not None
        if "attached" not in (line := tracer.stderr.readline()):
            raise Failed(line)
        time.sleep(1)  # when strace attaches it interrupts the calls that wait, and they are made again
        began = time.time()
        time.sleep(_SECONDS)
    finally:
        tracer.terminate()
        tracer.communicate()
    return _later_than(began, path)


def _later_than(began: float, path: Path) -> int:
    calls = [re.split(r" +", line, maxsplit=2) for line in path.read_text().splitlines()]
    return sum(float(at) > began and "<detached" not in call for _, at, call in calls)


if __name__ == "__main__":
    raise SystemExit(run_alone(measure))
