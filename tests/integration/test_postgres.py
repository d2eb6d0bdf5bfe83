"""Daemons on PostgreSQL: several on one database, and no loss when one of them or the database is killed."""

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from threading import Event, Thread
from typing import Any

import psycopg
import pytest
from attrs import define, field

from jobengine.engine.postgres.database import schema
from jobengine.engine.postgres.database.connection import connected
from tests.doubles import QUICK_KDF
from tests.machine_allows import SMALL_DISK, require
from tests.postgres import Cluster, Database, running
from tests.torture.disks import small_disk

from .conftest import MakeDaemon
from .daemons import READABLE, SECRET, STRACE, Client, Daemon, Reply, until
from .documents import blocks

#: The errors that a client raises if its server or connection is gone.
LOST = (OSError, HTTPException)


@pytest.fixture
def make_server(make_daemon: MakeDaemon, database: Database) -> Callable[..., Daemon]:
    """Makes a daemon on the database, which is empty."""
    database.clear(secret=SECRET.encode())

    def make(name: str = "home", **settings: str) -> Daemon:
        return make_daemon(name, settings={"DATABASE_URL": database.url, **settings})

    return make


def _migrate(daemon: Daemon, **settings: str) -> "subprocess.CompletedProcess[str]":
    command = [str(Path(sys.executable).with_name("jobengine")), "db", "migrate"]
    environment = {**daemon.environment, **settings}
    return subprocess.run(command, env=environment, check=False, capture_output=True, text=True)


def test_a_start_without_tables_exits_with_4_and_migrate_creates_the_tables(
    make_daemon: MakeDaemon,
    cluster: Cluster,
) -> None:
    url = cluster.make_database("bare")
    daemon = make_daemon(settings={"DATABASE_URL": url})
    assert daemon.run() == 4
    assert "jobengine db migrate" in daemon.errors
    for secret, code in ((SECRET, 0), (SECRET, 0), ("another", 3)):
        assert _migrate(daemon, SECRET=secret).returncode == code
    daemon.start()
    with daemon.client() as client:
        client.make_queue()
        assert client.add().status == 201
    assert daemon.stop() == 0


@pytest.mark.parametrize(
    ("settings", "code", "reason"),
    [
        ({"SECRET": "another"}, 3, "the SECRET is not the one this database was made with. It came from SECRET"),
        ({"SECRET": ""}, 2, "SECRET must be set with DATABASE_URL"),
        ({"DATABASE_URL": "postgresql://me:hunter2 too@db/jobs"}, 2, "with known parameters, and %20 for a space"),
        ({"DATABASE_URL": "host=/nowhere password=hunter2"}, 1, "No such file or directory. Is the server running"),
    ],
)
def test_wrong_settings_stop_the_start_and_the_reason_is_reported(
    make_server: Callable[..., Daemon], settings: dict[str, str], code: int, reason: str
) -> None:
    daemon = make_server(**settings)
    assert daemon.run() == code
    assert reason in daemon.log + daemon.errors
    assert "hunter2" not in daemon.log + daemon.errors


def test_the_error_for_a_database_user_without_rights_names_the_missing_right(
    make_daemon: MakeDaemon, cluster: Cluster
) -> None:
    url = cluster.make_database("closed")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE ROLE guest LOGIN")
        daemon = make_daemon(settings={"DATABASE_URL": url.replace("user=jobengine", "user=guest")})
        migrate = _migrate(daemon)
        assert (migrate.returncode, "permission denied for database closed" in migrate.stderr) == (1, True)
        assert 'run once: CREATE SCHEMA jobengine AUTHORIZATION "guest"' in migrate.stderr
        with connected(url) as owner:
            schema.migrate(owner, SECRET.encode(), QUICK_KDF)
        assert daemon.run() == 1
        assert "permission denied for schema jobengine" in daemon.log + daemon.errors
        connection.execute("GRANT USAGE ON SCHEMA jobengine TO guest")
        assert daemon.run() == 1
        assert "permission denied for table meta" in daemon.log + daemon.errors


def test_a_server_whose_role_has_exactly_the_documented_rights_works(make_daemon: MakeDaemon, cluster: Cluster) -> None:
    url = cluster.make_database("serving")
    with connected(url) as owner:
        schema.migrate(owner, SECRET.encode(), QUICK_KDF)
        owner.execute("CREATE ROLE jobengine_server LOGIN")
        (grants,) = blocks("docs/postgresql.md", "sql", "## A role that only serves")
        for grant in grants.splitlines():
            owner.execute(grant.encode())
        server = url.replace("user=jobengine", "user=jobengine_server")
        daemon = make_daemon(settings={"DATABASE_URL": server}).start()
        until("it is announced", lambda: f"with the PostgreSQL database serving at {cluster.path}" in daemon.log)
        with daemon.client() as client:
            client.make_queue()
            assert client.add().status == 201
            owner.execute("REVOKE USAGE ON ALL SEQUENCES IN SCHEMA jobengine FROM jobengine_server")
            until("it is not ready", lambda: client.ready().status == 503)
            assert "the role needs USAGE on the sequence batch" in client.ready().body.decode()
            assert "the database is not usable: the role needs USAGE on the sequence batch" in daemon.log
        daemon.stop()
        assert daemon.run() == 1
        assert daemon.log.splitlines()[-1].endswith("not usable: the role needs USAGE on the sequence batch")


