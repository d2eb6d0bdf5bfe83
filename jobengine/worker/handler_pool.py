"""Runs handlers: plain functions in threads or processes, coroutines in the loop."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any, Final, NamedTuple

from .actions import Hold
from .outcomes import Attempt, Hooks, Outcome, failure
from .processes import Nursery, Processes
from .running_job import RunningJob
from .threads import Threads

#: Jobs whose handlers have ended, each with its outcome.
Ends = list[tuple[Hold, Outcome]]
_CANCELLED: Final = failure("cancelled", retry=False)


class Handler(NamedTuple):
    """The function that works on the jobs of a queue."""

    function: Callable[[Any, RunningJob], Any]
    is_coroutine: bool


class Handlers(NamedTuple):
    """The handlers by queue, and the hooks around them."""

    by_queue: Mapping[str, Handler]
    hooks: Hooks

    def perform(self, job: RunningJob) -> Outcome:
        """Run the handler of a job in the calling thread or process, and return the outcome."""
        function = self.by_queue[job.queue].function
        attempt = Attempt(job, self.hooks, function)
        try:
            attempt.begins()
            return attempt.returned(function(job.content, job))
        except BaseException as error:
            return attempt.failed(error)

    async def perform_in_loop(self, job: RunningJob) -> Outcome:
        """Like `perform`, for a handler that is a coroutine."""
        function = self.by_queue[job.queue].function
        attempt = Attempt(job, self.hooks, function)
        try:
            attempt.begins()
            return attempt.returned(await function(job.content, job))
        except BaseException as error:
            return attempt.failed(error)


class HandlerPool:
    """
    Runs handlers. The callbacks run in the loop: `done` gets holds and their outcomes, `report_progress` a hold with
    new progress, and `broken` an error after which no more handlers can run.
    """

    def __init__(
        self,
        handlers: Handlers,
        nursery: Nursery | None,
        done: Callable[[Ends], object],
        report_progress: Callable[[Hold], object],
        broken: Callable[[BaseException], object],
    ) -> None:
        self._handlers = handlers
        self._done = done
        self._report_progress = report_progress
        self._broken = broken
        self._loop = asyncio.get_running_loop()
        self._threads: Threads[Hold] = Threads(self._loop, self._ended)
        self._processes = None if nursery is None else Processes(nursery)
        self._tasks: dict[Hold, asyncio.Task[Outcome]] = {}

    def start(self, hold: Hold) -> None:
        """Run the handler for a job."""
        queue = hold.claimed.queue.name
        hold.running = job = RunningJob(queue, hold.claimed.job, partial(self._say, hold))
        if self._handlers.by_queue[queue].is_coroutine:
            self._start_task(hold, self._handlers.perform_in_loop(job))
        elif self._processes is not None:
            self._start_task(hold, self._processes.perform(job))
        else:
            self._threads.start(hold, partial(self._handlers.perform, job))

    def interrupt(self, hold: Hold) -> None:
        """Stop a handler: cancel a coroutine, kill a process; a thread can check `RunningJob.cancelled`."""
        if hold.running is not None:  # otherwise it has just ended
            hold.running.cancelled = True
        if (task := self._tasks.get(hold)) is not None:
            task.cancel()

    async def close(self) -> None:
        """Stop all handlers that can be stopped."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=1)
        self._threads.close()
        if self._processes is not None:
            self._processes.close()

    def _start_task(self, hold: Hold, work: Coroutine[Any, Any, Outcome]) -> None:
        self._tasks[hold] = task = self._loop.create_task(work)
        task.add_done_callback(partial(self._task_ended, hold))

    def _task_ended(self, hold: Hold, task: "asyncio.Task[Outcome]") -> None:
        """Report the outcome of a handler; any other error breaks the pool."""
        del self._tasks[hold]
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._broken(error)
        else:
            self._ended([(hold, _CANCELLED if task.cancelled() else task.result())])

    def _ended(self, ends: Ends) -> None:
        """
        Report outcomes. Each hold drops its running job, which refers to the hold: the garbage collection of these
        cycles would take a third of a worker's time.
        """
        for hold, _ in ends:
            hold.running = None
        self._done(ends)

    def _say(self, hold: Hold, percent: int) -> None:
        hold.progress = percent  # not in the loop: there the handler's end may come first
        self._loop.call_soon_threadsafe(self._report_progress, hold)
