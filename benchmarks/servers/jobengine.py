"""JobEngine as a user runs it: `twistd jobengine` with its default settings, a SECRET, and its log in a file."""

import re
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from time import perf_counter

from attrs import define, field

from jobengine.daemon.settings import SETTINGS

from ..calls import (
    CONTENT,
    Connection,
    Conversation,
    add_many,
    claim_many,
    complete_many,
    converse,
    make_queue,
    request,
    uids_in,
)
from ..machine import SERVER_CORE, Effort, resident
from .server import Failed, Run, Server

_ROOT = Path(__file__).parents[2]
_COMMAND = [sys.executable, str(Path(sys.executable).with_name("twistd")), "--nodaemon", "--pidfile=", "jobengine"]
#: The daemon does not inherit these from the environment of the benchmark.
_VARIABLES = [*(setting.variable for setting in SETTINGS), "ADMIN_KEY", "ADMIN_KEY_FILE", "SECRET_FILE"]
_DEFAULTS = dict.fromkeys(_VARIABLES, "")
#: Connections for many jobs at a time: enough that the daemon never waits for the client.
_CONNECTIONS = 4
QUEUE = "bench"
_REQUESTS = re.compile(r"^jobengine_requests_total\{.*\} (\S+)$", re.MULTILINE)


@define(eq=False, kw_only=True)
class JobEngine(Server):
    """A daemon that can be started again on the same database."""

    name: str = "JobEngine"
    #: Environment variables beyond the necessary ones.
    settings: dict[str, str] = field(factory=dict)
    home: Path = Path()
    core: int = SERVER_CORE

    def start(self, home: Path) -> None:
        """Start the daemon with an empty queue "bench"."""
        self.home = home
        self.begin()
        self.ask(make_queue(QUEUE))

    def begin(self) -> float:
        """Start the daemon on the existing database; returns the seconds until it is ready."""
        least = {"PYTHONPATH": str(_ROOT), "API_PORT": str(self.port), "SECRET": "the secret of the benchmark"}
        settings = {**_DEFAULTS, **least, **self.settings}
        began = perf_counter()
        self.launch(_COMMAND, self.home, self._is_ready, environment=settings, core=self.core)
        return perf_counter() - began

    def again(self, how: signal.Signals) -> float:
        """End the daemon with a signal and start it again; returns the seconds until it is ready."""
        self._processes.pop().end(how)
        return self.begin()

    def _is_ready(self) -> bool:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        with suppress(OSError, HTTPException):
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        return False

    @property
    def memory(self) -> int:
        """The bytes of memory that the daemon uses."""
        return resident(self.pid)

    @property
    def compacts(self) -> bool:
        """Whether a compaction is running: then there is a second, new file."""
        return (self.home / "jobengine.jedb.new").exists()

    @property
    def size(self) -> int:
        """The length of the database file in bytes."""
        return (self.home / "jobengine.jedb").stat().st_size

    def ask(self, data: bytes) -> bytes:
        """The body of the answer to one request."""
        connection = Connection(self.port)
        try:
            return connection.ask(data)
        finally:
            connection.close()

    def metric(self, name: str) -> float:
        """One of the daemon's metrics."""
        found = re.search(rf"^{re.escape(name)} (\S+)$", self.ask(request("GET", "/metrics")).decode(), re.MULTILINE)
        if found is None:
            raise Failed(f"there is no metric {name}")
        return float(found[1])

    def requests(self) -> int:
        """How many requests have ended, not counting the one that reads this number."""
        text = self.ask(request("GET", "/metrics")).decode()
        return sum(int(float(number)) for number in _REQUESTS.findall(text))

    def singles(self, seconds: float) -> Run:
        """Add, claim and complete jobs one by one, by requests from wrk."""
        from ..wrk import lives

        return lives(self.port, seconds)

    def bulk(self, size: int, seconds: float) -> Run:
        """Add, claim and complete jobs, `size` in each request, over a few connections."""
        return self._talk(_lives, size, seconds)

    def adding(self, size: int, seconds: float) -> Run:
        """Only add jobs, `size` in each request, over a few connections."""
        return self._talk(_additions, size, seconds)

    def _talk(self, talk: Callable[[int, float, list[int]], Conversation], size: int, seconds: float) -> Run:
        done: list[int] = []
        with Effort.measured() as effort:
            deadline = perf_counter() + seconds
            converse(self.port, [talk(size, deadline, done) for _ in range(_CONNECTIONS)])
        return Run(sum(done) / effort.seconds, effort.share)


def _lives(size: int, deadline: float, done: list[int]) -> Conversation:
    """Add, claim and complete `size` jobs at a time until the deadline, at least once; record each time in `done`."""
    addition, claiming = add_many(QUEUE, size), claim_many(QUEUE, size)
    while True:
        yield addition
        uids = uids_in((yield claiming))
        answer = yield complete_many(QUEUE, uids)
        if len(uids) != size or answer.count(b'"status":200') != size:
            raise Failed(f"{len(uids)} of {size} jobs were claimed; the answer to completing them: {answer[:200]!r}")
        done.append(size)
        if perf_counter() >= deadline:
            return


def _additions(size: int, deadline: float, done: list[int]) -> Conversation:
    """Add `size` jobs at a time until the deadline, at least once; record each time in `done`."""
    addition = add_many(QUEUE, size)
    while True:
        yield addition
        done.append(size)
        if perf_counter() >= deadline:
            return


def additions(queue: str, jobs: int, size: int = 1_000, content: object = CONTENT) -> Conversation:
    """Requests that add this many jobs, a multiple of `size`, with `size` jobs in each."""
    addition = add_many(queue, size, content)
    for _ in range(jobs // size):
        yield addition
