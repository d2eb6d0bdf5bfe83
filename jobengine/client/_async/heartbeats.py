"""Extends leases in a separate task, which runs while there are leases to extend."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, Protocol, TypeVar

from ..leases import Beats


class _Held(Protocol):
    @property
    def beat_seconds(self) -> float | None:
        """The seconds between two heartbeats; None if the lease does not expire."""


H = TypeVar("H", bound=_Held)


class Heartbeats(Generic[H]):
    """Extends the leases of all jobs of a client."""

    def __init__(self, extend: Callable[[Sequence[H]], Awaitable[None]]) -> None:
        self._extend = extend
        self._beats: Beats[H] = Beats()
        self._task: asyncio.Task[None] | None = None
        self._sleeps_until = 0.0
        self._alarm = asyncio.Event()

    def add(self, job: H) -> None:
        """Extend the job's lease regularly until it is removed."""
        loop = asyncio.get_running_loop()
        if job.beat_seconds is None:
            return
        self._beats.add(job, loop.time(), job.beat_seconds)
        if self._task is None or self._task.done():
            self._alarm = asyncio.Event()
            self._task = loop.create_task(self._run(loop))
        elif (self._beats.next_at() or 0) < self._sleeps_until:
            self._alarm.set()

    def remove(self, job: H) -> None:
        """Stop extending the job's lease."""
        self._beats.remove(job)

    async def close(self) -> None:
        """Stop extending all leases."""
        task, self._task = self._task, None
        if task is not None and not task.done():
            task.cancel()
            await asyncio.wait([task])

    async def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        while (at := self._beats.next_at()) is not None:
            self._sleeps_until = at
            self._alarm.clear()
            try:
                await asyncio.wait_for(self._alarm.wait(), max(at - loop.time(), 0))
            except TimeoutError:
                await self._extend(self._beats.due(loop.time()))
