"""How a worker is set up."""

import subprocess
import sys
from typing import Any

import pytest

from jobengine.worker import Worker

_URL = "http://127.0.0.1:1"


def _handle(content: Any, job: Any) -> None:
    pass


class _Task:
    def handle(self, content: Any, job: Any) -> None:
        pass


def test_importing_the_worker_imports_no_module_of_the_server() -> None:
    code = "import jobengine.worker, sys; print(*sys.modules)"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )
    assert not {name.partition(".")[0] for name in loaded} & {"twisted", "klein", "nacl", "zope", "werkzeug", "attr"}
    ours = {name.split(".")[1] for name in loaded if name.startswith("jobengine.")}
    assert ours == {"client", "worker"}


def test_the_pytest_plugin_imports_no_other_module_of_jobengine() -> None:
    code = "import jobengine.testing, sys; print(*[name for name in sys.modules if name.startswith('jobengine')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["jobengine", "jobengine.testing"]


@pytest.mark.parametrize("wrong", [{"queues": []}, {"concurrency": 0}, {"wait": 0}, {"wait": 51}, {"grace": -1}])
def test_a_worker_with_impossible_settings_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="A worker needs"):
        Worker(wrong.pop("queues", ["q"]), url=_URL, **wrong)


def test_a_second_handler_for_a_queue_is_refused() -> None:
    worker = Worker(["q"], url=_URL)
    worker.handler("q")(_handle)
    with pytest.raises(ValueError, match="has a handler already"):
        worker.handler("q")(_handle)


@pytest.mark.parametrize("function", [lambda content: None, lambda: None, lambda content, job, more: None, _Task])
def test_a_handler_that_does_not_accept_content_and_job_is_refused(function: Any) -> None:
    with pytest.raises(TypeError, match="must take two arguments, the content and the job"):
        Worker(["q"], url=_URL).handler("q")(function)


@pytest.mark.parametrize("function", [_handle, _Task().handle, lambda *both: None, lambda a, b, c=1: None, max])
def test_any_callable_that_accepts_content_and_job_may_be_a_handler(function: Any) -> None:
    worker = Worker(["q"], url=_URL)
    assert worker.handler("q")(function) is function


def test_the_error_for_a_decorator_without_parentheses_shows_the_right_form() -> None:
    with pytest.raises(TypeError, match=r"Write @worker\.handler\('q'\)"):
        Worker(["q"], url=_URL).handler(_handle)  # type: ignore[arg-type]  # the mistake that is tried


def test_a_handler_for_a_queue_outside_the_worker_is_refused() -> None:
    with pytest.raises(ValueError, match="does not work on the queue 'p'"):
        Worker(["q"], url=_URL).handler("p")


def test_a_worker_with_a_queue_that_has_no_handler_does_not_start() -> None:
    worker = Worker(["p", "q"], url=_URL)
    worker.handler("p")(_handle)
    with pytest.raises(ValueError, match="'q' has no handler"):
        worker.run()


def test_no_output_of_a_worker_has_a_key() -> None:
    worker = Worker("q", url=_URL, access_key="hush", keys={"q": "hush"})
    assert "hush" not in repr(worker) + repr(vars(worker))
