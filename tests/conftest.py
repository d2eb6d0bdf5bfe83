import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from zope.interface import implementer

# So that failed assertions in these modules show their values.
pytest.register_assert_rewrite("tests.web.asking", "tests.http.connection", "tests.contract", "tests.pending")

from jobengine.daemon.settings import SETTINGS  # noqa: E402  # as below
from tests.doubles import MemoryServer, Stepped  # noqa: E402  # they import modules whose asserts pytest rewrites
from tests.kinds import Kind, OnFile, OnPostgres, run_until  # noqa: E402  # as above
from tests.machine_allows import pytest_terminal_summary  # noqa: E402, F401  # for all tests
from tests.postgres import cluster, database  # noqa: E402, F401  # for tests of the engine on PostgreSQL
from tests.processes import nothing_outlives_its_test, nothing_outlives_the_tests  # noqa: E402, F401  # for all tests

#: The variables with the width of a terminal, and whether it has colours.
_OF_TERMINALS = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add options of some tests: their own conftest is read too late to add options."""
    parser.addoption("--pictures", metavar="DIRECTORY", help="keep pictures of every page of the dashboard there")
    engines = ["file", "postgres"]
    parser.addoption("--engine", choices=engines, default="file", help="what servers in memory keep their jobs in")


# No test fails because its process was held up for a moment. Random tests draw the same examples in each run; with
# --hypothesis-profile=new they draw others.
settings.register_profile("same", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
settings.register_profile("new", settings.get_profile("same"), derandomize=False)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Leave out tests of a behaviour that the engine on a file has in another way, with the reason."""
    marker = item.get_closest_marker("only_on_a_file")
    if marker is not None and item.config.getoption("--engine") != "file":
        pytest.skip(f"on PostgreSQL {marker.args[0]}")


def pytest_configure(config: pytest.Config) -> None:
    """Remove settings of servers, clients and terminals from the environment, and reset SIGINT."""
    ours = {variable for setting in SETTINGS for variable in (setting.variable, setting.variable.removesuffix("_FILE"))}
    for name in [*os.environ]:
        if name in ours or name.startswith("JOBENGINE_") or name in _OF_TERMINALS:
            del os.environ[name]
    os.environ["TERM"] = "xterm"
    settings.load_profile(config.getoption("--hypothesis-profile", default=None) or "same")
    # A shell makes background processes ignore SIGINT, and so would the programs that tests start and interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _dumps_stay_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep tools that a test calls from forbidding core dumps of this process, which later tests could not undo."""
    monkeypatch.setattr("jobengine.tools.database_secret.forbid_dumps", lambda: None)


@implementer(ILogObserver)
class _Keeper:
    """Keeps the events of the log."""

    def __init__(self) -> None:
        self.events: list[LogEvent] = []

    def __call__(self, event: LogEvent) -> None:
        self.events.append(event)


@pytest.fixture(scope="session")
def kind_of_engine(request: pytest.FixtureRequest) -> Iterator[Kind]:
    """The engine of servers in memory: on a file or on PostgreSQL."""
    if request.config.getoption("--engine") == "file":
        yield OnFile()
        return
    on_postgres = OnPostgres(request.getfixturevalue("cluster"))
    yield on_postgres
    on_postgres.close()


@pytest.fixture
def start(kind_of_engine: Kind, tmp_path: Path) -> Iterator[Callable[..., MemoryServer]]:
    """Starts a server with a queue `q` whose key is `key`."""
    started: list[MemoryServer] = []

    def start(**parts: Any) -> MemoryServer:
        server = kind_of_engine.make(tmp_path / f"db{len(started)}", **parts)
        started.append(server)
        made: list[Any] = []
        admin = {"X-Admin-Key": server.admin_key.decode()} if server.admin_key else {}
        body = {"name": "q", "access_key": "key"}
        server.ask("PUT", "/api/v1/queue", body=body, key=None, headers=admin).addBoth(made.append)
        run_until(server, lambda: bool(made))
        assert made[0].status == 201
        return server

    yield start
    for server in started:
        kind_of_engine.end(server)


@pytest.fixture
def server(start: Callable[..., MemoryServer]) -> MemoryServer:
    return start()


@pytest.fixture
def stepped() -> Stepped:
    """A writer thread to be stepped by hand."""
    return Stepped()


@pytest.fixture
def events() -> Iterator[list[LogEvent]]:
    """All events of the log."""
    keeper = _Keeper()
    globalLogPublisher.addObserver(keeper)
    yield keeper.events
    globalLogPublisher.removeObserver(keeper)
