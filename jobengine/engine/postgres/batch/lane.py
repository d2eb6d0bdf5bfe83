"""
A lane gathers the tasks of a reactor turn, and carries them out as one batch on a thread of its own.

During a batch, tasks for the next batch gather. All lanes share the tasks that may overlap: while one lane waits for
the database, this server works on another lane's batch.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import Any, Final

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ...threads import Thread
from ...waiting_line import Outcome
from .decide import Result
from .plan import Task
from .session import Session

#: The largest batch, counted in tasks plus the jobs that they add, claim or change. Larger batches hardly save time per
#: job, and leave no work for the other lanes.
_MOST: Final = 1_000


@define(eq=False)
class _Queued:
    """A task that waits to be carried out."""

    task: Task
    done: "Deferred[Outcome[Any]]"
    #: The task's position in all backlogs together: tasks with lower numbers come first.
    number: int


class _Backlog(deque[_Queued]):
    """Tasks that wait for a batch."""

    def enter(self, task: Task, number: int) -> "Deferred[Outcome[Any]]":
        """Append a task. The Deferred gives its outcome; cancelling it removes the task."""
        waiting = _Queued(task, Deferred(lambda _: self._leave(waiting)), number)
        self.append(waiting)
        return waiting.done

    def _leave(self, waiting: _Queued) -> None:
        if waiting in self:
            self.remove(waiting)


@define(eq=False)
class Shared:
    """The tasks that any free lane of a server may carry out."""

    lanes: "list[Lane]" = field(factory=list)
    backlog: _Backlog = field(factory=_Backlog, init=False)
    #: The numbers of tasks; 0 is for tasks that come before all others.
    numbers: Iterator[int] = field(factory=lambda: count(1), init=False)

    def submit(self, task: Task, first: "Lane") -> "Deferred[Outcome[Any]]":
        """Carry out a task on the lane `first` if it is free, otherwise on any free lane; see Lane.submit."""
        done = self.backlog.enter(task, next(self.numbers))
        if not first.begin_soon():
            self.begin_soon()
        return done

    def begin_soon(self) -> None:
        """Let a free lane take the waiting tasks."""
        if self.backlog:
            any(lane.begin_soon() for lane in self.lanes)


@define(kw_only=True, eq=False)
class Lane:
    """Carries out tasks in order: gathers them into batches, and passes the batches to a session on another thread."""

    session: Session
    #: The tasks shared with other lanes.
    shared: Shared = field(factory=Shared)
    thread: Thread
    clock: IReactorTime
    #: Called with each result before the batch's callers are answered.
    applied: Callable[[Result], None]
    #: Called with the same result after the callers are answered.
    answered: Callable[[Result], None]
    #: Called with the outcome of a task whose caller has disconnected meanwhile.
    dropped: Callable[[Outcome[Any]], None]
    #: Whether a task must wait for the next batch, because waiters in line want the same jobs.
    waits_behind: Callable[[Task], bool]
    _backlog: _Backlog = field(factory=_Backlog, init=False)
    #: Whether a batch begins at the end of this reactor turn.
    _begins: bool = field(default=False, init=False)
    #: Whether a batch is running.
    _runs: bool = field(default=False, init=False)
    #: The tasks that the last batch did not carry out.
    _rest: list[_Queued] = field(factory=list, init=False)
    _log: Logger = field(factory=Logger, init=False)

    def submit(self, task: Task) -> "Deferred[Outcome[Any]]":
        """Carry out a task, unless the Deferred is cancelled before it begins."""
        done = self._backlog.enter(task, next(self.shared.numbers))
        self.begin_soon()
        return done

    def submit_first(self, tasks: Sequence[Task]) -> "list[Deferred[Outcome[Any]]]":
        """Carry out tasks, in their order, before those that wait."""
        first = [_Queued(task, Deferred(), 0) for task in tasks]
        self._backlog.extendleft(reversed(first))
        self.begin_soon()
        return [one.done for one in first]

    def begin_soon(self) -> bool:
        """
        Schedule a batch for the end of this reactor turn, with all tasks that arrive until then; returns False if a
        batch is running.
        """
        if not self._runs and not self._begins:
            self._begins = True
            self.clock.callLater(0, self._begin)
        return not self._runs

    def _begin(self) -> None:
        batch = self._next_batch()
        self._begins, self._runs = False, bool(batch)
        if not batch:
            return
        self.shared.begin_soon()
        tasks = [one.task for one in batch]
        done = self.thread(lambda: self.session.carry_out(tasks))
        done.addCallback(self._answer, batch).addErrback(self._fail, batch)
        done.addCallback(self._after_answers).addErrback(self._fail_after_answers)
        done.addBoth(lambda _: self._begin())

    def _next_batch(self) -> list[_Queued]:
        batch, self._rest = [one for one in self._rest if not one.done.called], []
        if batch:
            return batch
        room = _MOST
        while room > 0 and (backlog := self._next_backlog()):
            if batch and self._begins_another(backlog[0]):
                break
            task = backlog[0].task
            batch.append(backlog.popleft())
            room = room - task.weight if task.is_batched else 0
        return batch

    def _begins_another(self, waiting: _Queued) -> bool:
        """Whether a task can't share a batch with the tasks before it."""
        # Tasks with the number 0 are claims for the waiters themselves.
        is_of_waiter = waiting.number == 0
        return not waiting.task.is_batched or (not is_of_waiter and self.waits_behind(waiting.task))

    def _next_backlog(self) -> _Backlog:
        """The backlog with the next task; an empty one if no task waits."""
        mine, shared = self._backlog, self.shared.backlog
        if mine and shared:
            return mine if mine[0].number < shared[0].number else shared
        return mine or shared

    def _answer(self, result: Result, batch: list[_Queued]) -> Result:
        self.applied(result)
        self._rest = batch[len(result.outcomes) :]
        for one, outcome in zip(batch, result.outcomes, strict=False):
            if one.done.called:
                self.dropped(outcome)
            else:
                one.done.callback(outcome)
        return result

    def _fail(self, failure: Failure, batch: list[_Queued]) -> None:
        for one in batch:
            if not one.done.called:
                one.done.errback(failure)

    def _after_answers(self, result: Result | None) -> None:
        if result is not None:
            self.answered(result)

    def _fail_after_answers(self, failure: Failure) -> None:
        self._log.failure("a batch was answered, but waiters were not woken and other servers not notified", failure)
