"""Reads the metrics of all queues, some at a time, so that other requests run in between: there may be thousands."""

from collections.abc import Awaitable, Callable

from ..core import commands as c
from ..engine.door import Engine, Unavailable
from .metrics import Metrics, QueueMetrics

__all__ = ["scrape"]


async def scrape(metrics: Metrics, engine: Engine, connections: int, pause: Callable[[], Awaitable[None]]) -> bytes:
    """
    All metrics, in the format of Prometheus; `connections` are open.

    Those of queues are left out while they can't be read: the others tell what is wrong. Raises Starting.
    """
    figures = await engine.figures()
    try:
        queues = await _of_queues(engine, pause)
    except Unavailable:
        queues = QueueMetrics()
    return metrics.text(figures, connections) + queues.text()


async def _of_queues(engine: Engine, pause: Callable[[], Awaitable[None]]) -> QueueMetrics:
    queues = QueueMetrics()
    command = c.CountQueues()
    while page := await engine.ask(command):
        queues.add(page)
        command = c.CountQueues(after=page[-1].name)
        await pause()
    return queues
