"""Carries out the supervisor's actions, in one event loop."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from logging import INFO, WARNING, getLogger
from math import inf
from time import time
from typing import Any, Final, cast

from ..client import AsyncFinished, AsyncJobEngine, NewJob
from ..client.errors import BadRequest, Conflict, JobEngineError, JobNotFound
from ..client.jobs import JobChanges
from .actions import Abort, Beat, Claim, Ended, Hold, Interrupt, Report, Start
from .handler_pool import Ends, HandlerPool
from .log import end_fields, end_message
from .outcomes import Outcome
from .supervisor import Supervisor

_log: Final = getLogger("jobengine.worker")
#: A turn that is this many seconds late is logged.
_BLOCKED: Final = 1

#: Makes the pool, given callbacks for ended handlers, for progress, and for a broken pool.
MakePool = Callable[
    [Callable[[Ends], object], Callable[[Hold], object], Callable[[BaseException], object]], HandlerPool
]
#: Prepares the server before the first claim; calls its argument with the error of each failed attempt.
Prepare = Callable[[Callable[[JobEngineError], object]], Coroutine[Any, Any, None]]


class WorkerLoop:
    """One run of a worker."""

    def __init__(
        self,
        engine: AsyncJobEngine,
        groups: Sequence[Sequence[str]],
        supervisor: Supervisor,
        *,
        name: str,
        tags: Sequence[str],
    ) -> None:
        self._engine = engine
        self._groups = groups
        self._supervisor = supervisor
        self._name = name
        self._tags = tags
        self._loop = asyncio.get_running_loop()
        self._over: asyncio.Future[None] = self._loop.create_future()
        self._requests: set[asyncio.Task[None]] = set()
        self._claims: dict[int, asyncio.Task[None]] = {}
        self._turning = False
        self._alarm: asyncio.TimerHandle | None = None
        self._away = False
        self._do: Mapping[type, Callable[[Any], object]] = {
            Start: self._start,
            Interrupt: lambda action: self._pool.interrupt(action.hold),
            Claim: self._begin_claim,
            Abort: lambda action: self._claims[action.group].cancel(),
            Report: lambda action: self._begin(self._report(action)),
            Beat: lambda action: self._begin(self._beat(action)),
            Ended: self._log_end,
        }

    async def run(self, make_pool: MakePool, prepare: Prepare) -> None:
        """Work until the end; raises JobEngineError if the server refuses the worker's key, queue or schedule."""
        self._pool = make_pool(self._ended, self._report_progress, self._fail)
        self._begin(self._prepare(prepare))
        try:
            await self._over
        finally:
            await self._close()

    def stop(self, grace: float) -> None:
        """Begin to stop; see Supervisor.stop."""
        if running := self._supervisor.stop(self._loop.time(), grace):
            jobs, them = ("1 job has", "it") if running == 1 else (f"{running} jobs have", "them")
            seconds = "1 second" if grace == 1 else f"{grace:g} seconds"
            _log.info("Stopping: %s %s to end. A second signal releases %s at once.", jobs, seconds, them)
        self._turn_soon()

    async def _prepare(self, prepare: Prepare) -> None:
        await prepare(lambda error: self._connection_seen([error]))
        self._turn_soon()

    async def _close(self) -> None:
        self._over.cancel()
        if self._alarm is not None:
            self._alarm.cancel()
        await self._pool.close()
        for task in self._requests:
            task.cancel()
        if self._requests:
            await asyncio.wait(self._requests)
        for hold in self._supervisor.unsent:
            _log.error("%s could not be reported; its lease will expire.", _name(hold))

    # Turns. A turn runs at the end of an iteration of the event loop, and handles all events of that iteration
    # together.

    def _turn_soon(self) -> None:
        if not self._turning and not self._over.done():
            self._turning = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._turning = False
        if self._over.done():
            return
        try:
            self._carry_out(self._loop.time())
        except Exception as error:  # a bug in the worker: end instead of hanging
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        if not self._over.done():
            self._over.set_exception(error)

    def _carry_out(self, now: float) -> None:
        for action in self._supervisor.plan(now):
            self._do[type(action)](action)
        if self._supervisor.fatal is not None:
            self._fail(self._supervisor.fatal)
        elif self._supervisor.over(now):
            self._over.set_result(None)
        else:
            self._set_alarm(self._supervisor.next_at(now))

    def _set_alarm(self, at: float | None) -> None:
        if self._alarm is not None and (self._alarm.cancelled() or self._alarm.when() != at):
            self._alarm.cancel()
            self._alarm = None
        if self._alarm is None and at is not None:
            self._alarm = self._loop.call_at(at, self._ring)

    def _ring(self) -> None:
        late = self._loop.time() - (self._alarm.when() if self._alarm is not None else inf)
        if late >= _BLOCKED:
            _log.warning(
                "The event loop was blocked for %.1f seconds or more, so heartbeats were late. A handler that is a "
                "coroutine must not block: let it await, or make it a plain function, which runs in a thread.",
                late,
            )
        self._alarm = None
        self._turn_soon()

    # Handlers

    def _start(self, action: Start) -> None:
        now = self._loop.time()
        for hold in action.holds:
            hold.began = now
            self._pool.start(hold)

    def _ended(self, ends: Ends) -> None:
        now = self._loop.time()
        for hold, outcome in ends:
            hold.ran = now - hold.began
            if "error_type" in outcome:  # for the log only, not for the server
                hold.error_type = outcome.pop("error_type")
            self._supervisor.finished(hold, outcome)
        self._turn_soon()

    def _report_progress(self, hold: Hold) -> None:
        self._supervisor.progressed(hold)
        self._turn_soon()

    # Requests

    def _begin(self, request: Any) -> "asyncio.Task[None]":
        task = self._loop.create_task(request)
        self._requests.add(task)
        task.add_done_callback(self._request_ended)
        return task

    def _request_ended(self, task: "asyncio.Task[None]") -> None:
        self._requests.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._fail(error)

    def _begin_claim(self, action: Claim) -> None:
        self._claims[action.group] = self._begin(self._claim(action))

    async def _claim(self, action: Claim) -> None:
        queues = self._groups[action.group]
        try:
            jobs = await self._engine.claim(
                queues, action.room, wait=action.wait, tags=self._tags, worker=self._name, with_results=True
            )
        except JobEngineError as error:
            self._supervisor.claim_failed(self._loop.time(), action.group, error)
            if self._supervisor.fatal is None:
                self._connection_seen([error])
        except asyncio.CancelledError:
            self._supervisor.aborted(self._loop.time(), action.group)
        else:
            self._connection_seen([None])
            self._supervisor.claimed(self._loop.time(), action.group, jobs)
        self._turn()

    async def _report(self, action: Report) -> None:
        finished = [AsyncFinished(hold.claimed, hold.changes or {}) for hold in action.holds]
        errors, jobs = await self._finish_all(finished, action)
        self._connection_seen(errors)
        self._supervisor.reported(self._loop.time(), action, errors, jobs)
        self._turn()

    async def _finish_all(
        self, finished: Sequence[AsyncFinished], action: Report
    ) -> tuple[Sequence[JobEngineError | None], Sequence[Any] | None]:
        """Report outcomes. An outcome with `wait_for` is sent alone, since a list of updates can't contain it."""
        waiting = [one for one in finished if "wait_for" in one.changes]
        if not waiting:
            return await self._finish(finished, action)
        found = dict(zip(map(id, waiting), await asyncio.gather(*map(_wait_for, waiting)), strict=True))
        others = [one for one in finished if id(one) not in found]
        errors, jobs = await self._finish(others, action)
        found.update(zip(map(id, others), errors, strict=True))
        return [found[id(one)] for one in finished], jobs

    async def _finish(
        self, finished: Sequence[AsyncFinished], action: Report
    ) -> tuple[Sequence[JobEngineError | None], Sequence[Any] | None]:
        if action.room:
            queues = self._groups[action.group]
            try:
                return await self._engine.finish_and_claim(
                    finished, queues, action.room, tags=self._tags, worker=self._name, with_results=True
                )
            except BadRequest:
                pass  # one outcome is bad: send each in a request of its own
            except JobEngineError as error:
                return [error] * len(finished), None
        return await self._engine.report(finished), None

    async def _beat(self, action: Beat) -> None:
        beats = [AsyncFinished(hold.claimed, _beat_of(hold)) for hold in action.holds]
        errors = await self._engine.report(beats)
        self._connection_seen(errors)
        self._supervisor.beaten(self._loop.time(), action, errors)
        self._turn()

    # The log

    def _connection_seen(self, errors: Sequence[JobEngineError | None]) -> None:
        """Log once when the server can't be reached, and once when it answers again."""
        error = next((error for error in errors if error is not None and not _concerns_one(error)), None)
        if error is not None and not self._away:
            seconds = self._supervisor.gives_up_after
            how_long = "" if seconds == inf else f" for {seconds:.0f} seconds"
            _log.warning("%s The worker keeps trying%s.", error.detail, how_long)
        elif error is None and self._away:
            _log.warning("The server answers again.")
        self._away = error is not None

    def _log_end(self, action: Ended) -> None:
        least = INFO if _log.isEnabledFor(INFO) else WARNING
        now = self._loop.time()
        for hold in action.holds:
            # Python shows warnings even without a logging configuration.
            level = WARNING if action.note or _has_failed(hold) else INFO
            if level >= least:
                so_far = now - hold.began if hold.began else 0.0
                fields = end_fields(hold, action.note, so_far if hold.ran is None else hold.ran, time())
                _log.log(level, "%s", end_message(fields, action.note), extra=fields)


async def _wait_for(finished: AsyncFinished) -> JobEngineError | None:
    """Add the jobs that a job waits for; returns the error, if any."""
    changes = cast("Outcome", finished.changes)
    children = [NewJob(**child) for child in changes["wait_for"]]
    try:
        await finished.job.wait_for(children, on_dependency_failure=changes.get("on_dependency_failure"))
    except JobEngineError as error:
        return error
    return None


def _has_failed(hold: Hold) -> bool:
    """Whether the job has failed by itself, not because its handler was interrupted."""
    return (hold.changes or {}).get("new_status") == "failed" and not hold.interrupted


def _beat_of(hold: Hold) -> JobChanges:
    changes: JobChanges = {"new_status": "inprogress"}
    if hold.progress is not None:
        changes["progress"] = hold.progress
    return changes


def _concerns_one(error: JobEngineError) -> bool:
    return isinstance(error, Conflict | JobNotFound | BadRequest)


def _name(hold: Hold) -> str:
    job = hold.claimed
    return f"{job.queue.name} {job.uid}, attempt {job.attempts}"
