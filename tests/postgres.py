"""A PostgreSQL for the tests: a cluster in a temporary directory, reached by a Unix socket."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest
from attrs import define, field

from jobengine.engine.postgres.database.connection import connected
from jobengine.engine.postgres.database.encryption import SealedKey, new_key
from jobengine.engine.postgres.database.pipeline import Row
from jobengine.engine.postgres.database.schema import migrate
from tests.doubles import QUICK_KDF, SECRET

#: The tables of a database, without meta.
TABLES = (
    "queue",
    "job",
    "tag",
    "unique_key",
    "tally",
    "lane_commit",
    "event",
    "gone",
    "clock",
    "claimers",
    "history",
    "item",
    "grp",
    "dependency",
    "ended",
    "batch_tally",
    "failure",
)
#: The SQL expression that reads the simulated clock of `Pretended`.
PRETENDED: Final = "(SELECT at FROM pretended)"
#: Settings of a small cluster, which syncs like any other.
SETTINGS = {
    "listen_addresses": "",
    "shared_buffers": "32MB",
    "max_connections": "60",
    "autovacuum_naptime": "10",
    "log_min_messages": "panic",
}


def is_installed() -> bool:
    """Whether there is a PostgreSQL."""
    return shutil.which("initdb") is not None or any(Path("/usr/lib/postgresql").glob("*/bin/initdb"))


def _programs() -> Path:
    """The directory with the programs of the newest installed PostgreSQL; on Debian it is not on the PATH."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    assert versions, "PostgreSQL is not installed: see tests/debian-packages.txt"
    return versions[-1].parent


