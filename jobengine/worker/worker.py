"""The worker's public class."""

import asyncio
import os
import signal
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from inspect import iscoroutinefunction, signature
from logging import getLogger
from typing import TYPE_CHECKING, Any, Final, TypeVar, Unpack

from ..client import AsyncJobEngine
from ..client.did_you_mean import suggests
from ..client.jobs import words
from ..client.schedules import ScheduleOptions, schedule_value
from ..client.secret import Secret
from ..client.settings import check_numbers, load
from .event_loop import WorkerLoop
from .handler_pool import Handler, HandlerPool, Handlers
from .outcomes import Hooks
from .processes import Nursery
from .queue_groups import REFUSALS
from .running_job import RunningJob
from .schedules import PlannedSchedule, set_schedules, with_queues
from .supervisor import Supervisor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from ssl import SSLContext

#: The longest wait of a claim, in seconds: proxies give up after 60.
_LONGEST_WAIT: Final = 50
_log: Final = getLogger("jobengine.worker")
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)

F = TypeVar("F", bound=Callable[..., Any])


class Worker:
    """
    Works on the jobs of some queues, at most `concurrency` jobs at a time.

    If `url`, `access_key`, `admin_key` or `keys` (a key for each queue) is left out, the value comes from `profile` or
    the environment. With `processes`, plain functions run in processes instead of threads. `grace` is how many seconds
    running jobs get when the worker stops; `wait` is how many seconds a claim may wait at the server; `timeout` is how
    many seconds an answer may take beyond `wait`. Only jobs with all of `tags` are claimed. `name` is shown as the
    job's worker. Raises BadSettings, and ValueError for other invalid arguments.
    """

    #: The signal that stopped the worker, or None.
    _stopped_by: signal.Signals | None = None
    _running: tuple[asyncio.AbstractEventLoop, WorkerLoop] | None = None

    @suggests
    def __init__(
        self,
        queues: str | Sequence[str],
        *,
        concurrency: int = 1,
        processes: bool = False,
        grace: float = 30,
        wait: float = 50,
        tags: Sequence[str] = (),
        name: str | None = None,
        url: str | None = None,
        access_key: str | Secret | None = None,
        admin_key: str | Secret | None = None,
        keys: Mapping[str, str | Secret] | None = None,
        profile: str | None = None,
        timeout: float = 30,
        ssl_context: "SSLContext | None" = None,
    ) -> None:
        self.queues = (queues,) if isinstance(queues, str) else tuple(dict.fromkeys(queues))
        _check(self.queues, concurrency, processes, grace, wait)
        self._settings = load(url, access_key=access_key, admin_key=admin_key, keys=keys, profile=profile)
        self._concurrency = concurrency
        self._processes = processes
        self._grace, self._wait = grace, wait
        self._name = name or f"{socket.gethostname()}-{os.getpid()}"
        self._tags = words(tags)
        self._timeout, self._tls = timeout, ssl_context
        self._handlers: dict[str, Handler] = {}
        self._hooks = Hooks([], [], [])
        self._schedules: list[PlannedSchedule] = []
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"Worker({list(self.queues)!r}, concurrency={self._concurrency})"

    def handler(self, *queues: str) -> Callable[[F], F]:
        """
        Decorate the function that works on the jobs of some queues; by default on those of all the worker's queues.

        The function is called with the content and the RunningJob. A plain function runs in a thread, or in a process
        with `processes`; a coroutine function runs in the loop, which it must not block.
        """
        if any(map(callable, queues)):
            raise TypeError(f"Write @worker.handler({self.queues[0]!r}), or @worker.handler() for all queues.")
        named = queues or self.queues
        if unknown := [queue for queue in named if queue not in self.queues]:
            raise ValueError(f"The worker does not work on the queue {unknown[0]!r}.")

        def decorate(function: F) -> F:
            """Add the function; raises TypeError if it can't be called, ValueError if a queue has one already."""
            _check_handler(function)
            for queue in named:
                if queue in self._handlers:
                    raise ValueError(f"The queue {queue!r} has a handler already.")
                self._handlers[queue] = Handler(function, iscoroutinefunction(function))
            return function

        return decorate

    def schedule(
        self,
        name: str,
        content: Mapping[str, Any] | None = None,
        *,
        queue: str | None = None,
        **options: Unpack[ScheduleOptions],
    ) -> Callable[[F], F]:
        """
        Decorate a handler, to add a job for it at each time of `cron` in `timezone`, or every `every_seconds`.

        The worker sets the schedule when it starts, like Queue.schedule, which has the same options; this needs the
        owner's key. The queue is the one that the function handles; if it handles several, name it by `queue`. A
        schedule whose decorator is removed stays at the server until it is deleted.
        """
        if queue is not None and queue not in self.queues:
            raise ValueError(f"The worker does not work on the queue {queue!r}.")
        schedule_value(content or {}, options)

        def decorate(function: F) -> F:
            """Plan the schedule of the function."""
            self._schedules.append(PlannedSchedule(name, queue, content or {}, options, function))
            return function

        return decorate

    def before(self, hook: Callable[[RunningJob], Any]) -> Callable[[RunningJob], Any]:
        """Decorate a function to call before each handler, in the same thread, process or loop."""
        self._hooks.before.append(hook)
        return hook

    def after(self, hook: Callable[[RunningJob, Any], Any]) -> Callable[[RunningJob, Any], Any]:
        """Decorate a function to call with the result after a handler has returned."""
        self._hooks.after.append(hook)
        return hook

    def failed(self, hook: Callable[[RunningJob, BaseException], Any]) -> Callable[[RunningJob, BaseException], Any]:
        """Decorate a function to call with the error after a handler has failed."""
        self._hooks.failed.append(hook)
        return hook

    def run(self) -> None:
        """
        Work until SIGTERM, SIGINT or `stop`. Raises JobEngineError if the server refuses the key or a schedule, or if
        it has no such queue.

        In the main thread, `run` handles both signals; a second signal ends the worker at once.
        """
        self._run(until_empty=False)

    def run_until_empty(self) -> int:
        """
        Work until no job is ready, without waiting for delayed jobs. Returns how many jobs have ended: those that are
        complete or have failed with no attempts left. A job whose outcome was discarded, such as one whose lease was
        lost, does not count, nor does one that was released or waits for its retry or for other jobs.

        Like `run`, it returns at SIGTERM, SIGINT or `stop`, also if jobs are left. Raises JobEngineError as `run` does,
        and if the server has not answered for a minute while no job is running.
        """
        return self._run(until_empty=True)

    def stop(self) -> None:
        """Make `run` return, as SIGTERM does. Can be called from any thread, and from a handler."""
        with self._lock:
            if self._running is not None:
                loop, worker_loop = self._running
                loop.call_soon_threadsafe(worker_loop.stop, self._grace)

    def _check_handlers(self) -> None:
        """Raise ValueError if one of the worker's queues has no handler. `run` checks this too."""
        if missing := [queue for queue in self.queues if queue not in self._handlers]:
            raise ValueError(
                f"The queue {missing[0]!r} has no handler: decorate a function with @worker.handler({missing[0]!r})."
            )

    def _run(self, *, until_empty: bool) -> int:
        self._check_handlers()
        schedules = with_queues(self._schedules, self._handlers)
        handlers = Handlers(self._handlers, self._hooks)
        nursery = Nursery(handlers.perform) if self._processes else None
        try:
            return asyncio.run(self._work(handlers, nursery, schedules, until_empty=until_empty))
        except REFUSALS as error:  # the key or a queue is wrong, not the program: its message says all
            raise error.with_traceback(None) from None
        finally:
            if nursery is not None:
                nursery.close()

    async def _work(
        self, handlers: Handlers, nursery: Nursery | None, schedules: list[PlannedSchedule], *, until_empty: bool
    ) -> int:
        async with self._engine() as engine:
            groups = self._groups(engine)
            supervisor = Supervisor(len(groups), self._concurrency, wait=self._wait, until_empty=until_empty)
            worker_loop = WorkerLoop(engine, groups, supervisor, name=self._name, tags=self._tags)
            with self._stoppable(worker_loop):
                _log.info("Claiming jobs of %s at %s.", self._claimed(), self._settings.address.url)
                await worker_loop.run(
                    lambda *callbacks: HandlerPool(handlers, nursery, *callbacks),
                    lambda tell: set_schedules(engine, schedules, tell, retry_for=supervisor.gives_up_after),
                )
        return supervisor.ended

    def _claimed(self) -> str:
        """For the log: the queues, and the tags that a job must have to be claimed, if any."""
        tags = f" with the tag{'' if len(self._tags) == 1 else 's'} {', '.join(self._tags)}" if self._tags else ""
        return ", ".join(self.queues) + tags

    def _engine(self) -> AsyncJobEngine:
        """A client that does not retry, because the supervisor retries."""
        settings = self._settings
        return AsyncJobEngine(
            settings.address.url,
            access_key=settings.access_key,
            admin_key=settings.admin_key,
            keys=settings.keys,
            timeout=self._timeout,
            retry_for=0,
            ssl_context=self._tls,
        )

    def _groups(self, engine: AsyncJobEngine) -> list[list[str]]:
        """The queues, grouped by key, in order."""
        groups: dict[Secret | None, list[str]] = {}
        for queue in self.queues:
            groups.setdefault(self._settings.key_for(queue), []).append(queue)
        return list(groups.values())

    def _signalled(self, number: signal.Signals, worker_loop: WorkerLoop) -> None:
        self._stopped_by = number
        worker_loop.stop(self._grace)

    @contextmanager
    def _stoppable(self, worker_loop: WorkerLoop) -> "Iterator[None]":
        loop = asyncio.get_running_loop()
        listens = threading.current_thread() is threading.main_thread()
        with self._lock:
            if self._running is not None:
                raise RuntimeError("This worker is already running; make a second Worker to run another beside it.")
            self._running = loop, worker_loop
        if listens:
            for number in _SIGNALS:
                loop.add_signal_handler(number, self._signalled, number, worker_loop)
        try:
            yield
        finally:
            with self._lock:
                self._running = None
        # The loop removes the signal handlers when it closes, so that a late second signal makes no traceback.


def _check(queues: Sequence[str], concurrency: int, processes: bool, grace: float, wait: float) -> None:
    check_numbers(concurrency=concurrency, grace=grace, wait=wait)
    if not isinstance(processes, bool):
        raise TypeError("processes must be True or False; concurrency is the number of jobs at a time")
    if not queues or concurrency < 1 or not 0 < wait <= _LONGEST_WAIT or grace < 0:
        raise ValueError(
            f"A worker needs a queue, a concurrency of at least 1, a wait of more than 0 and at most {_LONGEST_WAIT} "
            "seconds, and a grace that is not negative."
        )


def _check_handler(function: Callable[..., Any]) -> None:
    """Raise TypeError if the function can't take a handler's arguments."""
    try:
        taken = signature(function)
    except ValueError:  # some functions in C have no signature
        return
    try:
        taken.bind(None, None)
    except TypeError:
        name = getattr(function, "__name__", repr(function))
        raise TypeError(
            f"The handler {name} must take two arguments, the content and the job: def {name}(content, job)."
        ) from None
