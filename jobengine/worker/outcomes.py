"""Converts a handler's result or exception into changes of its job."""

import asyncio
import sys
from collections.abc import Callable
from datetime import timedelta
from inspect import unwrap
from logging import getLogger
from pathlib import Path
from traceback import format_exception
from typing import Any, Final, NamedTuple, cast

from ..client.encoding import encode_text
from ..client.failures import as_fingerprint, exception_fingerprint
from ..client.jobs import ERROR_LENGTH, JobChanges, OnDependencyFailure
from ..client.json_faults import fault_of
from .running_job import Cancelled, RunningJob, WaitFor

_log: Final = getLogger("jobengine.worker")
_NOT_RETURNED: Final = (
    "%s %s: the handler called job.wait_for, but did not return its result: the job waits for nothing, and the jobs in "
    "the list are not added. Write: return job.wait_for(...)"
)


class Outcome(JobChanges, total=False):
    """The changes of a job, and details for the log."""

    #: The class of the exception that ended the handler; see `error_type`.
    error_type: str
    #: The jobs that are added and waited for, as JSON objects; see RunningJob.wait_for.
    wait_for: list[dict[str, Any]]
    on_dependency_failure: OnDependencyFailure


#: The changes of a job that was completed without a result. Shared, so never modified.
_COMPLETE: Final[Outcome] = {"new_status": "complete"}
#: The longest hold that the server accepts, in seconds.
_LONGEST_HOLD: Final = 86_400
#: The least delay of a Retry without one, in seconds. Otherwise a job that is released each time would keep the machine
#: busy.
_LEAST_DELAY: Final = 1.0
#: Modules whose names are left out before the names of exception classes.
_OWN_MODULES: Final = frozenset({"builtins", "__main__", "jobengine"})


class Retry(Exception):
    """
    Raise Retry in a handler to release the job: it can be claimed again after `delay` seconds, by default after the
    job's retry delay, at least a second; and the attempt does not count.

    During `hold`, at most a day, no job of its group can be claimed (of its queue, if it has no group). Use it if a
    service accepts no more calls for a while.
    """

    def __init__(self, delay: float | timedelta | None = None, *, hold: float | timedelta = 0) -> None:
        #: The delay in seconds; None stands for the job's retry delay.
        self.seconds = None if delay is None else _seconds(delay, "delay")
        #: The hold in seconds.
        self.hold = min(_seconds(hold, "hold"), _LONGEST_HOLD)
        again = "after its retry delay" if self.seconds is None else f"in {self.seconds:g} s"
        held = f", and a hold of {self.hold:g} s" if self.hold else ""
        super().__init__(f"again {again}{held}")


def _seconds(span: float | timedelta, name: str) -> float:
    seconds = span.total_seconds() if isinstance(span, timedelta) else span
    if not isinstance(seconds, int | float):
        raise TypeError(f"the {name} of a Retry must be a number of seconds, not {type(span).__name__}")
    if not seconds >= 0:
        raise ValueError(f"the {name} of a Retry can't be negative")
    return seconds


class Fail(Exception):
    """
    Raise Fail in a handler to fail the job without further attempts; the text becomes the job's error. With `retry`,
    the job is retried if it has attempts left. Any other exception counts as a Fail with `retry` and the traceback.
    With `fingerprint`, the error is counted under this name, of 1 to 64 letters, digits and "._:-".
    """

    def __init__(self, error: str = "", *, retry: bool = False, fingerprint: str | None = None) -> None:
        super().__init__(error)
        self.retry = retry
        self.fingerprint = fingerprint


def handler_name(function: Callable[..., Any]) -> str:
    """The module and name of a handler; for the main program, which may be started in several ways, its file's name."""
    inner = unwrap(getattr(function, "func", function))
    if not hasattr(inner, "__qualname__"):
        inner = type(inner)
    module = inner.__module__
    if module in ("__main__", "__mp_main__"):
        module = Path(getattr(sys.modules[module], "__file__", None) or module).stem
    name = inner.__qualname__.replace(".<locals>", "").replace("<lambda>", "lambda")
    return f"{module}.{name}" if module else name


