"""How a worker is set up."""

import logging
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from inspect import signature
from typing import Any

import pytest

from jobengine.client import AsyncJobEngine
from jobengine.worker import Worker
from jobengine.worker.schedules import with_queues

_URL = "http://127.0.0.1:1"


def _handle(content: Any, job: Any) -> None:
    pass


class _Task:
    def handle(self, content: Any, job: Any) -> None:
        pass


@pytest.mark.parametrize(("module", "ours"), [("worker", {"client", "worker"}), ("testing", {"testing"})])
def test_importing_the_worker_or_the_pytest_plugin_imports_nothing_of_the_server(module: str, ours: set[str]) -> None:
    code = f"import jobengine.{module}, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert not {name.partition(".")[0] for name in loaded} & {"twisted", "klein", "nacl", "zope", "werkzeug", "attr"}
    assert {name.split(".")[1] for name in loaded if name.startswith("jobengine.")} == ours


@pytest.mark.parametrize("wrong", [{"queues": []}, {"concurrency": 0}, {"wait": 0}, {"wait": 51}, {"grace": -1}])
def test_a_worker_with_impossible_settings_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="A worker needs"):
        Worker(wrong.pop("queues", ["q"]), url=_URL, **wrong)


@pytest.mark.parametrize(("name", "meant"), [("conurrency", "concurrency"), ("acess_key", "access_key")])
def test_the_error_for_a_mistyped_setting_suggests_the_right_name(name: str, meant: str) -> None:
    wrong: dict[str, Any] = {name: "5"}
    with pytest.raises(TypeError, match=f"^{name!r} is not known; did you mean {meant!r}"):
        Worker("q", url=_URL, **wrong)
    assert list(signature(Worker).parameters)[:2] == ["queues", "concurrency"]


@pytest.mark.parametrize("name", ["concurrency", "grace", "wait"])
def test_a_setting_of_another_type_is_refused_with_its_name(name: str) -> None:
    wrong: dict[str, Any] = {name: "5"}
    with pytest.raises(TypeError, match=f"^{name} must be a number, not str$"):
        Worker("q", url=_URL, **wrong)


def test_a_number_for_processes_is_refused_with_the_advice_to_use_concurrency() -> None:
    number: Any = 4
    with pytest.raises(TypeError, match=r"^processes must be True or False; concurrency is the number of jobs"):
        Worker("q", url=_URL, processes=number)


@pytest.mark.parametrize("tags", ["urgent", None])
def test_tags_of_a_worker_that_are_no_list_are_refused(tags: Any) -> None:
    with pytest.raises(TypeError, match=r"^tags must be a list of words, not one text$"):
        Worker("q", url=_URL, tags=tags)


@pytest.mark.parametrize(
    ("use", "error", "says"),
    [
        (lambda worker: worker.handler("p")(_handle), ValueError, "has a handler already"),
        (lambda worker: worker.handler("r"), ValueError, "does not work on the queue 'r'"),
        (lambda worker: worker.handler(_handle), TypeError, r"Write @worker\.handler\('p'\)"),
        (lambda worker: worker.run(), ValueError, r"'q' has no handler: .* @worker\.handler\('q'\)\.$"),
        (lambda worker: worker.schedule("n", cron="@daily", queue="r"), ValueError, "does not work on the queue 'r'"),
        (lambda worker: worker.schedule("n", crom="@daily"), TypeError, "did you mean 'cron'"),
    ],
)
def test_misusing_a_worker_raises_an_error_that_names_the_mistake(
    use: Callable[[Worker], object], error: type[Exception], says: str
) -> None:
    worker = Worker(["p", "q"], url=_URL)
    worker.handler("p")(_handle)
    with pytest.raises(error, match=says):
        use(worker)


@pytest.mark.parametrize("function", [lambda content: None, lambda: None, lambda content, job, more: None, _Task])
def test_a_handler_that_does_not_accept_content_and_job_is_refused(function: Any) -> None:
    with pytest.raises(TypeError, match="must take two arguments, the content and the job"):
        Worker(["q"], url=_URL).handler("q")(function)


@pytest.mark.parametrize("function", [_handle, _Task().handle, lambda *both: None, lambda a, b, c=1: None, max])
def test_any_callable_that_accepts_content_and_job_may_be_a_handler(function: Any) -> None:
    worker = Worker(["q"], url=_URL)
    assert worker.handler("q")(function) is function


def test_no_output_of_a_worker_has_a_key() -> None:
    worker = Worker("q", url=_URL, access_key="hush", keys={"q": "hush"})
    assert "hush" not in repr(worker) + repr(vars(worker))


# Schedules


@pytest.mark.parametrize(
    ("planned", "says"),
    [
        ([{"function": _Task}], "The function of the schedule 'n' handles no queue: name one with queue="),
        ([{"function": max}], "handles several queues"),
        ([{}, {}], "The queue 'p' has the schedule 'n' twice"),
        ([{}, {"queue": "p", "function": max}], "The queue 'p' has the schedule 'n' twice"),
    ],
)
def test_a_worker_whose_schedule_has_an_ambiguous_queue_or_exists_twice_does_not_start(
    planned: list[dict[str, Any]], says: str
) -> None:
    worker = Worker(["p", "q", "r"], url=_URL)
    worker.handler("p")(_handle)
    worker.handler("q", "r")(max)
    for one in planned:
        worker.schedule("n", cron="@daily", queue=one.get("queue"))(one.get("function", _handle))
    with pytest.raises(ValueError, match=says):
        worker.run_until_empty()


def test_a_schedule_belongs_to_the_queue_of_its_function_in_any_order_of_decorators() -> None:
    worker = Worker(["p", "q"], url=_URL)

    @worker.schedule("above", {"a": 1}, cron="@daily")
    @worker.handler("p")
    @worker.schedule("below", every_seconds=60)
    def work(content: Any, job: Any) -> None:
        pass

    worker.handler("q")(_handle)
    worker.schedule("other", cron="@daily", queue="q")(work)
    planned = with_queues(worker._schedules, worker._handlers)
    assert [(one.queue, one.name, one.content, one.options) for one in planned] == [
        ("p", "below", {}, {"every_seconds": 60}),
        ("p", "above", {"a": 1}, {"cron": "@daily"}),
        ("q", "other", {}, {"cron": "@daily"}),
    ]


@contextmanager
def _stopped_when_away(worker: Worker) -> Iterator[None]:
    """Stop the worker when it logs that no server answers."""

    class Stop(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "keeps trying" in record.getMessage():
                worker.stop()

    log, handler = logging.getLogger("jobengine.worker"), Stop()
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)


def test_a_signal_during_the_end_of_a_worker_makes_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted(AsyncJobEngine):
        async def __aexit__(self, *_: object) -> None:
            signal.raise_signal(signal.SIGINT)
            await super().__aexit__(*_)

    monkeypatch.setattr("jobengine.worker.worker.AsyncJobEngine", Interrupted)
    worker = Worker("q", url=_URL, access_key="k")
    worker.handler("q")(_handle)
    with _stopped_when_away(worker):
        worker.run()


def test_a_worker_with_a_schedule_can_be_stopped_while_no_server_answers(caplog: pytest.LogCaptureFixture) -> None:
    worker = Worker("q", url=_URL, access_key="k")
    worker.schedule("n", cron="@daily")(worker.handler("q")(_handle))
    with _stopped_when_away(worker):
        assert worker.run_until_empty() == 0
    assert [record.message for record in caplog.records if "keeps trying" in record.message]
