"""
How much memory and disk does a job take, and how much does it lengthen a start? Run from the root: `python -m
benchmarks.capacity`.

A daemon is given 200,000 jobs of each length, with uids that the client has chosen, and restarted; then the jobs are
completed, and it is restarted again.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from uuid import uuid4

from .calls import Conversation, complete_many, converse, request, uids_in
from .machine import used
from .results import Results, Row, run_alone
from .servers import JobEngine
from .servers.jobengine import QUEUE

JOBS = 200_000
#: Bytes of a content, as JSON.
LENGTHS = (100, 1024)
#: What each kind of job is called in the table of all figures.
QUEUED, COMPLETE = "a job", "a complete job"


def measure(results: Results) -> None:
    """Measure queued and complete jobs of each length; adds a row for each to `results`."""
    rows: dict[str, list[Row]] = {QUEUED: [], COMPLETE: []}
    for length in LENGTHS:
        with _server() as server:
            bare = server.memory, server.metric("jobengine_live_bytes"), _start(server)
            for kind, talk in (
                (QUEUED, _additions(length)),
                (COMPLETE, _completions()),
            ):
                converse(server.port, [talk])
                rows[kind].append(Row(f"{kind} of {length} bytes", _figures(server, *bare)))
    results.rows += rows[QUEUED] + rows[COMPLETE]


def content(length: int) -> dict[str, str]:
    """A content of this many bytes of JSON."""
    return {"text": "x" * (length - len('{"text":""}'))}


def _additions(length: int, size: int = 1_000) -> Conversation:
    """Requests that add all jobs, each with a uid, as the Python client does."""
    for _ in range(JOBS // size):
        jobs = [{"uid": str(uuid4()), "content": content(length)} for _ in range(size)]
        yield request("PUT", f"/api/v1/jobs?queueName={QUEUE}", {"queue_name": QUEUE, "jobs": jobs})


def _completions() -> Conversation:
    """Requests that claim and complete all jobs, as a worker that gives its name does."""
    claim = request("POST", "/api/v1/job/next", {"queue_names": [QUEUE], "count": 1_000, "worker": "host-4711"})
    for _ in range(JOBS // 1_000):
        yield complete_many(QUEUE, uids_in((yield claim)))


def _figures(server: JobEngine, memory: int, disk: float, start: float) -> str:
    """What each job adds to the memory and the disk space of a server, and to the processor time of its start."""
    before = (server.memory - memory) / JOBS
    start = (_start(server) - start) / JOBS * 1e6
    again = (server.memory - memory) / JOBS
    disk = (server.metric("jobengine_live_bytes") - disk) / JOBS
    return f"{before:.0f} bytes of memory, {again:.0f} once read back; {disk:.0f} on disk; read in {start:.0f} µs"


def _start(server: JobEngine) -> float:
    """Restart the server three times; returns the median seconds of processor time until it is ready."""
    return median(_one_start(server) for _ in range(3))


def _one_start(server: JobEngine) -> float:
    server.again(signal.SIGTERM)
    return used(server.pid)


@contextmanager
def _server() -> Iterator[JobEngine]:
    server = JobEngine()
    with server.running():
        yield server


if __name__ == "__main__":
    raise SystemExit(run_alone(measure))
