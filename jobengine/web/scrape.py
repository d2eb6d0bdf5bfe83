"""Reads the metrics of all queues, some at a time, so that other requests run in between: there may be thousands."""

from collections.abc import Awaitable, Callable

from ..core import commands as c
from ..engine.door import Engine
from .metrics import Metrics, QueueMetrics

__all__ = ["scrape"]


async def scrape(metrics: Metrics, engine: Engine, connections: int, pause: Callable[[], Awaitable[None]]) -> bytes:
    """All metrics, in the format of Prometheus; `connections` are open."""
    queues = QueueMetrics()
    command = c.CountQueues()
    while page := await engine.ask(command):
        queues.add(page)
        command = c.CountQueues(after=page[-1].name)
        await pause()
    return metrics.text(await engine.figures(), connections) + queues.text()