def test_migrate_with_a_mistyped_address_exits_with_2_and_does_not_print_the_address(make_daemon: MakeDaemon) -> None:
    migrate = _migrate(make_daemon(settings={"DATABASE_URL": "postgresq://me:hunter2@db/jobs"}))
    assert (migrate.returncode, "DATABASE_URL must be like postgresql://" in migrate.stderr) == (2, True)
    assert "hunter2" not in migrate.stderr


def test_a_server_on_a_file_never_loads_the_driver(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(prefix=(*STRACE, *READABLE)).start()
    assert "psycopg" not in Path(f"/proc/{daemon.pid}/maps").read_text()


@define
class _ClientRecord:
    """The record of the answers that clients got."""

    attempted: set[str] = field(factory=set)
    added: set[str] = field(factory=set)
    #: How often claims returned each job with each lease: at most once.
    leases: Counter[tuple[str, str]] = field(factory=Counter)
    done: set[str] = field(factory=set)
    stop: Event = field(factory=Event)

    def work(self, daemon: Daemon, number: int) -> None:
        """Add, claim and complete jobs, whatever happens to the server."""
        at = 0
        while not self.stop.is_set():
            with suppress(*LOST), Client(daemon.port, sampled=True, timeout=15) as client:
                while not self.stop.is_set():
                    at += 1
                    self._round(client, f"{number:08x}-0000-4000-8000-{at:012x}")
            self.stop.wait(0.05)

    def _round(self, client: Client, uid: str) -> None:
        self.attempted.add(uid)
        if client.add(uid=uid).status in (200, 201):
            self.added.add(uid)
        taken = client.take()
        for job in taken.json["jobs"] if taken.status == 200 else ():
            self.leases[job["uid"], job["lease"]] += 1
            if client.change(job["uid"], lease=job["lease"], new_status="complete").status == 200:
                self.done.add(job["uid"])


@pytest.fixture
def book() -> Iterator[_ClientRecord]:
    book = _ClientRecord()
    yield book
    book.stop.set()


def _work(book: _ClientRecord, *daemons: Daemon) -> list[Thread]:
    workers = [Thread(target=book.work, args=(daemons[at % len(daemons)], at)) for at in range(4)]
    for worker in workers:
        worker.start()
    return workers


def _judge(book: _ClientRecord, workers: list[Thread], daemon: Daemon) -> None:
    """Check that every acknowledged job exists, that every job was requested, and that none was claimed twice."""
    book.stop.set()
    for worker in workers:
        worker.join()
    with daemon.client(timeout=60) as client:
        jobs = client.jobs()
    assert book.added <= jobs.keys() <= book.attempted
    assert {uid for uid in book.done if jobs[uid]["state"] != "complete"} == set()
    assert set(book.leases.values()) <= {1}
    holders = Counter(uid for uid, _ in book.leases)
    assert max(holders.values()) == 1, "a job was held twice, though no lease has run out"


def _progress(book: _ClientRecord) -> None:
    before = len(book.done)
    until("some more jobs are done", lambda: len(book.done) > before + 20)


def test_repeatedly_killing_one_of_two_servers_loses_nothing_and_no_job_is_held_twice(
    make_server: Callable[..., Daemon], book: _ClientRecord
) -> None:
    steady, killed = make_server("steady").start(), make_server("killed").start()
    with steady.client() as client:
        client.make_queue()
    workers = _work(book, steady, killed)
    for _ in range(2):
        _progress(book)
        killed.kill()
        killed.start()
    _progress(book)
    _judge(book, workers, steady)


def test_servers_continue_with_all_acknowledged_changes_after_the_database_was_killed(
    make_daemon: MakeDaemon, book: _ClientRecord
) -> None:
    # A cluster of its own: this test kills it, and other tests share theirs.
    with running() as cluster:
        database = Database.make(cluster, "killed")
        database.clear(secret=SECRET.encode())
        one, other = (make_daemon(name, settings={"DATABASE_URL": database.url}).start() for name in ("one", "other"))
        with one.client() as client:
            client.make_queue()
        workers = _work(book, one, other)
        _progress(book)
        cluster.stop(signal.SIGQUIT)
        with one.client() as client:
            until("it says that it is not ready", lambda: client.ready().status == 503)
            # The server can't read the metrics of queues, so they are missing.
            assert client.metric("jobengine_accepts_changes") == 0
        cluster.start()
        until("both are ready", lambda: one.is_ready() and other.is_ready())
        with one.client() as client:
            assert client.metric("jobengine_accepts_changes") == 1
        _progress(book)
        _judge(book, workers, other)
        assert (one.stop(), other.stop()) == (0, 0)
        assert "the database can't be reached: " in one.log
        assert "the database is reached again" in one.log
        # The driver's own log lines would only repeat the errors.
        assert "psycopg" not in one.log + other.log


def test_a_server_whose_database_is_frozen_ends_before_systemd_kills_it(
    make_server: Callable[..., Daemon], cluster: Cluster
) -> None:
    daemon = make_server().start()
    with daemon.client() as client:
        client.make_queue()
        client.claim()  # it makes the connection that the next claim uses
        claim = HTTPConnection("127.0.0.1", daemon.port)
        with cluster.frozen():
            claim.request("GET", "/api/v1/job/next?queueName=q", headers={"X-Access-Key": "key"})
            assert client.call("GET", "/test").status == 200
            assert daemon.stop(15) == 0
        with pytest.raises(LOST):
            claim.getresponse()
    assert "the database has not answered for 5 seconds: the server ends without closing its connections" in daemon.log


def test_a_failover_to_the_standby_loses_nothing_and_no_job_is_held_twice(
    make_daemon: MakeDaemon, book: _ClientRecord
) -> None:
    # Commits wait for the standby's answer; the servers know both hosts, and use the host that accepts changes.
    with running(synchronous_commit="remote_apply") as primary:
        database = Database.make(primary, "followed")
        database.clear(secret=SECRET.encode())
        with running(primary) as standby:
            _follow(primary, standby)
            hosts = f"{primary.path},{standby.path}"
            url = f"host={hosts} user=jobengine dbname=followed target_session_attrs=read-write"
            one, other = (make_daemon(name, settings={"DATABASE_URL": url}).start() for name in ("one", "other"))
            with one.client() as client:
                client.make_queue()
            workers = _work(book, one, other)
            _progress(book)
            with psycopg.connect(standby.url("postgres"), autocommit=True) as connection:
                _cut_off(connection)
                until("a commit waits for the standby", lambda: _waits_for_standby(primary))
                primary.stop(signal.SIGQUIT)
                connection.execute("SELECT pg_promote()")
            _progress(book)
            until("both are ready", lambda: one.is_ready() and other.is_ready())
            _judge(book, workers, other)
            assert (one.stop(), other.stop()) == (0, 0)


def _cut_off(standby: "psycopg.Connection[Any]") -> None:
    """Stop replication: a change that is acknowledged from now on would be lost when the standby takes over."""
    standby.execute("ALTER SYSTEM SET primary_conninfo = ''")
    standby.execute("SELECT pg_reload_conf()")
    following = "SELECT 1 FROM pg_stat_wal_receiver"
    until("it follows no more", lambda: standby.execute(following).fetchone() is None)


def _waits_for_standby(primary: Cluster) -> bool:
    with psycopg.connect(primary.url("postgres")) as connection:
        waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
        return connection.execute(waiting).fetchone() is not None


def _follow(primary: Cluster, standby: Cluster) -> None:
    """Make the primary wait for its standby at each commit."""
    with psycopg.connect(primary.url("postgres"), autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
        connection.execute("SELECT pg_reload_conf()")
        state = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'"
        until("it is followed", lambda: connection.execute(state).fetchone() == (1,))
    with psycopg.connect(standby.url("postgres")) as connection:
        assert connection.execute("SELECT pg_is_in_recovery()").fetchone() == (True,)


@pytest.fixture
def small(cluster: Cluster) -> Iterator[tuple[Path, Database]]:
    """A disk of a few megabytes, and a database on it."""
    require(SMALL_DISK)
    with small_disk(24 << 20) as place, psycopg.connect(cluster.url("postgres"), autocommit=True) as connection:
        (place / "space").mkdir()
        cluster.own(place / "space")
        connection.execute(f"CREATE TABLESPACE small LOCATION '{place / 'space'}'")
        yield place, Database.make(cluster, "small", "TABLESPACE small")
        connection.execute("DROP DATABASE small WITH (FORCE)")
        connection.execute("DROP TABLESPACE small")


def test_a_full_database_answers_changes_with_507_until_it_has_space(
    make_daemon: MakeDaemon, small: tuple[Path, Database]
) -> None:
    place, database = small
    database.clear(secret=SECRET.encode())
    filler = place / "filler"
    filler.write_bytes(bytes(4 << 20))
    daemon = make_daemon(settings={"DATABASE_URL": database.url}).start()
    # Random bytes, which can't be compressed.
    content = {"text": os.urandom(30_000).hex()}
    with daemon.client() as client:
        client.make_queue()
        replies: list[Reply] = []
        while not replies or replies[-1].status == 201:
            replies.append(client.add(content))
        assert replies[-1].status == 507
        assert "no room" in replies[-1].json["detail"]
        added = {reply.json["uid"] for reply in replies[:-1]}
        assert client.jobs().keys() == added
        filler.unlink()
        until("a change is made", lambda: client.add(content).status == 201)
        assert client.jobs().keys() > added
    assert daemon.stop() == 0
