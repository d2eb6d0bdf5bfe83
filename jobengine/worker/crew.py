"""Runs handlers: plain functions in threads or processes, coroutines in the loop."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final, NamedTuple

from ..client.jobs import JobChanges
from .orders import Hold
from .outcomes import Attempt, Hooks, failure
from .processes import Nursery, Processes
from .running import RunningJob
from .threads import Threads

__all__ = ["Crew", "Ends", "Handler", "Handlers"]

#: Jobs whose handlers have ended, and their outcomes.
Ends = list[tuple[Hold, JobChanges]]
_CANCELLED: Final = failure("cancelled", retry=False)


def _do_nothing() -> None:
    """Stops a handler that has ended."""


class Handler(NamedTuple):
    """The function that works on the jobs of a queue."""

    function: Callable[[Any, RunningJob], Any]
    is_coroutine: bool


class Handlers(NamedTuple):
    """The handlers by queue, and the hooks around them."""

    by_queue: Mapping[str, Handler]
    hooks: Hooks

    def perform(self, job: RunningJob) -> JobChanges:
        """Run the handler of a job here, and return the outcome."""
        with Attempt(job, self.hooks) as attempt:
            attempt.returned(self.by_queue[job.queue].function(job.content, job))
        return attempt.changes

    async def perform_in_loop(self, job: RunningJob) -> JobChanges:
        """As `perform`, for a coroutine."""
        with Attempt(job, self.hooks) as attempt:
            attempt.returned(await self.by_queue[job.queue].function(job.content, job))
        return attempt.changes


class Crew:
    """
    Runs handlers.

    In the loop it calls `done` with holds and their outcomes, `said` with a hold and its progress, and `broken` if no
    handler can run any more.
    """

    def __init__(
        self,
        handlers: Handlers,
        nursery: Nursery | None,
        done: Callable[[Ends], object],
        said: Callable[[Hold, int], object],
        broken: Callable[[BaseException], object],
    ) -> None:
        self._handlers = handlers
        self._done = done
        self._said = said
        self._broken = broken
        self._loop = asyncio.get_running_loop()
        self._threads: Threads[Hold] = Threads(self._loop, self._ended)
        self._processes = None if nursery is None else Processes(nursery)
        self._tasks: set[asyncio.Task[JobChanges]] = set()

    def start(self, hold: Hold) -> None:
        """Run the handler for a job."""
        queue = hold.claimed.queue.name
        job = RunningJob(queue, hold.claimed.job, lambda percent: self._say(hold, percent))
        if self._handlers.by_queue[queue].is_coroutine:
            self._start_task(hold, job, self._handlers.perform_in_loop(job))
        elif self._processes is not None:
            self._start_task(hold, job, self._processes.perform(job))
        else:
            hold.running = lambda: setattr(job, "cancelled", True)
            self._threads.start(hold, lambda: self._handlers.perform(job))

    def interrupt(self, hold: Hold) -> None:
        """Tell a handler to stop; a coroutine is cancelled, a process is killed."""
        hold.running()

    async def close(self) -> None:
        """Stop all handlers that can be stopped."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=1)
        self._threads.close()
        if self._processes is not None:
            self._processes.close()

    def _start_task(self, hold: Hold, job: RunningJob, work: Coroutine[Any, Any, JobChanges]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)

        def interrupt() -> None:
            """Cancel the task, and tell the handler why."""
            job.cancelled = True
            task.cancel()

        def ended(task: "asyncio.Task[JobChanges]") -> None:
            """Report the outcome, or an error that is none of a handler."""
            self._tasks.discard(task)
            error = None if task.cancelled() else task.exception()
            if error is not None:
                self._broken(error)
            else:
                self._ended([(hold, _CANCELLED if task.cancelled() else task.result())])

        hold.running = interrupt
        task.add_done_callback(ended)

    def _ended(self, ends: Ends) -> None:
        """Forget what stops the handlers. It refers to their holds: to collect such cycles took a third of the time."""
        for hold, _ in ends:
            hold.running = _do_nothing
        self._done(ends)

    def _say(self, hold: Hold, percent: int) -> None:
        self._loop.call_soon_threadsafe(self._said, hold, percent)
