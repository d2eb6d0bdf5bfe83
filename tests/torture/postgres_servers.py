"""Daemons on one PostgreSQL; daemons, backends and the postmaster can be killed."""

import os
import random
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import psycopg
from attrs import define

from tests.integration.daemons import SECRET, Daemon, free_port, until
from tests.postgres import Cluster, Database, is_installed, running

from .trials import NotHere

#: What can be killed.
KINDS: Final = ("daemon", "backend", "postmaster")
_BACKENDS: Final = (
    "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() "
    "AND datname = current_database()"
)


@define
class Servers:
    """A database and its daemons."""

    cluster: Cluster
    database: Database
    daemons: list[Daemon]

    def kill(self, kind: str, chance: random.Random) -> None:
        """Kill a daemon, a backend or the postmaster, and start it again."""
        match kind:
            case "daemon":
                daemon = chance.choice(self.daemons)
                daemon.kill()
                daemon.launch()
            case "backend":
                # The postmaster then ends all other backends, and recovers.
                with psycopg.connect(self.database.url) as connection:
                    pids = [pid for (pid,) in connection.execute(_BACKENDS)]
                os.kill(chance.choice(pids), signal.SIGKILL)
            case _:
                self.cluster.stop(signal.SIGKILL)
                self.cluster.start()

    def wait(self) -> None:
        """Wait until all daemons are ready again."""
        # A daemon reports that it is ready until it notices that the database is down: so check the database first.
        until("the database answers", self._answers, 60)
        until("all are ready", lambda: all(_is_ready(daemon) for daemon in self.daemons), 60)

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.database.url).close()
        except psycopg.OperationalError:
            return False
        return True


def _is_ready(daemon: Daemon) -> bool:
    try:
        return daemon.is_ready()
    except OSError:
        return False


@contextmanager
def on_postgres(folder: Path, number: int) -> Iterator[Servers]:
    """A PostgreSQL with this many daemons, which are not started yet; raises NotHere."""
    if not is_installed():
        raise NotHere("PostgreSQL is not installed")
    with running() as cluster:
        database = Database.make(cluster, "killed")
        database.clear(secret=SECRET.encode())
        settings = {"DATABASE_URL": database.url, "LOG_REQUESTS": "errors"}
        daemons = [Daemon(folder / f"home {at}", {**settings, "API_PORT": str(free_port())}) for at in range(number)]
        try:
            yield Servers(cluster, database, daemons)
        finally:
            for daemon in daemons:
                daemon.kill()
