"""
How many jobs a second go from one process to another, by the Python libraries that people use for it?

Run from the root: `python -m benchmarks.contenders`. One process adds jobs that do nothing, another works them off at
the same time; measured is from the first that is added to the last that is done. A job is on disk before the call that
adds it returns. Each library is used in its own way: see docs/performance.md, and the modules in benchmarks/libraries.
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

from .libraries.sizes import BULK, THREADS
from .machine import directory, used
from .results import Results, rounds, run_alone
from .servers import Failed, JobEngine, PostgreSQL, RabbitMQ, Redis, Run, Server
from .servers.server import last_words

_WHAT = f"one process adds, one works off: one in a call, {THREADS} threads"
#: Beside each library with many in a call, if it can; else with one.
_WHAT_BULK = f"one process adds, one works off: {BULK} in a call"
#: Seconds after which an end that says nothing is given up.
_PATIENCE = 120.0


@frozen
class Way:
    """How a library is used."""

    #: The module in benchmarks/libraries.
    library: str
    #: Some seconds of work.
    jobs: int
    bulk: int = 1

    @property
    def threads(self) -> int:
        """Those that add."""
        return 1 if self.bulk > 1 else THREADS

    def measured(self, server: Server) -> Run:
        """Start both ends, warm them, and time the jobs from one to the other. Raises Failed."""
        with ExitStack() as stack:
            home = stack.enter_context(directory())
            adder = stack.enter_context(self._end("add", server, home))
            adder.hear("warm")
            worker = stack.enter_context(self._end("work", server, home))
            worker.hear("warm")
            before, began = adder.used() + worker.used(), perf_counter()
            adder.go()
            worker.hear("done")
            seconds = perf_counter() - began
            return Run(self.jobs / seconds, (adder.used() + worker.used() - before) / seconds)

    @contextmanager
    def _end(self, role: str, server: Server, home: Path) -> Iterator["End"]:
        numbers = map(str, (server.port, self.threads, self.jobs, self.bulk))
        end = End([role, self.library, *numbers], home / role)
        try:
            yield end
        finally:
            end.stop()


@define(eq=False)
class End:
    """The process that adds, or the one that works off; it lives until it is stopped."""

    arguments: Sequence[str]
    #: Where what it says of errors is kept.
    errors: Path
    _process: "subprocess.Popen[str]" = field(init=False)

    def __attrs_post_init__(self) -> None:
        command = [sys.executable, "-m", "benchmarks.libraries.play", *self.arguments]
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
        """Wait until it says so; raises Failed if it ends or says nothing for too long."""
        timer = Timer(_PATIENCE, self._kill)
        timer.start()
        try:
            said = _pipe(self._process.stdout).readline().strip()
        finally:
            timer.cancel()
        if said != word:
            raise Failed(f"{' '.join(self.arguments[:2])} did not come to {word!r}: {said} {last_words(self.errors)}")

    def go(self) -> None:
        """Let it begin."""
        pipe = _pipe(self._process.stdin)
        pipe.write("\n")
        pipe.flush()

    def used(self) -> float:
        """The seconds of processor time that it has used; it is there until it is stopped, if only as a zombie."""
        return used(self._process.pid)

    def stop(self) -> None:
        """Kill it: some libraries take long to end in order, and nothing of it is needed any more."""
        self._kill()
        self._process.communicate()

    def _kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe


#: How each library adds one at a time, and what JobEngine is to be times as fast as it; how, if it can, it adds many.
_CONTENDERS: Sequence[tuple[Server, Way, float, Way | None]] = (
    (Redis(name="RQ on Redis", library="rq"), Way("rq", 800), 10, Way("rq", 1_000, BULK)),
    (Redis(name="Celery on Redis", library="celery"), Way("celery", 1_600), 10, None),
    (Redis(name="Huey on Redis", library="huey"), Way("huey", 3_200), 10, None),
    (
        PostgreSQL(name="procrastinate on PostgreSQL", library="procrastinate"),
        Way("procrastinate", 800),
        10,
        Way("procrastinate", 1_000, BULK),
    ),
    (RabbitMQ(name="pika on a quorum queue", library="pika"), Way("pika", 4_000), 3, None),
)
_OURS, _OURS_BULK = Way("jobengine", 16_000), Way("jobengine", 20_000, BULK)


def measure(results: Results) -> None:
    """Add a row for each contender, and another for JobEngine's `add_many` beside it."""
    servers = [server for server, *_ in _CONTENDERS]
    results.saw(*servers)
    results.versions += [f"{server.library} {version(server.library)}" for server in servers if not server.missing()]
    bulks = [(server, way) for server, *_, way in _CONTENDERS if way]
    ours, ours_bulk, *theirs = rounds(
        [(JobEngine(), _OURS.measured), (JobEngine(), _OURS_BULK.measured)]
        + [(server, way.measured) for server, way, *_ in _CONTENDERS]
        + [(server, way.measured) for server, way in bulks]
    )
    singles, many = theirs[: len(servers)], theirs[len(servers) :]
    by_name = {outcome.name: outcome for outcome in singles + many}
    for outcome, (_, _, target, _) in zip(singles, _CONTENDERS, strict=True):
        results.compare(_WHAT, ours, outcome, target)
    for outcome, (_, _, target, _) in zip(singles, _CONTENDERS, strict=True):
        results.compare(_WHAT_BULK, ours_bulk, by_name[outcome.name], target)


if __name__ == "__main__":
    raise SystemExit(run_alone(measure))