class ResultNotJson(Fail):
    """A handler has returned a value that JSON can't represent. `retry` is false: a retry would end in the same way."""

    @classmethod
    def of(cls, function: Callable[..., Any], value: Any, why: Exception, *, jobs: bool) -> "ResultNotJson":
        """The error for a value that a handler has returned: a result, or jobs to wait for."""
        name = handler_name(function)
        what = "jobs to wait for that are" if jobs else "a result that is"
        text = f"The handler {name} returned {what} not JSON: {fault_of(value, '' if jobs else 'result') or why}"
        return cls(text, fingerprint=as_fingerprint(f"{cls.__name__}:{name}"))


class Hooks(NamedTuple):
    """Functions to call before and after each handler, in the same thread, process or loop as the handler."""

    before: list[Callable[[RunningJob], Any]]
    after: list[Callable[[RunningJob, Any], Any]]
    failed: list[Callable[[RunningJob, BaseException], Any]]


class Attempt:
    """One call of a handler; converts its result or exception into the changes of its job, and calls the hooks."""

    __slots__ = ("_function", "_hooks", "_job")

    def __init__(self, job: RunningJob, hooks: Hooks, function: Callable[..., Any]) -> None:
        self._job = job
        self._hooks = hooks
        self._function = function

    def begins(self) -> None:
        """Call the hooks before the handler."""
        if self._hooks.before:
            _call(self._hooks.before, self._job)

    def returned(self, result: Any) -> Outcome:
        """The changes for the handler's result; raises ResultNotJson."""
        changes = result.changes if isinstance(result, WaitFor) else None
        if result is not None:
            self._check(result if changes is None else changes, jobs=changes is not None)
        if self._hooks.after:
            _call(self._hooks.after, self._job, result)
        if changes is not None:
            return cast("Outcome", changes)
        if self._job._has_made_wait:
            _log.warning(_NOT_RETURNED, self._job.queue, self._job.uid)
        return _COMPLETE if result is None else {"new_status": "complete", "result": result}

    def _check(self, value: Any, *, jobs: bool) -> None:
        try:
            encode_text(value).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise ResultNotJson.of(self._function, value, error, jobs=jobs) from error

    def failed(self, error: BaseException) -> Outcome:
        """The changes for the handler's exception, or for an exception of `returned`."""
        if not isinstance(error, Cancelled | Retry):
            _call(self._hooks.failed, self._job, error)
        return _outcome_of(error, self._job)


def failure(error: str, *, retry: bool = True) -> Outcome:
    """
    The changes of a failed attempt. Only the end of a long error is kept, because a traceback ends
    with the reason.
    """
    changes: Outcome = {"new_status": "failed", "error": error[-ERROR_LENGTH:]}
    if not retry:
        changes["retry"] = False
    return changes


def error_type(error: BaseException) -> str:
    """
    The name of an exception's class. Its module precedes it, except for built-in classes, the main program and this
    package.
    """
    kind = type(error)
    module = kind.__module__.partition(".")[0]
    return kind.__qualname__ if module in _OWN_MODULES else f"{kind.__module__}.{kind.__qualname__}"


def _outcome_of(error: BaseException, job: RunningJob) -> Outcome:
    if isinstance(error, Retry):
        delay = max(job.job.retry_delay.total_seconds(), _LEAST_DELAY) if error.seconds is None else error.seconds
        release: Outcome = {"new_status": "queued", "delay_seconds": delay}
        if error.hold:
            release["hold_seconds"] = error.hold
        return release
    if isinstance(error, Cancelled) or (isinstance(error, asyncio.CancelledError) and job.cancelled):
        return failure("cancelled", retry=False)
    if isinstance(error, Fail):
        outcome = failure(_clean(str(error)), retry=error.retry)
        if error.fingerprint is not None:
            outcome["fingerprint"] = error.fingerprint
    else:
        # Leave out the traceback's first entry, which is the worker's.
        below = error.__traceback__ and error.__traceback__.tb_next
        outcome = failure(_clean("".join(format_exception(type(error), error, below))))
        outcome["fingerprint"] = exception_fingerprint(error)
    outcome["error_type"] = error_type(error)
    return outcome


def _clean(text: str) -> str:
    """The text, with lone surrogates replaced, since UTF-8 can't encode them."""
    return text.encode("utf-8", "replace").decode()


def _call(hooks: list[Any], *arguments: Any) -> None:
    for hook in hooks:
        try:
            hook(*arguments)
        except BaseException:  # any exception, such as Cancelled, would end the thread and lose the job's slot
            _log.exception("The hook %r failed; the job continues.", getattr(hook, "__qualname__", hook))
