"""
How fast is the Python client? Run from the root: `python -m benchmarks.client`.

One thread adds one job after the other, by the client and, for comparison, by code written with http.client. Then 1,000
coroutines each add one job after the other.
"""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from http.client import HTTPConnection
from pathlib import Path
from tempfile import NamedTemporaryFile
from time import perf_counter
from typing import Any
from uuid import uuid4

from jobengine import client

from .calls import CONTENT
from .machine import Effort
from .results import Results, rounds, run_alone
from .servers import Failed, JobEngine, Run, Server
from .servers.jobengine import QUEUE

_SECONDS = 4
_COROUTINES = 1_000
_IMPORTS = 5
_LINES = 100_000
_HEADERS = {"X-Access-Key": "key", "Content-Type": "application/json"}


def measure(results: Results) -> None:
    """Measure the client; adds the rows to `results`."""
    together, alone, by_hand, from_file = rounds(
        [
            (JobEngine(), _together),
            (JobEngine(), _alone),
            (JobEngine(name="http.client by hand"), _by_hand),
            (JobEngine(name="jobengine add --many"), _from_file),
        ]
    )
    if together.runs:
        rates = [run.jobs for run in together.runs]
        results.bound("Python client, asyncio, 1,000 concurrent adds", rates, "jobs/s", 15_000, least=True)
    results.compare("Python client, one thread, one add at a time", alone, by_hand, 0.8)
    if from_file.runs:
        rates = [run.jobs for run in from_file.runs]
        results.bound("jobengine add --many, 100,000 lines", rates, "jobs/s", 30_000, least=True)
    results.bound("import of jobengine.client", [_import_time() for _ in range(_IMPORTS)], "ms", 150)


def _one_by_one(add: Callable[[Mapping[str, Any]], object]) -> Run:
    jobs = 0
    with Effort.measured() as effort:
        deadline = perf_counter() + _SECONDS
        while perf_counter() < deadline:
            add(CONTENT)
            jobs += 1
    return Run(jobs / effort.seconds, effort.share)


def _alone(server: Server) -> Run:
    with client.JobEngine(f"http://127.0.0.1:{server.port}", access_key="key") as engine:
        return _one_by_one(engine.queue(QUEUE).add)


def _from_file(server: Server) -> Run:
    """Time a command that adds a file of jobs, including the command's start and its check of the file."""
    with NamedTemporaryFile("w", suffix=".jsonl") as file, Effort.measured() as effort:
        file.writelines(json.dumps({**CONTENT, "number": number}) + "\n" for number in range(_LINES))
        file.flush()
        began = perf_counter()
        subprocess.run(
            [str(Path(sys.executable).with_name("jobengine")), "add", QUEUE, "--many", file.name],
            env={"JOBENGINE_URL": f"http://127.0.0.1:{server.port}", "JOBENGINE_ACCESS_KEY": "key"},
            capture_output=True,
            check=True,
        )
        seconds = perf_counter() - began
    return Run(_LINES / seconds, effort.share)


def _by_hand(server: Server) -> Run:
    """The code of a user who wants no job twice: it sends a uid, and reads the answer."""
    connection = HTTPConnection("127.0.0.1", server.port, timeout=60)

    def add(content: Mapping[str, Any]) -> Any:
        body = {"queue_name": QUEUE, "job": {"uid": str(uuid4()), "content": content}}
        connection.request("PUT", "/api/v1/job", json.dumps(body).encode(), _HEADERS)
        response = connection.getresponse()
        if response.status != 201:
            raise Failed(f"status {response.status}")
        return json.loads(response.read())

    try:
        return _one_by_one(add)
    finally:
        connection.close()


def _together(server: Server) -> Run:
    return asyncio.run(_add_together(f"http://127.0.0.1:{server.port}"))


async def _add_together(url: str) -> Run:
    jobs = 0

    async def add(queue: client.AsyncQueue, deadline: float) -> None:
        nonlocal jobs
        while perf_counter() < deadline:
            await queue.add(CONTENT)
            jobs += 1

    async with client.AsyncJobEngine(url, access_key="key") as engine:
        queue = engine.queue(QUEUE)
        with Effort.measured() as effort:
            deadline = perf_counter() + _SECONDS
            await asyncio.gather(*[add(queue, deadline) for _ in range(_COROUTINES)])
    return Run(jobs / effort.seconds, effort.share)


def _import_time() -> float:
    """Milliseconds of the import in a new process."""
    code = "import time; began = time.perf_counter(); import jobengine.client; print(time.perf_counter() - began)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout) * 1000


if __name__ == "__main__":
    raise SystemExit(run_alone(measure))
