"""What a handler returns or raises, and the changes that are sent for it."""

import asyncio
import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial, wraps
from json import JSONDecodeError
from types import SimpleNamespace
from typing import Any

import pytest

from jobengine.client import Job, NewJob
from jobengine.client.encoding import encode_text
from jobengine.client.errors import Unavailable
from jobengine.client.failures import as_fingerprint
from jobengine.worker import Cancelled, Fail, Retry, RunningJob, WaitFor
from jobengine.worker.handler_pool import Handler, Handlers
from jobengine.worker.outcomes import Hooks, Outcome, handler_name

#: What is sent for a handler that raises Fail("bad").
FAILED = {"new_status": "failed", "retry": False, "error": "bad", "error_type": "Fail"}
JOB = {"uid": "u", "content": {"n": 1}, "attempts": 2, "tags": ["a"]}


def _perform(function: Callable[[Any, RunningJob], Any], hooks: Hooks | None = None, **job: Any) -> Outcome:
    running = RunningJob("q", Job(JOB), lambda percent: None)
    for name, value in job.items():
        setattr(running, name, value)
    return Handlers({"q": Handler(function, False)}, hooks or Hooks([], [], [])).perform(running)


def _raise(error: BaseException, hooks: Hooks | None = None, **job: Any) -> Outcome:
    def handler(content: Any, job: RunningJob) -> None:
        raise error

    return _perform(handler, hooks, **job)


def test_the_return_value_of_a_handler_is_the_result() -> None:
    done = _perform(lambda content, job: [content["n"], job.attempts, job.tags])
    assert done == {"new_status": "complete", "result": [1, 2, ("a",)]}
    assert _perform(lambda content, job: None) == {"new_status": "complete"}


def test_a_call_of_wait_for_whose_value_the_handler_does_not_return_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    assert _perform(lambda content, job: job.wait_for([{}]) and None) == {"new_status": "complete"}
    assert [record.getMessage().partition(",")[0] for record in caplog.records] == [
        "q u: the handler called job.wait_for"
    ]
    caplog.clear()
    assert "wait_for" in _perform(lambda content, job: job.wait_for([{}]))
    assert caplog.records == []


class _Endless(list[Any]):
    """A list whose only item is the list itself."""

    def __init__(self) -> None:
        super().__init__()
        self.append(self)


@pytest.mark.parametrize(
    ("result", "fault"),
    [
        ({"sent_at": datetime.now(UTC)}, "a datetime at result.sent_at"),
        ({"rows": [1, {"a b": object()}]}, 'an object at result.rows[1]["a b"]'),
        ([{2: (None, True, "x", 1.5, float("nan"))}], "the number nan at result[0][2][4]"),
        ({"a": {(1, 2): 3}}, "a tuple as a key at result.a"),
        ({"x" * 100: {1}}, f"a set at result.{'x' * 73}…"),
        ("\ud800", "a text with a lone surrogate"),
        (_Endless(), f"more than 100 levels, or a _Endless that contains itself, at result{'[0]' * 24}[0…"),
        (10**5000, "Exceeds the limit (4300 digits) for integer string conversion"),
    ],
    ids=range(8),
)
def test_a_result_that_is_not_json_fails_its_job_permanently(result: object, fault: str) -> None:
    outcome = _perform(lambda content, job: result)
    handler = f"{__name__}.test_a_result_that_is_not_json_fails_its_job_permanently.lambda"
    error = outcome.pop("error")
    assert error.startswith(f"The handler {handler} returned a result that is not JSON: {fault}")
    assert len(error) < 400
    fingerprint = as_fingerprint(f"ResultNotJson:{handler}")
    assert outcome == {
        "new_status": "failed",
        "retry": False,
        "fingerprint": fingerprint,
        "error_type": "ResultNotJson",
    }


def send(content: Any, job: RunningJob) -> Any:
    return {"at": {1}}


def test_the_fingerprint_of_a_result_that_is_not_json_names_the_handler() -> None:
    assert _perform(send)["fingerprint"] == "ResultNotJson:tests.worker.test_outcomes.send"
    wrapped = wraps(send)(lambda content, job: send(content, job))
    assert _perform(wrapped)["fingerprint"] == "ResultNotJson:tests.worker.test_outcomes.send"


