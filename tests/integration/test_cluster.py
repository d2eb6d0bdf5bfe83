"""docs/cluster.md: what it says to do, and what it says of the database."""

import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from shlex import quote
from threading import Barrier

import psycopg

from jobengine.engine.postgres import schema
from jobengine.engine.postgres.connection import connected
from tests.doubles import QUICK_KDF
from tests.postgres import Cluster

from .conftest import MakeDaemon
from .daemons import SECRET
from .documents import blocks, shell
from .shells import BIN


def _page(home: Path, url: str, heading: str, *which: int) -> str:
    """The commands under a heading of the page, for a database and files of ours."""
    found = blocks("docs/cluster.md", heading=heading)
    code = "\n".join(found[at] for at in which)
    code = re.sub("DATABASE_URL=.*", f"DATABASE_URL={quote(url)}", code)
    return code.replace("/etc/jobengine", str(home)).replace("/var/lib/jobengine", str(home))


def test_as_the_page_says_jobs_move_into_a_database_and_back_and_a_worker_keeps_its_lease(
    make_daemon: MakeDaemon, cluster: Cluster
) -> None:
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
    run(setting_up, _page(first.home, url, "## Move, without losing a lease", 0))
    servers = [make_daemon(name, settings={"DATABASE_URL": url}).start() for name in ("second", "third")]
    with servers[0].client() as client:
        assert client.read(held["uid"]).json["lease_expires"] == held["lease_expires"]
        other = client.claim().json
    assert [server.stop() for server in servers] == [0, 0]
    run(setting_up, _page(first.home, url, "## Move, without losing a lease", 1))
    last = make_daemon("last", settings={"DB_PATH": str(first.home / "moved.jedb")}).start()
    with last.client() as client:
        for job in (held, other):
            assert client.change(job["uid"], lease=job["lease"], new_status="complete").status == 200


def test_several_that_migrate_at_once_make_the_tables_once(cluster: Cluster) -> None:
    url = cluster.make_database("at_once")
    barrier = Barrier(4)

    def migrate() -> int:
        with connected(url) as connection:
            barrier.wait()
            return schema.migrate(connection, SECRET.encode(), QUICK_KDF)

    with ThreadPoolExecutor(4) as pool:
        had = [future.result() for future in [pool.submit(migrate) for _ in range(4)]]
    assert sorted(had) == [0, *[schema.VERSION] * 3]


def test_a_role_needs_no_right_to_make_schemas_if_one_was_made_for_it(cluster: Cluster) -> None:
    url = cluster.make_database("given")
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute("CREATE ROLE tenant LOGIN")
        owner.execute("CREATE SCHEMA jobengine AUTHORIZATION tenant")
    with connected(url.replace("user=jobengine", "user=tenant")) as connection:
        assert schema.migrate(connection, SECRET.encode(), QUICK_KDF) == 0
