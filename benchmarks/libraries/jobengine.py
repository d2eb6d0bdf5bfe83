"""JobEngine: `add` from threads or `add_many`, and a Worker. The last job counts once its outcome is on disk."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from jobengine.client import JobEngine
from jobengine.worker import Worker

from ..calls import CONTENT
from ..servers.jobengine import QUEUE
from .count import Count


@contextmanager
def adding(port: int) -> Iterator[Callable[[int], object]]:
    """One client for all threads."""
    with JobEngine(f"http://127.0.0.1:{port}", access_key="key") as engine:
        queue = engine.queue(QUEUE)

        def add(jobs: int) -> object:
            return queue.add(CONTENT) if jobs == 1 else queue.add_many(CONTENT for _ in range(jobs))

        yield add


def work(port: int, concurrency: int, count: Count) -> None:
    """A worker whose handler is a plain function, in threads; it returns when all outcomes are reported."""
    worker = Worker(QUEUE, concurrency=concurrency, url=f"http://127.0.0.1:{port}", access_key="key")

    @worker.handler()
    def handle(content: object, job: object) -> None:
        if count():
            worker.stop()

    worker.run()