class Sender:
    def __call__(self, content: Any, job: RunningJob) -> Any: ...


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (send, f"{__name__}.send"),
        (partial(send), f"{__name__}.send"),
        (Sender(), f"{__name__}.Sender"),
        (Sender().__call__, f"{__name__}.Sender.__call__"),
        ([].append, "list.append"),
    ],
)
def test_a_handler_is_named_by_its_module_and_name(function: Callable[..., Any], name: str) -> None:
    assert handler_name(function) == name


def test_a_handler_of_the_main_program_is_named_by_its_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "__main__", SimpleNamespace(__file__="/srv/tasks.py"))
    monkeypatch.setattr(send, "__module__", "__main__")
    assert handler_name(send) == "tasks.send"


def test_an_error_is_sent_with_a_traceback_that_starts_at_the_handler() -> None:
    changes = _raise(LookupError("it is not there"))
    assert changes["new_status"] == "failed"
    assert "retry" not in changes
    lines = changes["error"].splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert "in handler" in lines[1]
    assert lines[-1] == "LookupError: it is not there"


def test_an_exception_is_sent_with_its_fingerprint() -> None:
    assert (
        _raise(LookupError("it is not there"))["fingerprint"] == "LookupError:tests.worker.test_outcomes._raise.handler"
    )
    own = _raise(Fail("bad", fingerprint="Smtp:refused"))
    assert own == {**FAILED, "fingerprint": "Smtp:refused"}


def test_a_long_error_is_cut_at_its_start() -> None:
    error = _raise(LookupError("x" * 10_000 + " the end"))["error"]
    assert (len(error), error.endswith("xxx the end\n")) == (4096, True)


def test_an_error_that_utf_8_can_not_encode_is_still_sent() -> None:
    assert _raise(LookupError("\ud800"))["error"].endswith("LookupError: ?\n")


@pytest.mark.parametrize(("delay", "seconds"), [(0, 0), (30, 30), (timedelta(minutes=2), 120)])
def test_raising_retry_releases_the_job(delay: Any, seconds: float) -> None:
    assert _raise(Retry(delay)) == {"new_status": "queued", "delay_seconds": seconds}


@pytest.mark.parametrize(("own", "seconds"), [(0, 1), (10, 10)])
def test_retry_without_a_delay_waits_for_the_jobs_retry_delay_but_at_least_a_second(own: int, seconds: int) -> None:
    outcome = _raise(Retry(), job=Job({**JOB, "retry_delay_seconds": own}))
    assert outcome == {"new_status": "queued", "delay_seconds": seconds}
    assert str(Retry(hold=5)) == "again after its retry delay, and a hold of 5 s"


@pytest.mark.parametrize(("hold", "seconds"), [(30, 30), (timedelta(minutes=2), 120), (1e9, 86_400)])
def test_raising_retry_with_hold_holds_the_group_of_the_job(hold: Any, seconds: float) -> None:
    held = Retry(5, hold=hold)
    assert _raise(held) == {"new_status": "queued", "delay_seconds": 5, "hold_seconds": seconds}
    assert str(held) == f"again in 5 s, and a hold of {seconds:g} s"


def test_a_handler_that_returns_wait_for_adds_jobs_and_its_job_waits_for_these_jobs() -> None:
    after: list[Any] = []
    hooks = Hooks([], [lambda job, result: after.append(type(result))], [])
    child = NewJob({"n": 2}, uid="c", timeout_seconds=timedelta(minutes=1))
    outcome = _perform(lambda content, job: job.wait_for([child, {"n": 3}], on_dependency_failure="run"), hooks)
    children = outcome.pop("wait_for")
    assert outcome == {"new_status": "queued", "on_dependency_failure": "run"}
    assert children[0] == {"uid": "c", "timeout_seconds": 60, "content": {"n": 2}}
    assert (children[1]["content"], len(children[1]["uid"]), after) == ({"n": 3}, 36, [WaitFor])
    assert json.loads(encode_text(children)) == children


