"""
How soon does a waiting worker get a job? Run from the root: `python -m benchmarks.long_polls [rate] [seconds] [each]`.

Workers wait for jobs of a live daemon by long polls, each on its own connection. Jobs are added at a steady rate, one
in a request, on other connections; a worker that gets a job waits again. Jobs are completed 50 at a time, or with
`each` one by one by their workers, which makes three requests a job. It prints the time from sending an add to the
arrival of the job at a worker, with adding, claim and commits.
"""

import json
import selectors
import sys
import tempfile
from collections import deque
from pathlib import Path
from time import perf_counter, sleep
from typing import Any

from attrs import define, field

from tests.integration.daemons import Daemon

from .calls import Connection, request

WORKERS = 100
ADDERS = 32
RATE, SECONDS = 1_000, 10
#: Jobs that are completed with one request.
BULK = 50
#: Seconds at the beginning in which jobs are not counted.
WARM_UP = 1.0
TARGETS = {50: 0.004, 99: 0.015}


POLL = request("POST", "/api/v1/job/next", {"queue_names": ["q"], "wait": 60})


@define
class Bench:
    """One thread that acts as all clients."""

    daemon: Daemon
    rate: int
    seconds: float
    #: Whether each worker completes its jobs itself.
    each: bool
    #: When the add of each job was sent, and the seconds until a worker had the job, by job number.
    sent: list[float] = field(factory=list)
    took: list[float] = field(factory=list)
    _workers: set[Connection] = field(factory=set)
    #: Idle connections for adding jobs, the longest idle first.
    _free: deque[Connection] = field(factory=deque)
    #: Jobs to complete.
    _done: list[dict[str, str]] = field(factory=list)
    _selector: Any = field(factory=selectors.DefaultSelector)
    #: The largest number of jobs that were due and not sent yet, because no connection was free.
    late: int = 0

    def run(self) -> None:
        """Add all jobs, and wait until all are done."""
        for number in range(WORKERS + ADDERS):
            connection = Connection(self.daemon.port)
            self._selector.register(connection, selectors.EVENT_READ)
            if number < WORKERS:
                self._workers.add(connection)
                connection.send(POLL)
            else:
                self._free.append(connection)
        sleep(0.5)
        began, jobs = perf_counter(), int(self.rate * self.seconds)
        while len(self.took) < jobs:
            due = min(jobs, int((perf_counter() - began) * self.rate))
            while len(self.sent) < due and self._free:
                self._add()
            if len(self._done) >= BULK and self._free:
                body = {"queue_name": "q", "updates": self._done}
                self._free.popleft().send(request("POST", "/api/v1/jobs", body))
                self._done = []
            self.late = max(self.late, due - len(self.sent))
            for key, _ in self._selector.select(0.5 / self.rate):
                self._read(key.fileobj)
        self.took = self.took[int(self.rate * WARM_UP) :]

    def _add(self) -> None:
        body = {"queue_name": "q", "job": {"keep_minutes": 0, "content": {"n": len(self.sent)}}}
        self.sent.append(perf_counter())
        self._free.popleft().send(request("PUT", "/api/v1/job", body))

    def _read(self, connection: Connection) -> None:
        answer = connection.receive()
        if answer is None:
            return
        if connection not in self._workers:
            self._free.append(connection)
        elif answer.startswith(b'{"jobs"'):
            (job,) = json.loads(answer)["jobs"]
            self.took.append(perf_counter() - self.sent[job["content"]["n"]])
            done = {"uid": job["uid"], "lease": job["lease"], "new_status": "complete"}
            if self.each:
                connection.send(request("POST", "/api/v1/job", {"queue_name": "q", **done}))
            else:
                self._done.append(done)
                connection.send(POLL)
        else:
            connection.send(POLL)


def main() -> int:
    """Run the benchmark; returns 1 if workers get jobs too late, otherwise 0."""
    rate = int(sys.argv[1]) if len(sys.argv) > 1 else RATE
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else SECONDS
    with tempfile.TemporaryDirectory() as directory:
        daemon = Daemon(Path(directory) / "home").start()
        try:
            with daemon.client() as client:
                client.make_queue()
            bench = Bench(daemon, rate, seconds, "each" in sys.argv)
            bench.run()
        finally:
            daemon.kill()
    took = sorted(bench.took)
    good = True
    sys.stdout.write(f"{WORKERS} workers, {rate} jobs a second for {seconds:.0f} s; at most {bench.late} jobs late\n")
    for per_cent, target in TARGETS.items():
        value = took[len(took) * per_cent // 100]
        good = good and value <= target
        sys.stdout.write(f"p{per_cent}: {value * 1000:5.1f} ms (target {target * 1000:.0f} ms)\n")
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
