"""procrastinate: `defer` from threads or `batch_defer`, and a worker in an event loop, as the library wants it."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from procrastinate import App, PsycopgConnector, SyncPsycopgConnector

from ..calls import CONTENT
from .count import Count

#: Connections that the adding threads share.
_CONNECTIONS = 8


def _task(connector: Any, end: Callable[[], None]) -> tuple[Any, Any]:
    """The application and its task, a coroutine."""
    app: Any = App(connector=connector)

    async def handle(content: object) -> None:
        end()

    return app, app.task(name="handle")(handle)


def _conninfo(port: int) -> str:
    return f"host=127.0.0.1 port={port} user=bench dbname=postgres"


@contextmanager
def adding(port: int) -> Iterator[Callable[[int], object]]:
    """Makes the tables; one pool of connections for all threads."""
    connector = SyncPsycopgConnector(conninfo=_conninfo(port), min_size=_CONNECTIONS, max_size=_CONNECTIONS)
    app, handle = _task(connector, lambda: None)
    with app.open():
        app.schema_manager.apply_schema()

        def add(jobs: int) -> object:
            if jobs == 1:
                return handle.defer(content=CONTENT)
            return handle.batch_defer(*[{"content": CONTENT} for _ in range(jobs)])

        yield add


def work(port: int, concurrency: int, count: Count) -> None:
    """A worker that runs up to `concurrency` jobs at a time in its event loop."""
    app, _ = _task(PsycopgConnector(conninfo=_conninfo(port), max_size=concurrency + 2), count.to_the_end)

    async def run() -> None:
        async with app.open_async():
            await app.run_worker_async(concurrency=concurrency)

    asyncio.run(run())
