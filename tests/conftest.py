import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from zope.interface import implementer

# So that what fails in them is shown with its values.
pytest.register_assert_rewrite("tests.web.asking", "tests.http.connection")

from jobengine.daemon.settings import SETTINGS  # noqa: E402  # as below
from tests.doubles import MemoryServer, Stepped  # noqa: E402  # they import modules whose asserts pytest rewrites
from tests.postgres import cluster, database  # noqa: E402, F401  # for tests of the engine on PostgreSQL
from tests.processes import nothing_outlives_its_test, nothing_outlives_the_tests  # noqa: E402, F401  # for all tests

#: What says of a terminal how wide it is, and whether it has colours.
_OF_TERMINALS = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE")


def pytest_addoption(parser: pytest.Parser) -> None:
    """An option of the tests of the dashboard, which are found too late to have one of their own."""
    parser.addoption("--pictures", metavar="DIRECTORY", help="keep pictures of every page of the dashboard there")


def pytest_configure() -> None:
    """Set aside what the environment says of a server, a client, a terminal or signals: tests set it."""
    ours = {variable for setting in SETTINGS for variable in (setting.variable, setting.variable.removesuffix("_FILE"))}
    for name in [*os.environ]:
        if name in ours or name.startswith("JOBENGINE_") or name in _OF_TERMINALS:
            del os.environ[name]
    os.environ["TERM"] = "xterm"
    # In the background of a shell it is ignored, also by programs that a test starts and interrupts.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@implementer(ILogObserver)
class _Keeper:
    """Keeps what is logged."""

    def __init__(self) -> None:
        self.events: list[LogEvent] = []

    def __call__(self, event: LogEvent) -> None:
        self.events.append(event)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., MemoryServer]]:
    """Starts a server with a queue `q` that `key` opens."""
    started: list[MemoryServer] = []

    def start(**parts: Any) -> MemoryServer:
        server = MemoryServer(tmp_path / f"db{len(started)}", **parts)
        started.append(server)
        made: list[Any] = []
        admin = {"X-Admin-Key": server.admin_key.decode()} if server.admin_key else {}
        body = {"name": "q", "access_key": "key"}
        server.ask("PUT", "/api/v1/queue", body=body, key=None, headers=admin).addBoth(made.append)
        while not made:
            step = getattr(server.engine.thread, "step", None)
            server.pump()
            if step is not None and not made:
                step()
        assert made[0].status == 201
        return server

    yield start
    for server in started:
        # A stream that is still open is ended here, and not when the collector comes by.
        server.engine.release()
        server.pump()
        server.engine.journal.close(orderly=False)


@pytest.fixture
def server(start: Callable[..., MemoryServer]) -> MemoryServer:
    return start()


@pytest.fixture
def stepped() -> Stepped:
    """A writer thread to be stepped by hand."""
    return Stepped()


@pytest.fixture
def events() -> Iterator[list[LogEvent]]:
    """Whatever is logged."""
    keeper = _Keeper()
    globalLogPublisher.addObserver(keeper)
    yield keeper.events
    globalLogPublisher.removeObserver(keeper)
