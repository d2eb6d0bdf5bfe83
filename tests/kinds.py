"""The kinds of engine on which servers in memory are tried."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from attrs import define, field
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import Clock

from jobengine.engine.postgres.engine import PostgresEngine
from tests.doubles import SECRET, AtOnce, CountedIds, MemoryServer, new_clock
from tests.postgres import PRETENDED, Cluster, Database, Pretended


class Kind(Protocol):
    """Makes servers on one kind of engine, and ends them."""

    def make(self, path: Path, **parts: Any) -> MemoryServer: ...

    def end(self, server: MemoryServer) -> None: ...


class OnFile:
    """Servers on a file."""

    def make(self, path: Path, **parts: Any) -> MemoryServer:
        return MemoryServer(path, **parts)

    def end(self, server: MemoryServer) -> None:
        # End open streams now, and not when the garbage collector finds them.
        server.engine.release()
        server.pump()
        server.engine.journal.close(orderly=False)


@define
class OnPostgres:
    """Servers on PostgreSQL: each has a database, which uses the server's simulated clock."""

    cluster: Cluster
    #: The databases by name, and the time of each.
    _databases: dict[str, tuple[Database, Pretended]] = field(factory=dict, init=False)

    def make(self, path: Path, **parts: Any) -> MemoryServer:
        database, time = self._database(path.name)
        database.clear()
        clock = parts.setdefault("clock", new_clock())
        clock.told.append(time.tell)
        time.tell(clock.seconds())
        return MemoryServer(path, make=lambda _path, **its: _engine(database.url, **its), **parts)

    def end(self, server: MemoryServer) -> None:
        stopped = ensureDeferred(server.engine.stop())
        run_until(server, lambda: stopped.called)

    def close(self) -> None:
        """Close all connections; all servers have ended."""
        for _, time in self._databases.values():
            time.connection.close()

    def _database(self, name: str) -> tuple[Database, Pretended]:
        if name not in self._databases:
            database = Database.make(self.cluster, name)
            self._databases[name] = (database, Pretended(database.url))
        return self._databases[name]


def _engine(url: str, *, clock: Clock, **parts: Any) -> PostgresEngine:
    """An engine on PostgreSQL, from the parts for an engine on a file; parts that only a file needs are ignored."""
    thread = parts.get("thread") or AtOnce()
    return PostgresEngine(
        url=url,
        secret=lambda: SECRET,
        thread=lambda _name: thread,
        clock=clock,
        new_id=parts.get("new_id") or CountedIds(),
        time=PRETENDED,
        interval=bool(parts.get("sync_interval")),
    )


def run_until(server: MemoryServer, done: Callable[[], bool]) -> None:
    """Make all due calls, and step the server's stepped threads, until `done` is true."""
    step = getattr(server.engine_parts.get("thread"), "step", None)
    for _ in range(100):
        server.pump()
        if done():
            return
        if step is not None:
            step()
    raise AssertionError("it never came to an end")
