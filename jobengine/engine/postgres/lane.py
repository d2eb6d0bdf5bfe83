"""
A lane gathers the tasks of a turn of the reactor, and carries them out as one batch on a thread of its own.

While a batch is under way, the next one gathers.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from ...core import commands as c
from ..outcome import Outcome
from ..threads import Thread
from .asked import BATCHED, Task
from .batch import Result
from .session import Session

__all__ = ["Lane"]

#: How much a batch may hold, counted in tasks and in jobs that they add, claim or change.
_MOST: Final = 2_000


@define(eq=False)
class _Waiting:
    """A task that waits to be carried out."""

    task: Task
    done: "Deferred[Outcome[Any]]"


@define(kw_only=True, eq=False)
class Lane:
    """Tasks in order, and the session that carries them out."""

    session: Session
    thread: Thread
    clock: IReactorTime
    #: Called with each result before the batch's callers are answered.
    applied: Callable[[Result], None]
    #: Called with the same result after they are answered.
    told: Callable[[Result], None]
    #: Called with the outcome of a task whose caller left while it was carried out.
    dropped: Callable[[Outcome[Any]], None]
    #: Whether a claim must begin a new batch, because waiters wait for the same jobs.
    waits_behind: Callable[[Task], bool]
    _waiting: deque[_Waiting] = field(factory=deque, init=False)
    _running: bool = field(default=False, init=False)

    def ask(self, task: Task) -> "Deferred[Outcome[Any]]":
        """Carry out a task, unless the Deferred is cancelled before it begins."""
        waiting = _Waiting(task, Deferred(lambda _: self._leave(waiting)))
        self._waiting.append(waiting)
        self._begin_soon()
        return waiting.done

    def ask_first(self, tasks: Sequence[Task]) -> "list[Deferred[Outcome[Any]]]":
        """Carry out tasks, in their order, before those that wait."""
        first = [_Waiting(task, Deferred()) for task in tasks]
        self._waiting.extendleft(reversed(first))
        self._begin_soon()
        return [one.done for one in first]

    def __len__(self) -> int:
        """How many tasks wait."""
        return len(self._waiting)

    def _leave(self, waiting: _Waiting) -> None:
        if waiting in self._waiting:
            self._waiting.remove(waiting)

    def _begin_soon(self) -> None:
        """Begin at the end of this turn of the reactor, with all tasks that it brings."""
        if not self._running:
            self._running = True
            self.clock.callLater(0, self._begin)

    def _begin(self) -> None:
        batch = self._next_batch()
        if not batch:
            self._running = False
            return
        tasks = [one.task for one in batch]
        done = self.thread(lambda: self.session.carry_out(tasks))
        done.addCallback(self._answer, batch).addErrback(self._fail, batch)
        done.addBoth(lambda _: self._begin())

    def _next_batch(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        room = _MOST
        while self._waiting and room > 0:
            task = self._waiting[0].task
            if batch and (not isinstance(task, BATCHED) or self.waits_behind(task)):
                break
            batch.append(self._waiting.popleft())
            room = room - _weight(task) if isinstance(task, BATCHED) else 0
        return batch

    def _answer(self, result: Result, batch: list[_Waiting]) -> None:
        self.applied(result)
        for one, outcome in zip(batch, result.outcomes, strict=True):
            if one.done.called:
                self.dropped(outcome)
            else:
                one.done.callback(outcome)
        self.told(result)

    def _fail(self, failure: Failure, batch: list[_Waiting]) -> None:
        for one in batch:
            if not one.done.called:
                one.done.errback(failure)


def _weight(task: Task) -> int:
    match task:
        case c.AddJobs():
            return len(task.jobs)
        case c.UpdateJobs():
            return len(task.updates)
        case c.Claim() | c.Claims():
            return 1 + task.count
    return 1
