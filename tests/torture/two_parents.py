"""
Again and again, two servers on one PostgreSQL complete at the same moment the two jobs on which a third depends.

Each time the third job must be released, whichever server commits first, and the database must see no deadlock.
"""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import psycopg
from attrs import frozen

from .crew import Caller, require
from .postgres_servers import on_postgres
from .trials import Tally

QUEUE: Final = "pairs"
#: Pairs that are added at a time.
_ADDED: Final = 100
_DEADLOCKS: Final = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"


def _uid(kind: int, number: int) -> str:
    return f"0000000{kind}-0000-4000-8000-{number:012}"


def _jobs(number: int) -> list[dict[str, Any]]:
    """Two jobs, and one that depends on both."""
    parents = [_uid(1, number), _uid(2, number)]
    return [*({"content": {}, "uid": uid} for uid in parents), {"content": {}, "depends_on": parents}]


def _complete(port: int, kind: int, pairs: int, together: threading.Barrier, wrong: list[object]) -> None:
    """Complete one job of each pair, at the same time as the other thread."""
    with Caller(port, timeout=60.0) as client:
        for number in range(pairs):
            together.wait(60)
            reply = client.update(_uid(kind, number), "complete", QUEUE)
            if reply.status != 200:
                wrong.append(reply)


@frozen
class TwoParents:
    """A trial: one PostgreSQL, two servers, and a number of pairs."""

    pairs: int = 500
    name: str = "two parents, PostgreSQL"

    def run(self, seed: int, folder: Path, tally: Tally) -> None:
        with on_postgres(folder, 2) as servers:
            for daemon in servers.daemons:
                daemon.start()
            ports = [daemon.port for daemon in servers.daemons]
            self._add(ports[0])
            wrong = self._complete_all(ports)
            require(not wrong, f"completions were refused: {wrong[:3]}")
            with Caller(ports[0], timeout=60.0) as client:
                stats = client.call("GET", "/api/v1/queue/stats", query={"name": QUEUE}).json
            require(stats["ready"] == self.pairs, f"{self.pairs} jobs are released, but the stats are {stats}")
            with psycopg.connect(servers.database.url) as connection:
                row = connection.execute(_DEADLOCKS).fetchone()
            require(row == (0,), f"the database saw {row} deadlocks")
        tally.operations += 2 * self.pairs

    def _add(self, port: int) -> None:
        with Caller(port, timeout=60.0) as client:
            client.make_queue(QUEUE)
            for start in range(0, self.pairs, _ADDED):
                numbers = range(start, min(start + _ADDED, self.pairs))
                jobs = [job for number in numbers for job in _jobs(number)]
                require(client.add_many(jobs, QUEUE).status == 201, "new jobs were refused")

    def _complete_all(self, ports: Sequence[int]) -> list[object]:
        together, wrong = threading.Barrier(2), list[object]()
        threads = [
            threading.Thread(target=_complete, args=(port, kind, self.pairs, together, wrong))
            for kind, port in enumerate(ports, 1)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return wrong
