"""docs/postgresql.md and docs/operate-postgresql.md: their commands work, and what they say about the database is
true."""

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from shlex import quote
from threading import Barrier
from typing import Any

import psycopg
import pytest

from jobengine.core import commands as c
from jobengine.core.model import Defaults
from jobengine.daemon.service import Exit
from jobengine.engine.ids import new_uuid
from jobengine.engine.postgres.batch.session import Session
from jobengine.engine.postgres.database import schema
from jobengine.engine.postgres.database.connection import connected
from jobengine.engine.postgres.database.rows import Rows
from jobengine.engine.postgres.stats import ServerActivity
from jobengine.engine.postgres.transfer import contents
from jobengine.storage.errors import NotADatabase, StorageError
from tests.doubles import QUICK_KDF
from tests.doubles import SECRET as SEALED
from tests.postgres import Cluster, Database, running

from .conftest import MakeDaemon, make_certificate
from .daemons import ROOT, SECRET, free_port, until
from .documents import blocks, services_of_compose, shell
from .shells import BIN

CONTENT = b'{"text":"secret contents"}'
#: A double of docker-compose, which runs the commands for the service postgres here.
COMPOSE = """\
#!/bin/sh
[ "$1 $2" = "--profile cluster" ] || exit 9
case "$3 $4 $5" in
    "stop one two" | "start one two") exit ;;
    "exec -T postgres") shift 5; exec "$@" ;;
esac
exit 9
"""


def _page(home: Path, url: str, heading: str, *which: int) -> str:
    """The commands under a heading of the page, for a database and files of ours."""
    found = blocks("docs/postgresql.md", heading=heading)
    code = "\n".join(found[at] for at in which)
    code = re.sub("DATABASE_URL=.*", f"DATABASE_URL={quote(url)}", code)
    return code.replace("/etc/jobengine", str(home)).replace("/var/lib/jobengine", str(home))


def test_jobs_and_leases_move_to_postgresql_and_back_as_documented(make_daemon: MakeDaemon, cluster: Cluster) -> None:
    url = cluster.make_database("moved")
    first = make_daemon("first").start()
    (first.home / "secret").write_text(SECRET)
    with first.client() as client:
        client.make_queue()
        client.add({"number": 1})
        held = client.claim().json
        client.add({"number": 2})
    assert first.stop() == 0

    def run(*steps: str) -> None:
        environment = {"PATH": f"{BIN}:{os.environ['PATH']}", "HOME": str(first.home)}
        done = shell("\n".join(steps), first.home, environment)
        assert (done.returncode, SECRET in done.stdout + done.stderr) == (0, False), done.stderr

    setting_up = _page(first.home, url, "## Set it up", 0)
    run(setting_up, _page(first.home, url, "## Move, without losing a lease", 0, 1))
    assert not (first.home / "jobengine.jedb").exists()
    servers = [make_daemon(name, settings={"DATABASE_URL": url}).start() for name in ("second", "third")]
    with servers[0].client() as client:
        assert client.read(held["uid"]).json["lease_expires"] == held["lease_expires"]
        other = client.claim().json
    assert [server.stop() for server in servers] == [0, 0]
    run(setting_up, _page(first.home, url, "## Move, without losing a lease", 2))
    (renaming,) = re.findall("`(ALTER SCHEMA .*)`", (ROOT / "docs/postgresql.md").read_text())
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute(renaming.encode())
    assert servers[0].run() == Exit.UNREADABLE
    last = make_daemon("last", settings={"DB_PATH": str(first.home / "moved.jedb")}).start()
    with last.client() as client:
        for job in (held, other):
            assert client.change(job["uid"], lease=job["lease"], new_status="complete").status == 200


def test_concurrent_migrations_create_the_tables_once(cluster: Cluster) -> None:
    url = cluster.make_database("at_once")
    barrier = Barrier(4)

    def migrate() -> int:
        with connected(url) as connection:
            barrier.wait()
            return schema.migrate(connection, SECRET.encode(), QUICK_KDF)

    with ThreadPoolExecutor(4) as pool:
        had = [future.result() for future in [pool.submit(migrate) for _ in range(4)]]
    assert sorted(had) == [0, *[schema.VERSION] * 3]


