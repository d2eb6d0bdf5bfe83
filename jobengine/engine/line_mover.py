"""Moves the jobs of queues whose order was changed to their new places, a slice at a time."""

from collections.abc import Awaitable, Callable, Collection
from typing import Final

from attrs import define, field
from msgspec.structs import replace
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..core import commands as c
from ..core.ageing import Order
from ..core.errors import QueueNotFound
from ..core.model import Queue, State
from .door import Unavailable
from .sweeps import Asks

#: Seconds until a failed move is retried.
_PAUSE: Final = 1.0


@define(eq=False)
class LineMover:
    """
    Moves jobs to the places that the present order of their queue gives them.

    The queue records that jobs may have old places (Order.changed), so a move that a stop has interrupted is repeated
    after the next start.
    """

    _engine: Asks
    _clock: IReactorTime
    #: Waits for the end of all changes that began before the present order was set.
    _ready: Callable[[], Awaitable[object]] | None = None
    #: The queues whose jobs are being moved, and whether the order of each was changed since its move began.
    _again: dict[str, bool] = field(factory=dict, init=False)
    #: The pauses before failed moves are retried, by queue.
    _pauses: "dict[str, Deferred[None]]" = field(factory=dict, init=False)
    _stopped: bool = field(default=False, init=False)
    _log: Logger = field(factory=Logger, init=False)

    def begin(self, queue: Queue) -> None:
        """
        Start moving a queue's jobs to their new places if its order was changed and some may still have their old ones;
        a move that is running is repeated.
        """
        if queue.order is None or not queue.order.changed or self._stopped:
            return
        is_running = queue.name in self._again
        self._again[queue.name] = is_running
        if not is_running:
            Deferred.fromCoroutine(self._move(queue.name)).addErrback(self._failed)

    @property
    def queues(self) -> Collection[str]:
        """The names of the queues whose jobs are being moved."""
        return self._again.keys()

    def stop(self) -> None:
        """Stop after the present slices."""
        self._stopped = True
        for pause in [*self._pauses.values()]:
            pause.cancel()

    async def _move(self, name: str) -> None:
        try:
            while not self._stopped:
                self._again[name] = False
                if await self._has_moved(name) and not self._again[name]:
                    return
        except QueueNotFound:
            pass
        finally:
            del self._again[name]

    async def _has_moved(self, name: str) -> bool:
        """Move all jobs once; returns False if that must be repeated: it failed, or the order was changed meanwhile."""
        try:
            if self._ready is not None:
                await self._ready()
            orders = [await self._walk(name, state) for state in c.MOVING_STATES]
            first = orders[0]
            return (
                self._stopped
                or first is None
                or await self._engine.ask(c.SettleOrder(queue=name, admin=True, order=first))
            )
        except Unavailable:
            pause = self._pauses[name] = deferLater(self._clock, _PAUSE)
            await pause
            return False
        finally:
            self._pauses.pop(name, None)

    async def _walk(self, name: str, state: State) -> Order | None:
        """Move the jobs of a state; returns the order by which the first slice was moved."""
        command, first = c.MoveInLine(queue=name, admin=True, state=state), None
        while not self._stopped:
            moved = await self._engine.ask(command)
            first = moved.order if command.after is None else first
            if moved.following is None:
                break
            command = replace(command, after=moved.following)
            await deferLater(self._clock, 0)
        return first

    def _failed(self, failure: Failure) -> None:
        if not self._stopped:
            self._log.failure("the jobs of a queue could not be moved to their new places", failure)
