"""
RQ: `enqueue` from threads or `enqueue_many`, and a SimpleWorker.

Its workers have no threads. By default they fork a process for each job; a SimpleWorker does not.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from redis import Redis
from rq import Queue, SimpleWorker

from ..calls import CONTENT
from .count import Count

_ends: list[Callable[[], None]] = []


def handle(content: object) -> None:
    """The job, which is only counted."""
    _ends[0]()


@contextmanager
def adding(port: int) -> Iterator[Callable[[int], object]]:
    """One queue for all threads, with Redis's pool of connections."""
    with Redis("127.0.0.1", port) as redis:
        queue: Any = Queue("bench", connection=redis)

        def add(jobs: int) -> object:
            if jobs == 1:
                return queue.enqueue(handle, CONTENT)
            return queue.enqueue_many([queue.prepare_data(handle, (CONTENT,)) for _ in range(jobs)])

        yield add


def work(port: int, concurrency: int, count: Count) -> None:
    """A worker that logs only errors."""
    _ends.append(count.to_the_end)
    redis: Any = Redis("127.0.0.1", port)
    SimpleWorker([Queue("bench", connection=redis)], connection=redis).work(logging_level="WARNING")