def test_migrate_needs_no_right_to_create_schemas_if_the_schema_exists(cluster: Cluster) -> None:
    url = cluster.make_database("given")
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute("CREATE ROLE tenant LOGIN")
        owner.execute("CREATE SCHEMA jobengine AUTHORIZATION tenant")
    with connected(url.replace("user=jobengine", "user=tenant")) as connection:
        assert schema.migrate(connection, SECRET.encode(), QUICK_KDF) == 0


def test_the_secrets_for_docker_compose_are_made_as_the_postgresql_page_says(tmp_path: Path) -> None:
    shutil.copy(ROOT / "docker-compose.yml", tmp_path)
    code, _ = blocks("docs/postgresql.md", heading="## Ready-made files")
    assert code.count("up proxy") == 1
    done = shell("umask 077\n" + code.replace("up proxy", "config --quiet"), tmp_path, {"PATH": os.environ["PATH"]})
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    secret, url, password = (
        (tmp_path / "secrets" / name).read_text() for name in ("secret", "database-url", "database-password")
    )
    assert url == f"postgresql://jobengine:{password}@postgres/jobengine\n"
    assert (len(secret), len(password)) == (45, 48)
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700
    # The servers' user is another one.
    assert {one.stat().st_mode & 0o777 for one in (tmp_path / "secrets").iterdir()} == {0o644}


def test_a_dump_of_the_compose_cluster_is_made_and_restored_as_the_page_on_running_says(tmp_path: Path) -> None:
    given = services_of_compose("--profile", "cluster")["postgres"]["environment"]
    assert (given["POSTGRES_USER"], given["POSTGRES_DB"]) == ("jobengine", "jobengine")
    (tmp_path / "docker-compose").write_text(COMPOSE)
    (tmp_path / "docker-compose").chmod(0o755)
    dumping, restoring = blocks("docs/run.md", heading="## Back up and restore PostgreSQL in containers")
    with running() as cluster:
        database = Database.make(cluster, "jobengine")
        one, other = _session(database.url), _session(database.url)
        _hand_over(one, other)
        environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PGHOST": str(cluster.path)}
        with psycopg.connect(database.url, autocommit=True) as control:
            assert shell(dumping, tmp_path, environment).returncode == 0
            control.execute("DELETE FROM jobengine.job")
            done = shell(restoring, tmp_path, environment)
            assert (done.returncode, done.stderr) == (0, "")
            assert control.execute("SELECT count(*) FROM jobengine.job").fetchone() == (10,)


def test_a_dump_of_postgresql_is_made_restored_and_opened_as_documented(
    cluster: Cluster, database: Database, tmp_path: Path
) -> None:
    database.clear()
    _grant(database.url, cluster)
    one, other = _session(database.url), _session(database.url)
    _hand_over(one, other)
    heading = "## Back up, upgrade"
    dumping, restoring = blocks("docs/operate-postgresql.md", heading=heading)
    (making,) = blocks("docs/operate-postgresql.md", "sql", heading)
    assert _run_at(dumping, database.url, tmp_path) == (0, "")
    assert b"secret contents" not in (tmp_path / "jobengine.dump").read_bytes()
    with running() as new:
        with psycopg.connect(new.url("postgres"), autocommit=True) as administrator:
            # The role jobengine of a test's cluster is a superuser.
            administrator.execute("CREATE ROLE plain LOGIN")
            administrator.execute(making.replace("jobengine", "plain").encode())
        restored = new.url("restored").replace("user=jobengine", "user=plain")
        # The role of the servers is missing in the new cluster.
        code, errors = _run_at(restoring.replace("--no-acl", ""), restored, tmp_path)
        assert (code, 'role "serving" does not exist' in errors) == (1, True)
        assert _run_at(restoring, restored, tmp_path) == (0, "")
        _grant(restored, new)
        again = _session(restored.replace("user=plain", "user=serving"))
        (listed,) = again.carry_out([c.ListJobs(queue="q", access_key=b"key", limit=20)]).outcomes
        assert [job.spec.content for job in listed.get().jobs] == [CONTENT] * 10
        again.close()