def test_children_that_json_can_not_represent_fail_the_job() -> None:
    outcome = _perform(lambda content, job: job.wait_for([{"n": object()}]))
    assert (outcome["new_status"], outcome["retry"]) == ("failed", False)
    assert outcome["error"].endswith("jobs to wait for that are not JSON: an object at wait_for[0].content.n")
    # A handler that forgot the list.
    assert _perform(lambda content, job: job.wait_for(NewJob({})))["error_type"] == "TypeError"  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [{"delay": -1}, {"hold": -1}, {"hold": float("nan")}])
def test_a_negative_delay_or_hold_of_a_retry_is_an_error(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="negative"):
        Retry(**wrong)


def test_a_delay_of_a_retry_that_is_no_number_is_an_error() -> None:
    wrong: Any = "the line is busy"
    with pytest.raises(TypeError, match="the delay of a Retry must be a number of seconds, not str"):
        Retry(wrong)


def test_raising_fail_fails_the_job_permanently_with_the_given_error() -> None:
    assert _raise(Fail("bad")) == FAILED


class _Mine(Exception):
    pass


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (ValueError("bad"), "ValueError"),
        (JSONDecodeError("bad", "", 0), "json.decoder.JSONDecodeError"),
        (Unavailable("away"), "Unavailable"),
        (_Mine(), f"{__name__}._Mine"),
    ],
)
def test_error_type_is_the_class_name_of_the_exception(error: Exception, name: str) -> None:
    assert _raise(error).get("error_type") == name


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt(), asyncio.CancelledError()])
def test_an_error_that_is_not_a_subclass_of_exception_fails_only_the_job(error: BaseException) -> None:
    assert _raise(error)["new_status"] == "failed"


def test_progress_of_a_cancelled_job_raises_cancelled_which_except_exception_does_not_catch() -> None:
    def handler(content: Any, job: RunningJob) -> str:
        try:
            job.progress(10)
        except Exception:
            return "caught"
        return "not raised"

    assert _perform(handler, cancelled=True) == {"new_status": "failed", "retry": False, "error": "cancelled"}
    assert not issubclass(Cancelled, Exception)


def test_progress_is_rounded_down() -> None:
    said: list[int] = []
    running = RunningJob("q", Job(JOB), said.append)
    running.progress(200 / 3)
    running.progress(100)
    assert said == [66, 100]


@pytest.mark.parametrize("percent", [-1, 100.5, float("nan"), True, "5"])
def test_invalid_progress_is_an_error_of_the_handler(percent: Any) -> None:
    changes = _perform(lambda content, job: job.progress(percent))
    assert "from 0 to 100" in changes["error"]


def test_hooks_run_before_and_after_the_handler_and_a_failing_hook_is_ignored() -> None:
    called: list[Any] = []

    def broken(job: RunningJob) -> None:
        called.append("broken")
        raise ValueError

    hooks = Hooks(
        [broken, lambda job: called.append(job.uid)],
        [lambda job, result: called.append(result)],
        [lambda job, error: called.append(str(error))],
    )

    assert _perform(lambda content, job: 42, hooks)["new_status"] == "complete"
    assert _raise(Fail("bad"), hooks) == FAILED
    assert called == ["broken", "u", 42, "broken", "u", "bad"]


@pytest.mark.parametrize("error", [Cancelled(), SystemExit(1), KeyboardInterrupt(), asyncio.CancelledError()])
def test_a_hook_that_raises_a_base_exception_is_ignored(error: BaseException) -> None:
    def broken(*arguments: Any) -> None:
        raise error

    assert _perform(lambda content, job: 42, Hooks([broken], [broken], [])) == {"new_status": "complete", "result": 42}
    assert _raise(Fail("bad"), Hooks([], [], [broken])) == FAILED


def test_a_hook_may_report_progress_of_a_job_that_was_cancelled() -> None:
    hooks = Hooks([], [], [lambda job, error: job.progress(50)])
    assert _raise(Fail("bad"), hooks, cancelled=True) == FAILED
