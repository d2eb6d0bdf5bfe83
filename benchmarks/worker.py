"""
How fast is the Python worker? Run from the root: `python -m benchmarks.worker`.

The handler does nothing, and all jobs are added before the worker starts. A worker that runs one job at a time is
compared with a client that claims and completes by two requests; then a worker runs jobs in threads. Last, the requests
of a worker without jobs are counted for a minute.
"""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from jobengine.client import JobEngine as Client
from jobengine.client import Queue
from jobengine.worker import Worker

from .calls import CONTENT
from .machine import Effort
from .results import Results, rounds, run_alone, say
from .servers import Failed, JobEngine, Run, Server
from .servers.jobengine import QUEUE

_ALONE = 2_000
_MANY = 20_000
#: Seconds for which a worker without jobs is measured, and seconds for its start.
_IDLE, _BEGINNING = 60.0, 2.0


def measure(results: Results) -> None:
    """Measure the worker; adds the rows to `results`."""
    alone, by_two, *many = rounds(
        [
            (JobEngine(), lambda server: _off(server, _ALONE, _worker(1))),
            (JobEngine(name="claim and complete by two requests"), lambda server: _off(server, _ALONE, _by_two)),
            (JobEngine(name="8 threads"), lambda server: _off(server, _MANY, _worker(8))),
            (JobEngine(name="32 threads"), lambda server: _off(server, _MANY, _worker(32))),
        ]
    )
    results.compare("Python worker, concurrency 1, jobs that do nothing", alone, by_two, 1.6)
    for outcome in many:
        results.compare(f"Python worker, {outcome.name}, jobs that do nothing", outcome, by_two)
    results.bound("Python worker, idle for a minute", [idle_requests(_IDLE)], "requests", 2)


def idle_requests(seconds: float) -> float:
    """How many requests a worker without jobs makes in this many seconds: its long polls."""
    server = JobEngine()
    with server.running(), ThreadPoolExecutor(1) as pool:
        worker = _idle_worker(server)
        end = pool.submit(worker.run)
        try:
            time.sleep(_BEGINNING)
            before = server.requests()
            time.sleep(seconds)
            # The request that read the metric before is not the worker's.
            ended = server.requests() - before - 1
        finally:
            worker.stop()
        end.result()
    say(f"{ended:.0f} requests in {seconds:.0f} s")
    return ended


def _idle_worker(server: Server) -> Worker:
    worker = Worker(QUEUE, url=f"http://127.0.0.1:{server.port}", access_key="key")
    worker.handler()(lambda content, job: None)
    return worker


def _off(server: Server, jobs: int, work: Callable[[Server, Queue], int]) -> Run:
    """Add jobs, and measure how long the worker takes to finish them."""
    with Client(f"http://127.0.0.1:{server.port}", access_key="key") as engine:
        queue = engine.queue(QUEUE)
        queue.add_many((CONTENT for _ in range(jobs)), keep_minutes=0)
        with Effort.measured() as effort:
            done = work(server, queue)
    if done != jobs:
        raise Failed(f"{done} of {jobs} jobs were done")
    return Run(jobs / effort.seconds, effort.share)


def _worker(concurrency: int) -> Callable[[Server, Queue], int]:
    def work(server: Server, queue: Queue) -> int:
        worker = Worker(queue.name, concurrency=concurrency, url=f"http://127.0.0.1:{server.port}", access_key="key")
        worker.handler()(lambda content, job: None)
        return worker.run_until_empty()

    return work


def _by_two(server: Server, queue: Queue) -> int:
    done = 0
    while claimed := queue.claim():
        claimed[0].complete()
        done += 1
    return done


if __name__ == "__main__":
    raise SystemExit(run_alone(measure))