# Ways to reach a database


def test_the_certificate_of_the_database_is_checked(cluster: Cluster, certificate: Path, tmp_path: Path) -> None:
    port = str(free_port())
    for name in ("key.pem", "cert.pem"):
        shutil.copy(certificate / name, cluster.path / name)
        (cluster.path / name).chmod(0o600)
        cluster.own(cluster.path / name)
    files = {"ssl_key_file": str(cluster.path / "key.pem"), "ssl_cert_file": str(cluster.path / "cert.pem")}
    with running(None, listen_addresses="127.0.0.1", port=port, ssl="on", **files):
        url = f"host=localhost port={port} user=jobengine dbname=postgres sslmode=verify-full sslrootcert="
        with psycopg.connect(f"{url}{certificate}/cert.pem") as connection:
            assert connection.pgconn.ssl_in_use
        # Its settings are right, and there are no tables.
        with connected(f"{url}{certificate}/cert.pem") as connection, pytest.raises(NotADatabase):
            schema.opened(connection, SECRET.encode())
        another = tmp_path / "another"
        another.mkdir()
        make_certificate(another)
        with pytest.raises(StorageError, match=r"check DATABASE_URL: .*certificate verify failed"):
            connected(f"{url}{another}/cert.pem")
        with pytest.raises(StorageError, match=r"does not match host name"):
            connected(f"{url}{certificate}/cert.pem".replace("localhost", "127.0.0.1"))


def test_an_export_has_a_longer_tcp_timeout_than_other_connections() -> None:
    """The usual time-out would end an export that pauses for long. Unix sockets have no such time-out."""
    port = str(free_port())
    with running(None, listen_addresses="127.0.0.1", port=port) as cluster:
        Database.make(cluster, "exported")
        with connected(f"host=127.0.0.1 port={port} user=jobengine dbname=exported") as connection:
            patience = [_shown(connection, "tcp_user_timeout")]
            with contents(connection, Rows(schema.opened(connection, SEALED))):
                patience.append(_shown(connection, "tcp_user_timeout"))
    assert patience == ["25000", "600000"]


def _shown(connection: "psycopg.Connection[Any]", setting: str) -> str:
    ((value,),) = connection.execute("SELECT current_setting(%s)", [setting]).fetchall()
    return str(value)


def test_a_connection_skips_a_host_of_the_url_that_does_not_answer(cluster: Cluster) -> None:
    url = cluster.url("postgres").replace("host=", "host=/nowhere,").replace("port=", "port=5432,")
    with connected(f"{url} target_session_attrs=read-write") as connection:
        assert connection.info.host == str(cluster.path)


@contextmanager
def _pgbouncer(cluster: Cluster, home: Path, *settings: str) -> Iterator[str]:
    """Runs pgbouncer in front of the cluster; yields its address without the database."""
    home = cluster.path / home.name
    home.mkdir(mode=0o755)
    (home / "users").write_text('"jobengine" ""\n')
    lines = [
        "[databases]",
        f"* = host={cluster.path}",
        "[pgbouncer]",
        f"unix_socket_dir = {home}",
        f"auth_type = trust\nauth_file = {home}/users",
        *settings,
        *(["max_prepared_statements = 0"] if _tracks_statements() else ()),
    ]
    (home / "pgbouncer.ini").write_text("\n".join(lines))
    for path in (home, *home.iterdir()):
        cluster.own(path)
    process = subprocess.Popen(cluster.as_its_user("pgbouncer", "-q", str(home / "pgbouncer.ini")))
    url = f"host={home} port=6432 user=jobengine dbname="
    try:
        until("it listens", lambda: _listens(home / ".s.PGSQL.6432"))
        yield url
    finally:
        # SIGTERM would make it wait for its clients.
        process.kill()
        process.wait()


