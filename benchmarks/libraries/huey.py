"""Huey: a task that is called from threads, and a consumer with threads. Taking a job removes it from Redis."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from huey import RedisHuey

from ..calls import CONTENT
from .count import Count


def _task(port: int, end: Callable[[], None]) -> tuple[Any, Any]:
    """The queue and its task."""
    huey: Any = RedisHuey("bench", host="127.0.0.1", port=port)

    def handle(content: object) -> None:
        end()

    return huey, huey.task(name="handle")(handle)


@contextmanager
def adding(port: int) -> Iterator[Callable[[int], object]]:
    """One queue for all threads, with Redis's pool of connections."""
    _, handle = _task(port, lambda: None)
    yield lambda jobs: handle(CONTENT)


def work(port: int, concurrency: int, count: Count) -> None:
    """A consumer with threads, without its scheduler's periodic tasks."""
    huey, _ = _task(port, count.to_the_end)
    huey.create_consumer(workers=concurrency, worker_type="thread", periodic=False).run()
