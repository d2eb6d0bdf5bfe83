"""Celery: `delay` from threads, and a worker with a pool of threads. No results are kept, which is its default."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from celery import Celery

from ..calls import CONTENT
from .count import Count


def _task(port: int, end: Callable[[], None]) -> tuple[Any, Any]:
    """The application and its task."""
    app: Any = Celery("bench", broker=f"redis://127.0.0.1:{port}/0")

    def handle(content: object) -> None:
        end()

    return app, app.task(name="handle", ignore_result=True)(handle)


@contextmanager
def adding(port: int) -> Iterator[Callable[[int], object]]:
    """One application for all threads, with its pool of connections."""
    app, handle = _task(port, lambda: None)
    try:
        yield lambda jobs: handle.delay(CONTENT)
    finally:
        app.close()


def work(port: int, concurrency: int, count: Count) -> None:
    """A worker without gossip, mingle and heartbeats, which only several workers need."""
    app, _ = _task(port, count.to_the_end)
    quiet = ["--loglevel=WARNING", "--without-gossip", "--without-mingle", "--without-heartbeat"]
    app.worker_main(["worker", "--pool=threads", f"--concurrency={concurrency}", *quiet])
