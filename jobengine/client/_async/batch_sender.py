"""Sends the waiting calls of one queue in bulk, in a task that ends when no call waits."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from ..batching import Item, Lane
from ..errors import JobEngineError, OutcomeUnknown
from ..http_codec import Response

#: Sends a batch; returns the answer, and whether an earlier attempt may have succeeded.
Send = Callable[[Lane, Sequence[Item]], Awaitable[tuple[Response, bool]]]


class BatchSender:
    """Sends the items of a lane (see jobengine.client.batching); coroutines wait here for room and for outcomes."""

    def __init__(self, lane: Lane, send: Send) -> None:
        self._lane = lane
        self._send = send
        self._task: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        #: Coroutines that wait for room, in order.
        self._queue: deque[asyncio.Future[None]] = deque()

    async def submit(self, items: Sequence[Item]) -> None:
        """Wait for room in the lane, submit items, and return when each has its outcome."""
        loop = asyncio.get_running_loop()
        await self._wait_for_room(loop)
        for item in items:
            item.waiter = loop.create_future()
            self._lane.put(item)
        if self._task is None or self._loop is not loop:
            self._loop = loop
            self._task = loop.create_task(self._run())
        try:
            for item in items:
                if not item.settled:
                    await item.waiter
        finally:
            for item in items:
                if not item.settled:
                    self._lane.withdraw(item)

    async def _wait_for_room(self, loop: asyncio.AbstractEventLoop) -> None:
        if not self._queue and not self._lane.full():
            return
        turn = loop.create_future()
        self._queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn in self._queue:
                self._queue.remove(turn)
            else:
                self._let_in()  # the next coroutine may take the room
            raise

    def _let_in(self) -> None:
        room = self._lane.room()
        while self._queue and room > 0:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(None)
                room -= 1

    async def _run(self) -> None:
        try:
            while self._lane.first() is not None:
                await self._step()
        finally:
            self._task = None

    async def _step(self) -> None:
        batch = self._lane.take()
        self._let_in()
        try:
            response, repeated = await self._send(self._lane, batch)
        except JobEngineError as error:
            self._lane.lost(batch, error)
        except BaseException:
            # The loop is shutting down.
            self._lane.lost(batch, OutcomeUnknown("The client was stopped before the answer came."))
            raise
        else:
            self._lane.answered(batch, response, repeated=repeated)
        finally:
            self._wake(batch)

    def _wake(self, batch: Sequence[Item]) -> None:
        for item in batch:
            if item.settled and not item.waiter.done():
                item.waiter.set_result(None)
        self._let_in()
