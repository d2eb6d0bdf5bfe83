"""
A program with a worker, as users write them: python -m tests.integration.worker_program OPTIONS, options as JSON.

It writes to the file that `journal` names: "ready" before it works, and a line when a job begins and ends.
"""

import asyncio
import json
import logging
import os
import sys
import time
from typing import Any

from jobengine.worker import Cancelled, RunningJob, Worker

options: dict[str, Any] = json.loads(sys.argv[1])
journal = options.pop("journal")
coroutine = options.pop("coroutine", False)
logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
worker = Worker(["q"], access_key="key", **options)


def note(what: str, job: RunningJob) -> None:
    # One write for each line, since several programs write to the file.
    with open(journal, "ab", buffering=0) as lines:
        lines.write(f"{what} {job.content['n']} {os.getpid()}\n".encode())


def work(content: Any, job: RunningJob) -> Any:
    note("begun", job)
    if content.get("dies"):
        os._exit(3)
    try:
        if content.get("quiet"):
            time.sleep(content["seconds"])
        else:
            _sleep(content.get("seconds", 0), job)
    except Cancelled:
        note("cancelled", job)
        raise
    note("ended", job)
    return content["n"] * 2


def _sleep(seconds: float, job: RunningJob) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        job.progress(50)
        time.sleep(min(left, 0.02))


async def work_in_loop(content: Any, job: RunningJob) -> Any:
    note("begun", job)
    try:
        await asyncio.sleep(content.get("seconds", 0))
    except asyncio.CancelledError:
        note("cancelled", job)
        raise
    note("ended", job)
    return content["n"] * 2


if __name__ == "__main__":
    worker.handler("q")(work_in_loop if coroutine else work)
    print("ready", flush=True)  # noqa: T201  # a test waits for this line
    worker.run()
