"""Metrics of all queues, read some at a time so that others are let in between: there may be many thousands."""

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from ..core import commands as c
from ..engine.door import Engine
from .metrics import Metrics, QueueMetrics

__all__ = ["scrape"]


async def scrape(metrics: Metrics, engine: Engine, clock: IReactorTime) -> bytes:
    """All metrics, in the format of Prometheus."""
    queues = QueueMetrics()
    command = c.CountQueues()
    while page := await engine.ask(command):
        queues.add(page)
        command = c.CountQueues(after=page[-1].name)
        await deferLater(clock, 0)
    return metrics.text(await engine.figures()) + queues.text()
