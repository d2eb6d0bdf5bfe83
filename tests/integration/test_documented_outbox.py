"""The programs on the page about the outbox, run as a reader would run them."""

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Protocol

import psycopg
import pytest
from attrs import define

from jobengine.client import Queue
from tests.postgres import Cluster

from .conftest import MakeDaemon
from .daemons import ROOT, Daemon, free_port, until
from .documents import blocks, shell

PAGE = "docs/outbox.md"
KEY = "correct horse"
ADA = {"to": "ada@example.org", "order": 1}
#: Rows that the server refuses, or that the client can't even encode.
BAD = ('{"n": 1267650600228229401496703205376}', "[1]", "[" * 1500 + "]" * 1500)


class Shop(Protocol):
    """The database of a program with an outbox."""

    #: The page's section about this database.
    heading: ClassVar[str]

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which the page's programs find the database."""
        ...

    def run(self, statement: str, *values: Any) -> list[Any]:
        """Commit one statement; returns its rows."""
        ...

    def run_many(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        """Run a statement with each of these values, and commit once at the end."""
        ...


@define
class OnPostgres:
    heading: ClassVar[str] = "## With PostgreSQL"

    environment: dict[str, str]

    def run(self, statement: str, *values: Any) -> list[Any]:
        host, user, name = (self.environment[variable] for variable in ("PGHOST", "PGUSER", "PGDATABASE"))
        with psycopg.connect(host=host, user=user, dbname=name) as shop:
            cursor = shop.execute(statement.replace("?", "%s"), values)
            return cursor.fetchall() if cursor.description else []

    def run_many(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        host, user, name = (self.environment[variable] for variable in ("PGHOST", "PGUSER", "PGDATABASE"))
        with psycopg.connect(host=host, user=user, dbname=name) as shop, shop.cursor() as cursor:
            cursor.executemany(statement.replace("?", "%s"), rows)


@define
class OnSqlite:
    heading: ClassVar[str] = "## With SQLite"

    home: Path

    @property
    def environment(self) -> dict[str, str]:
        return {}

    def run(self, statement: str, *values: Any) -> list[Any]:
        shop = sqlite3.connect(self.home / "shop.db", timeout=20)
        try:
            with shop:
                return shop.execute(statement, values).fetchall()
        finally:
            shop.close()

    def run_many(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        shop = sqlite3.connect(self.home / "shop.db", timeout=20)
        try:
            with shop:
                shop.executemany(statement, rows)
        finally:
            shop.close()


@pytest.fixture(params=["postgres", "sqlite"])
def shop(request: pytest.FixtureRequest, cluster: Cluster, tmp_path: Path) -> Shop:
    """A database with the tables of the page, loaded as the page says."""
    made: OnPostgres | OnSqlite = OnSqlite(tmp_path)
    if request.param == "postgres":
        name = f"shop_{uuid.uuid4().hex}"
        cluster.make_database(name)
        made = OnPostgres({"PGHOST": str(cluster.path), "PGUSER": "jobengine", "PGDATABASE": name})
    (tables,), load = blocks(PAGE, "sql", made.heading), blocks(PAGE, "sh", made.heading)[0]
    (tmp_path / "outbox.sql").write_text(tables)
    done = shell(load, tmp_path, {**os.environ, **made.environment})
    assert done.returncode == 0, done.stderr
    return made


@pytest.fixture
def daemon(make_daemon: MakeDaemon) -> Daemon:
    """A daemon that keeps its port at a restart."""
    return make_daemon(settings={"API_PORT": str(free_port())}).start()


def _programs(shop: Shop) -> Sequence[str]:
    """The program that writes a row, and the relay."""
    return blocks(PAGE, "python", shop.heading)


def _environment(shop: Shop, daemon: Daemon) -> dict[str, str]:
    place = {"JOBENGINE_URL": f"http://127.0.0.1:{daemon.port}", "JOBENGINE_ACCESS_KEY": KEY}
    return {**os.environ, **place, **shop.environment}


@contextmanager
def _relay(shop: Shop, daemon: Daemon, home: Path) -> Iterator["subprocess.Popen[str]"]:
    """The relay of the page, which is killed at the end; its output goes to the file `later`."""
    with open(home / "later", "w") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", _programs(shop)[1]],
            cwd=home,
            env=_environment(shop, daemon),
            stdout=output,
            text=True,
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def _waiting(shop: Shop) -> int:
    (row,) = shop.run("SELECT count(*) FROM outbox WHERE error IS NULL")
    return int(row[0])


def _put(shop: Shop, *contents: str, uid: str | None = None) -> list[str]:
    """Write rows with these contents; returns their uids."""
    uids = [uid or str(uuid.uuid4()) for _ in contents]
    shop.run_many("INSERT INTO outbox (uid, content) VALUES (?, ?)", list(zip(uids, contents, strict=True)))
    return uids


def _contents(mail: Queue) -> list[Any]:
    return [job.content for job in mail.jobs()]


def test_a_committed_order_becomes_one_job_and_a_rolled_back_order_no_job(
    shop: Shop, daemon: Daemon, mail: Queue, tmp_path: Path
) -> None:
    program, _ = _programs(shop)
    failing = "\n".join([*program.splitlines(), "    raise SystemExit('the shop has failed')"])
    for code, ends_with in ((program, 0), (failing, 1)):
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, cwd=tmp_path, env=_environment(shop, daemon), capture_output=True, check=False)
        assert done.returncode == ends_with, done.stderr
    assert _waiting(shop) == 1
    with _relay(shop, daemon, tmp_path) as relay:
        until("it has told of the row", lambda: "rows: 1, refused: 0\n" in (tmp_path / "later").read_text())
        relay.send_signal(signal.SIGINT)
        assert relay.wait(10) == -signal.SIGINT
    assert (_waiting(shop), _contents(mail)) == (0, [ADA])


def test_refused_rows_show_the_reason_and_do_not_stop_the_relay(
    shop: Shop, daemon: Daemon, mail: Queue, tmp_path: Path
) -> None:
    taken = mail.add({"number": -1}).uid
    bad = _put(shop, *BAD)
    _put(shop, '{"number": -2}', uid=taken)
    good = _put(shop, *(json.dumps({"number": number}) for number in range(600)))
    with _relay(shop, daemon, tmp_path):
        until("all good rows are gone", lambda: _waiting(shop) == 0)
    refused = {str(uid): error for uid, error in shop.run("SELECT uid, error FROM outbox")}
    assert refused.keys() == {taken, *bad}
    assert "another job with uid" in refused[taken]
    assert "an integer is beyond 64 bits" in refused[bad[0]]
    assert [job.uid for job in mail.jobs()] == [taken, *good]


def test_rows_stay_in_the_outbox_while_the_server_is_unreachable_or_refuses_jobs(
    shop: Shop, daemon: Daemon, mail: Queue, tmp_path: Path
) -> None:
    mail.drain()
    _put(shop, '{"number": 1}')
    with _relay(shop, daemon, tmp_path):
        until("it waits for the queue", lambda: "later: the queue is draining" in (tmp_path / "later").read_text())
        mail.undrain()
        until("the row is gone", lambda: _waiting(shop) == 0)
        mail.configure(max_jobs=1)
        _put(shop, '{"number": 2}', '{"number": 3}')
        until("it waits for room", lambda: "no more than 1 jobs" in (tmp_path / "later").read_text())
        daemon.kill()
        daemon.start()
        mail.configure(max_jobs=2)
        until("one of them has found room", lambda: _waiting(shop) == 1)
        mail.configure(max_jobs=3)
        until("both rows are gone", lambda: _waiting(shop) == 0)
    assert shop.run("SELECT count(*) FROM outbox") == [(0,)]
    assert _contents(mail) == [{"number": number} for number in (1, 2, 3)]


def test_a_row_whose_job_was_added_before_a_crash_adds_no_second_job(
    shop: Shop, daemon: Daemon, mail: Queue, tmp_path: Path
) -> None:
    (uid,) = _put(shop, json.dumps(ADA))
    mail.add(ADA, uid=uid)
    (claimed,) = mail.claim()
    claimed.complete()
    with _relay(shop, daemon, tmp_path):
        until("the row is gone", lambda: _waiting(shop) == 0)
    assert [(job.uid, job.state) for job in mail.jobs()] == [(uid, "complete")]


def test_the_relay_ends_if_its_key_is_wrong(shop: Shop, daemon: Daemon, mail: Queue, tmp_path: Path) -> None:
    _put(shop, "{}")
    done = subprocess.run(
        [sys.executable, "-c", _programs(shop)[1]],
        cwd=tmp_path,
        env={**_environment(shop, daemon), "JOBENGINE_ACCESS_KEY": "wrong"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, _waiting(shop)) == (1, 1)
    assert "AccessDenied" in done.stderr


def test_the_sqlite_command_of_the_outbox_page_creates_the_tables(tmp_path: Path) -> None:
    (tables,), (_, load) = blocks(PAGE, "sql", OnSqlite.heading), blocks(PAGE, "sh", OnSqlite.heading)
    (tmp_path / "outbox.sql").write_text(tables)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = shell(load, tmp_path, {**os.environ, "PATH": path})
    assert done.returncode == 0, done.stderr
    assert OnSqlite(tmp_path).run("SELECT count(*) FROM outbox, orders") == [(0,)]


@pytest.mark.parametrize("heading", [OnPostgres.heading, OnSqlite.heading])
def test_the_readme_states_about_how_many_lines_a_relay_has(heading: str) -> None:
    (lines,) = re.findall(r"an outbox\]\(docs/outbox\.md\) is some (\d+) lines", (ROOT / "README.md").read_text())
    _, relay = blocks(PAGE, "python", heading)
    assert len([line for line in relay.splitlines() if line]) == pytest.approx(int(lines), rel=0.1)


@pytest.mark.parametrize("shop", ["postgres"], indirect=True)
def test_several_relays_on_postgresql_add_each_row_once(
    shop: Shop, daemon: Daemon, mail: Queue, tmp_path: Path
) -> None:
    numbers = range(2_000)
    shop.run("INSERT INTO outbox (content) SELECT jsonb_build_object('number', n) FROM generate_series(0, 1999) AS n")
    with _relay(shop, daemon, tmp_path), _relay(shop, daemon, tmp_path):
        until("all rows are gone", lambda: _waiting(shop) == 0)
    assert sorted(content["number"] for content in _contents(mail)) == [*numbers]