def _tracks_statements() -> bool:
    """Whether this pgbouncer tracks prepared statements by default, as from version 1.21 on."""
    printed = subprocess.run(["pgbouncer", "--version"], capture_output=True, text=True, check=True).stdout
    first, second = re.findall(r"\d+", printed)[:2]
    return (int(first), int(second)) >= (1, 21)


def _listens(path: Path) -> bool:
    """Whether a Unix socket takes connections, which it does a moment after its file exists."""
    with socket.socket(socket.AF_UNIX) as tried:
        return tried.connect_ex(str(path)) == 0


#: The fewest connections, shared by all clients.
TRANSACTION = ("pool_mode = transaction", "default_pool_size = 1")


@pytest.mark.parametrize(
    "settings", [("pool_mode = session",), TRANSACTION, (*TRANSACTION, "ignore_startup_parameters = options")]
)
def test_a_server_works_through_pgbouncer_if_the_database_role_has_the_documented_settings(
    cluster: Cluster, database: Database, tmp_path: Path, settings: tuple[str, ...]
) -> None:
    database.clear()
    name = database.url.rpartition("=")[2]
    with _pgbouncer(cluster, tmp_path, *settings) as url, pytest.raises(StorageError, match="ALTER ROLE") as refused:
        connected(url + name)
    with psycopg.connect(database.url, autocommit=True) as control:
        statements = re.findall("ALTER ROLE [^;]*", str(refused.value))
        for statement in statements:
            control.execute(statement)
        ours = [statement.replace(f"DATABASE {name}", "DATABASE jobengine") for statement in statements]
        assert ours == blocks("docs/postgresql.md", "sql", "## Poolers")[0].replace(";", "").splitlines()
        try:
            shutil.rmtree(cluster.path / tmp_path.name)
            with _pgbouncer(cluster, tmp_path, *settings) as url:
                _hand_over(_session(url + name), _session(url + name))
        finally:
            control.execute(f"ALTER ROLE jobengine IN DATABASE {name} RESET ALL")


def _session(url: str) -> Session:
    with connected(url) as connection:
        rows = Rows(schema.opened(connection, SEALED))
    return Session(
        url=url,
        interval=False,
        rows=rows,
        new_id=new_uuid,
        activity=ServerActivity(),
        steady=time.monotonic,
    )


def _run_at(code: str, url: str, home: Path) -> tuple[int, str]:
    """Run commands of the page at this database; returns their exit code and errors."""
    done = shell(re.sub(r"postgresql://\S+", quote(url), code), home, {"PATH": os.environ["PATH"]})
    return done.returncode, done.stderr


def _grant(url: str, cluster: Cluster) -> None:
    """Make the role `serving` in the cluster, and give it the rights that the page gives to jobengine_server."""
    with psycopg.connect(cluster.url("postgres"), autocommit=True) as administrator:
        administrator.execute("CREATE ROLE serving LOGIN")
    (grants,) = blocks("docs/postgresql.md", "sql", "## A role that only serves")
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute(grants.replace("jobengine_server", "serving").encode())


def _hand_over(one: Session, other: Session) -> None:
    """One client adds a job and the other claims it, so often that the driver prepares the statements."""
    who: dict[str, Any] = {"queue": "q", "access_key": b"key"}
    one.carry_out([c.CreateQueue(**who)])
    for _ in range(10):
        (added,) = one.carry_out([c.AddJobs(**who, jobs=(c.NewJob(content=CONTENT),), defaults=Defaults())]).outcomes
        (claimed,) = other.carry_out([c.Claims(queues=("q",), access_key=b"key")]).outcomes
        assert [job.job.spec.uid for job in claimed.get().jobs] == [new.job.spec.uid for new in added.get()]
    one.close()
    other.close()