@define
class Cluster:
    """A running PostgreSQL; databases are made in it."""

    path: Path
    #: Settings in addition to SETTINGS.
    settings: Mapping[str, str] = field(factory=dict)
    #: Environment variables in addition to the tests' own.
    environment: Mapping[str, str] = field(factory=dict)
    _server: "subprocess.Popen[bytes] | None" = field(default=None, init=False)

    @property
    def port(self) -> str:
        return self.settings.get("port", "5432")

    def url(self, name: str) -> str:
        return f"host={self.path} port={self.port} user=jobengine dbname={name}"

    def own(self, path: Path) -> None:
        """Give a file or directory to the user that PostgreSQL runs as."""
        if os.getuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.chown(path, nobody.pw_uid, nobody.pw_gid)

    def make(self) -> None:
        self.path.chmod(0o755)
        self.own(self.path)
        options = ("-U", "jobengine", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-instructions")
        subprocess.run(
            self._command("initdb", "-D", str(self.path / "data"), *options), check=True, capture_output=True
        )

    @property
    def socket(self) -> Path:
        return self.path / ".s.PGSQL.5432"

    def start(self) -> None:
        every = {**SETTINGS, **self.settings}
        settings = [part for name, value in every.items() for part in ("-c", f"{name}={value}")]
        # Only PostgreSQL gets the environment: files that setpriv makes with a preloaded library would belong to root.
        environment = (f"{name}={value}" for name, value in self.environment.items())
        program = str(_programs() / "postgres")
        command = self.as_its_user(
            "env", *environment, program, "-D", str(self.path / "data"), "-k", str(self.path), *settings
        )
        until = time.monotonic() + 30
        while True:
            if self._server is None or self._server.poll() is not None:
                # After a kill it does not start until all old processes are gone.
                self._server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                psycopg.connect(self.url("postgres")).close()
            except psycopg.OperationalError:
                assert time.monotonic() < until
                time.sleep(0.02)
            else:
                return

    def make_standby(self, primary: "Cluster") -> None:
        """A standby: a copy of this cluster that follows its changes."""
        self.path.chmod(0o755)
        self.own(self.path)
        source = primary.url("postgres")
        subprocess.run(
            self._command("pg_basebackup", "-R", "-c", "fast", "-D", str(self.path / "data"), "-d", source), check=True
        )

    def make_database(self, name: str, how: str = "") -> str:
        """A new database, without tables, with options of CREATE DATABASE; returns its URL."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} {how}")
        return self.url(name)

    def stop(self, how: int = signal.SIGINT) -> None:
        """SIGINT ends all connections and stops it in order; SIGQUIT stops it as a crash would."""
        if self._server is not None:
            self._server.send_signal(how)
            self._server.wait(30)
            self._server = None

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Inside, its processes neither run nor end, as on a frozen host."""
        assert self._server is not None
        pid = self._server.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        processes = [pid, *map(int, children)]
        for process in processes:
            os.kill(process, signal.SIGSTOP)
        try:
            yield
        finally:
            for process in processes:
                os.kill(process, signal.SIGCONT)

    def _command(self, program: str, *arguments: str) -> list[str]:
        """A command line for a program; PostgreSQL refuses to be run by root."""
        return self.as_its_user(str(_programs() / program), *arguments)

    def as_its_user(self, *command: str) -> list[str]:
        """The command as the user that PostgreSQL runs as, who may read the files of the cluster."""
        as_nobody = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
        return [*as_nobody, *command] if os.getuid() == 0 else [*command]


@define
class Database:
    """A database with the tables of JobEngine."""

    url: str

    @classmethod
    def make(cls, cluster: Cluster, name: str, how: str = "") -> "Database":
        database = cls(cluster.make_database(name, how))
        with connected(database.url) as connection:
            migrate(connection, SECRET, QUICK_KDF)
        return database

    def clear(self, secret: bytes | None = None) -> None:
        """Remove all queues and jobs, and take another SECRET."""
        with connected(self.url, interval=True) as connection, connection.transaction():
            connection.execute(
                "; ".join([*(f"DELETE FROM {table}" for table in TABLES), "UPDATE meta SET ahead = 0, undone = 0"])
            )
            if secret is not None:
                self._rekey(connection, new_key(secret, QUICK_KDF))

    def _rekey(self, connection: "psycopg.Connection[Row]", key: SealedKey) -> None:
        connection.execute("UPDATE meta SET salt = %s, sealed = %s", [key.salt, key.sealed])


class Pretended:
    """A clock for a database, set by a test, and a connection with which the test reads the database."""

    def __init__(self, url: str) -> None:
        options = "-c search_path=jobengine -c synchronous_commit=off"
        self.connection: psycopg.Connection[Any] = psycopg.connect(url, autocommit=True, options=options)
        self.connection.execute("CREATE TABLE IF NOT EXISTS pretended (at bigint)")
        self.connection.execute("DELETE FROM pretended")
        self.connection.execute("INSERT INTO pretended VALUES (0)")

    def tell(self, seconds: float) -> None:
        """Set the clock."""
        self.connection.execute("UPDATE pretended SET at = %s", [int(seconds * 1000)])


def until_waiting(connection: "psycopg.Connection[Any]", count: int) -> None:
    """Return when this many connections to the database wait for a lock."""
    waiting = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    for _ in range(20_000):
        if len(connection.execute(waiting).fetchall()) >= count:
            return
        connection.execute("SELECT pg_sleep(0.001), pg_stat_clear_snapshot()")
    raise AssertionError(f"there were never {count} connections that waited for a lock")


@contextmanager
def running(
    primary: Cluster | None = None, environment: Mapping[str, str] | None = None, /, **settings: str
) -> Iterator[Cluster]:
    """A running cluster with these settings, or a standby of `primary`; it is removed at the end."""
    path = Path(tempfile.mkdtemp(prefix="je-pg-"))
    made = Cluster(path, settings, environment or {})
    try:
        if primary is None:
            made.make()
        else:
            made.make_standby(primary)
        made.start()
        yield made
    finally:
        # Its files are removed: none needs to be synced.
        made.stop(signal.SIGQUIT)
        shutil.rmtree(path)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """One cluster for all tests of a process."""
    # Autovacuum would hold a snapshot and renew statistics at unpredictable times.
    with running(autovacuum="off") as made:
        yield made


@pytest.fixture(scope="module")
def database(cluster: Cluster, request: pytest.FixtureRequest) -> Database:
    """One database for the tests of a module, which clear it."""
    return Database.make(cluster, request.module.__name__.replace(".", "_"))
