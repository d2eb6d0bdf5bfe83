"""
Pytest fixtures for programs that use JobEngine; pytest finds them by itself.

`jobengine_server` is the real daemon, started once in a session; each test begins without queues. JobEngine is imported
only for tests that use the fixture.
"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from .client import JobEngine, Queue

__all__ = ["Server", "jobengine_daemon", "jobengine_server"]

_ACCESS_KEY: Final = "access key of the tests"
_ADMIN_KEY: Final = "admin key of the tests"
_TWISTD: Final = (sys.executable, "-c", "from twisted.scripts.twistd import run; run()")
_LISTENS: Final = re.compile(r"JobSite starting on (\d+)")
#: Seconds for the daemon to start, and to stop.
_DEADLINE: Final = 30.0


class Server:
    """A daemon that listens on a free port of the loopback interface, and its keys."""

    #: Opens every queue that `queue` creates.
    access_key = _ACCESS_KEY
    admin_key = _ADMIN_KEY

    def __init__(self, url: str) -> None:
        self.url = url
        self._engines: list[JobEngine] = []

    def engine(self) -> "JobEngine":
        """A client with the admin key, which is closed after the test."""
        from .client import JobEngine

        engine = JobEngine(self.url, access_key=self.access_key, admin_key=self.admin_key)
        self._engines.append(engine)
        return engine

    def queue(self, name: str) -> "Queue":
        """A new, empty queue, which is deleted after the test."""
        queue = self.engine().queue(name)
        queue.create()
        return queue

    def close(self) -> None:
        """Close the clients."""
        for engine in self._engines:
            engine.close()


@pytest.fixture(scope="session")
def jobengine_daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The daemon, started once for the whole session."""
    home = tmp_path_factory.mktemp("jobengine")
    # Power cuts do not matter to tests, which are faster without syncs.
    settings = {"API_PORT": "0", "SECRET": "the secret of the tests", "ADMIN_KEY": _ADMIN_KEY, "DURABILITY": "interval"}
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "HOME", "LANG") if name in os.environ}
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603  # a command of its own
            [*_TWISTD, "--nodaemon", "--pidfile=", "jobengine"],
            cwd=home,
            env={**kept, **settings},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        with closing(Server(f"http://127.0.0.1:{_port(process, home / 'log')}")) as server:
            yield server
    finally:
        _stop(process)


@pytest.fixture
def jobengine_server(jobengine_daemon: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """
    The daemon, without queues when the test begins; the test's queues are deleted at its end.

    Clients and workers without arguments connect to it, through environment variables.
    """
    monkeypatch.delenv("JOBENGINE_PROFILE", raising=False)
    monkeypatch.setenv("JOBENGINE_URL", jobengine_daemon.url)
    monkeypatch.setenv("JOBENGINE_ACCESS_KEY", _ACCESS_KEY)
    monkeypatch.setenv("JOBENGINE_ADMIN_KEY", _ADMIN_KEY)
    with closing(Server(jobengine_daemon.url)) as server:
        yield server
        engine = server.engine()
        for queue in engine.queues():
            engine.queue(queue.name).remove()


def _port(process: "subprocess.Popen[bytes]", log: Path) -> int:
    deadline = time.monotonic() + _DEADLINE
    while (found := _LISTENS.search(log.read_text())) is None:
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"JobEngine did not start; its log says:\n{log.read_text()[-4000:]}")
        time.sleep(0.02)
    return int(found[1])


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(_DEADLINE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
