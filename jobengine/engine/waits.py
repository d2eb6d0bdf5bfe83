"""How requests wait, in both engines: in line for jobs, or for a job to finish."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from attrs import define
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from ..core.commands import ClaimResult, Claims, Peek, ReadJob
from ..core.errors import JobNotFound
from ..core.model import FINISHED, Job
from .claimers import ClaimLog
from .sweeps import Asks
from .waiting_line import NO_JOBS, Done, Ends, Outcome

T = TypeVar("T")


@define
class Waits:
    """All waiting requests of one engine; after `release` no request waits."""

    clock: IReactorTime
    #: The claim log, with the line of waiters.
    log: ClaimLog
    ends: Ends
    #: Elapsed time now, in milliseconds.
    elapsed: Callable[[], int]
    released: bool = False

    def release(self) -> None:
        """Wake all waiters, without jobs. A request in progress can't begin to wait afterwards."""
        self.released = True
        self.log.line.end()
        self.ends.end()

    def until(self, seconds: float) -> float:
        """The end of a wait that begins now, by the monotonic clock."""
        return self.clock.seconds() + seconds

    def may_wait(self, until: float) -> bool:
        """Whether a request may wait: this time of the monotonic clock has not come, and `release` was not called."""
        return not self.released and self.clock.seconds() < until

    def in_time(self, waiting: "Deferred[T]", until: float, otherwise: T) -> "Deferred[T]":
        """The result of `waiting`. If it has not fired by `until`, cancel it and return `otherwise`."""
        late: list[bool] = []

        def give_up() -> None:
            late.append(True)
            waiting.cancel()

        # The wait may be over already: the clock has moved since the caller read it.
        timer = self.clock.callLater(max(0.0, until - self.clock.seconds()), give_up)

        def done(result: T) -> T:
            if timer.active():
                timer.cancel()
            return otherwise if late else result

        return waiting.addBoth(done)

    async def in_line(self, command: Claims | Peek, until: float) -> Outcome[ClaimResult]:
        """Wait in line for jobs until this time of the monotonic clock; NO_JOBS if none came."""
        log, requested = self.log, self.elapsed()
        since = log.waits_since(command, requested) if isinstance(command, Claims) else requested
        outcome = await self.in_time(log.line.add(command, since, requested), until, NO_JOBS)
        if isinstance(command, Claims) and isinstance(outcome, Done) and not outcome.answer.jobs:
            log.record_empty(command, since, self.elapsed())
        return outcome

    async def read_job(
        self,
        engine: Asks,
        command: ReadJob,
        finished: "Callable[[Deferred[Job | None], float], Awaitable[Job | None]]",
    ) -> Job:
        """
        Read a job once it is finished, or at the end of the wait; raises JobNotFound.

        `finished` awaits the job's end until a time of the monotonic clock. It returns the finished job with its times
        by the wall clock, or None.
        """
        if not command.wait:
            return await engine.ask(command)
        until = self.until(command.wait)
        job: Job | None = None
        while True:
            # Start waiting before reading, so that the end of the job can't be missed in between.
            end = self.ends.add(command.queue, command.uid)
            try:
                read = await engine.ask(command)
                if read.state in FINISHED or not self.may_wait(until):
                    return read
                job = await finished(end, until)
            except JobNotFound:
                if job is None:
                    raise
                # The job was finished and removed at once.
                return job
            finally:
                self.ends.remove(command.queue, command.uid, end)
