"""
With each Python library for job queues, how many jobs a second go from one process to another?

Run from the root: `python -m benchmarks.contenders`. One process adds jobs that do nothing, and another does them at
the same time. The time runs from adding the first job to finishing the last one. A job is on disk before the call that
adds it returns. Each library is used in its own way: see benchmarks/lab-book.md, and the modules in
benchmarks/libraries.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from threading import Timer
from time import perf_counter
from typing import IO

from attrs import define, field, frozen

from .machine import directory, used
from .results import Results, rounds, run_alone
from .servers import Failed, JobEngine, PostgreSQL, RabbitMQ, Redis, Run, Server
from .servers.server import last_words

#: Jobs in a call of libraries that can add many at a time.
_BULK = 500
#: The threads of the adding process and of the working process: by default, and in runs with many threads.
_SOME, _MANY = 8, 32
#: Seconds to wait for the next line of a process; see play.py.
_PATIENCE = 120.0


@frozen
class Way:
    """One way of using a library."""

    #: The module in benchmarks/libraries.
    library: str
    #: The number of jobs: some seconds of work.
    jobs: int
    #: Threads that add.
    threads: int = _SOME
    #: Jobs added by one call.
    bulk: int = 1
    #: The most jobs that run at the same time.
    concurrency: int = _SOME

    def measured(self, server: Server) -> Run:
        """Start both processes, warm them up, and time the jobs that go from one to the other. Raises Failed."""
        with ExitStack() as stack:
            home = stack.enter_context(directory())
            adder = stack.enter_context(self._player("add", server, home))
            adder.hear("warm")
            worker = stack.enter_context(self._player("work", server, home))
            worker.hear("warm")
            before, began = adder.used() + worker.used(), perf_counter()
            adder.go()
            worker.hear("done")
            seconds = perf_counter() - began
            return Run(self.jobs / seconds, (adder.used() + worker.used() - before) / seconds)

    @contextmanager
    def _player(self, role: str, server: Server, home: Path) -> Iterator["Player"]:
        numbers = map(str, (server.port, self.threads, self.jobs, self.bulk, self.concurrency))
        player = Player([role, self.library, *numbers], home / role)
        try:
            yield player
        finally:
            player.stop()


@define(eq=False)
class Player:
    """A process with one part of a measurement, such as adding jobs; it runs until it is stopped."""

    arguments: Sequence[str]
    #: The file for the process's standard error.
    errors: Path
    module: str = "benchmarks.libraries.play"
    _process: "subprocess.Popen[str]" = field(init=False)

    def __attrs_post_init__(self) -> None:
        command = [sys.executable, "-m", self.module, *self.arguments]
        with self.errors.open("wb") as errors:
            self._process = subprocess.Popen(
                command,
                cwd=Path(__file__).parents[1],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
            )

    def hear(self, word: str) -> None:
        """Wait until the process prints `word`; raises Failed if it ends, prints something else, or takes too long."""
        line = self.line(_PATIENCE)
        if line != word:
            raise Failed(f"{' '.join(self.arguments[:2])} did not print {word!r}: {line} {last_words(self.errors)}")

    def line(self, patience: float) -> str:
        """The next line of the process; after `patience` seconds without one, kills it and returns an empty text."""
        timer = Timer(patience, self._kill)
        timer.start()
        try:
            return _pipe(self._process.stdout).readline().strip()
        finally:
            timer.cancel()

    def go(self) -> None:
        """Start the measured work of the process."""
        pipe = _pipe(self._process.stdin)
        pipe.write("\n")
        pipe.flush()

    def used(self) -> float:
        """The seconds of processor time that the process used, even if it has ended. Call this before `stop`."""
        return used(self._process.pid)

    def stop(self) -> None:
        """Kill the process: its work is done, and some libraries take long to shut down."""
        self._kill()
        self._process.communicate()

    def _kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe


def _large(library: str, jobs: int) -> Way:
    """Many threads in both processes, one job in a call."""
    return Way(library, jobs, threads=_MANY, concurrency=_MANY)


def _bulk(library: str, jobs: int) -> Way:
    """Many jobs in a call, and many threads that work."""
    return Way(library, jobs, threads=1, bulk=_BULK, concurrency=_MANY)


#: The server of each library, JobEngine's target ratio to it, and the ways of using it.
_CONTENDERS: Sequence[tuple[Server, float, Way, Way]] = (
    (Redis(name="RQ on Redis", library="rq"), 10, Way("rq", 800), _bulk("rq", 1_000)),
    (Redis(name="Celery on Redis", library="celery"), 10, Way("celery", 1_600), _large("celery", 1_600)),
    (Redis(name="Huey on Redis", library="huey"), 10, Way("huey", 3_200), _large("huey", 4_800)),
    (
        PostgreSQL(name="procrastinate on PostgreSQL", library="procrastinate"),
        10,
        Way("procrastinate", 800),
        _bulk("procrastinate", 1_000),
    ),
    (RabbitMQ(name="pika on a quorum queue", library="pika"), 3, Way("pika", 4_000), _large("pika", 4_800)),
)
#: The two ways of using JobEngine.
_OURS = Way("jobengine", 16_000), _bulk("jobengine", 20_000)
_WHATS = (
    f"one process adds, one works off: {_SOME} threads each, one job in a call",
    f"one process adds, one works off: many in a call or {_MANY} threads",
)


def measure(results: Results) -> None:
    """Measure each contender in each way of using it; adds a row for each to `results`."""
    servers = [server for server, *_ in _CONTENDERS]
    results.saw(*servers)
    results.versions += [f"{server.library} {version(server.library)}" for server in servers if not server.missing()]
    for number, what in enumerate(_WHATS):
        ours, *theirs = rounds(
            [(JobEngine(), _OURS[number].measured)]
            + [(server, ways[number].measured) for server, _, *ways in _CONTENDERS]
        )
        for outcome, (_, target, *_) in zip(theirs, _CONTENDERS, strict=True):
            results.compare(what, ours, outcome, target)


if __name__ == "__main__":
    raise SystemExit(run_alone(measure))
