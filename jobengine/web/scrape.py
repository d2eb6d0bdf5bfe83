"""Reads the metrics of all queues, some at a time, so that other requests run in between: there may be thousands."""

from collections.abc import Awaitable, Callable
from typing import Final

from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from ..core import commands as c
from ..engine.door import Engine, Unavailable
from .metrics import Metrics, QueueMetrics

#: Seconds to wait for some queues: Prometheus gives up after 10, and an attempt to connect to a database may take as
#: long.
_PATIENCE: Final = 5


async def scrape(
    metrics: Metrics, engine: Engine, connections: int, pause: Callable[[], Awaitable[None]], clock: IReactorTime
) -> bytes:
    """
    All metrics, in the format of Prometheus; `connections` are open.

    Those of queues are left out while they can't be read in time: the others tell what is wrong. Raises Starting.
    """
    try:
        queues = await _of_queues(engine, pause, clock)
    except (Unavailable, defer.TimeoutError):
        queues = QueueMetrics()
    # After those of queues, which may have shown that the database is away.
    return metrics.text(await engine.figures(), connections) + queues.text()


async def _of_queues(engine: Engine, pause: Callable[[], Awaitable[None]], clock: IReactorTime) -> QueueMetrics:
    queues = QueueMetrics()
    command = c.CountQueues()
    while page := await Deferred.fromCoroutine(engine.ask(command)).addTimeout(_PATIENCE, clock):
        queues.add(page)
        command = c.CountQueues(after=page[-1].name)
        await pause()
    return queues
