"""
How much memory and disk does a job take? Run from the root: `python -m benchmarks.capacity`.

A daemon is given 200,000 jobs of each length, and restarted. Then the file is measured: no job was changed, so the file
has no garbage.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from .calls import converse
from .results import Results, Row, run_alone
from .servers import JobEngine
from .servers.jobengine import QUEUE, additions

JOBS = 200_000
#: Bytes of a content, as JSON.
LENGTHS = (100, 1024)


def measure(results: Results) -> None:
    """Measure jobs of each length; adds a row for each length to `results`."""
    for length in LENGTHS:
        with _server() as server:
            bare, empty = server.memory, server.size
            converse(server.port, [additions(QUEUE, JOBS, content=content(length))])
            added = (server.memory - bare) / JOBS
            server.again(signal.SIGTERM)
            again = (server.memory - bare) / JOBS
            disk = (server.size - empty) / JOBS
        results.rows.append(
            Row(
                f"a job of {length} bytes",
                f"{added:.0f} bytes of memory, {again:.0f} once read back; {disk:.0f} on disk",
            )
        )


def content(length: int) -> dict[str, str]:
    """A content of this many bytes of JSON."""
    return {"text": "x" * (length - len('{"text":""}'))}


@contextmanager
def _server() -> Iterator[JobEngine]:
    server = JobEngine()
    with server.running():
        yield server


if __name__ == "__main__":
    raise SystemExit(run_alone(measure))
