"""Damaged rows of PostgreSQL: as docs/operate-postgresql.md says, and under a server that works meanwhile."""

import json
import os
import re
import subprocess
from collections.abc import Mapping

import psycopg

from jobengine.engine.postgres.database.known_damage import WHERE_TO_READ
from tests.postgres import Cluster, Database

from .conftest import MakeDaemon
from .daemons import ROOT, SECRET, Daemon, until
from .documents import at_port, blocks, shell
from .shells import BIN

ADMIN_KEY = "the admin's"
DAMAGE = "UPDATE jobengine.job SET sealed = set_byte(sealed, 50, get_byte(sealed, 50) # 1) WHERE uid = ANY(%s)"
ALTER_QUEUE = "UPDATE jobengine.queue SET sealed = set_byte(sealed, 50, get_byte(sealed, 50) # 1) WHERE id = %s"


def _run(code: str, daemon: Daemon, **variables: str) -> "subprocess.CompletedProcess[str]":
    environment: Mapping[str, str] = {"PATH": f"{BIN}:{os.environ['PATH']}", "ADMIN_KEY": ADMIN_KEY, **variables}
    done = shell(at_port(code, daemon.port), daemon.home, environment)
    assert done.returncode == 0, done.stderr
    return done


def test_damaged_rows_are_listed_restored_and_deleted_as_documented(make_daemon: MakeDaemon, cluster: Cluster) -> None:
    database = Database.make(cluster, "altered")
    database.clear(secret=SECRET.encode())
    daemon = make_daemon(settings={"DATABASE_URL": database.url, "ADMIN_KEY": ADMIN_KEY}).start()
    with daemon.client(admin_key=ADMIN_KEY) as client:
        for name in ("mail", "bad"):
            client.make_queue(name)
        uids = [client.add({"number": number}, "mail").json["uid"] for number in range(3)]
    assert daemon.stop() == 0
    cluster.make_database("backup", "TEMPLATE altered")
    with psycopg.connect(database.url, autocommit=True) as control:
        control.execute(DAMAGE, [uids[:2]])
        ((bad,),) = control.execute("SELECT max(id) FROM jobengine.queue").fetchall()
        control.execute(ALTER_QUEUE, [bad])
    daemon.start()
    listing, restoring, deleting, counting = blocks("docs/operate-postgresql.md", heading="## A row is damaged")
    urls = {"DATABASE_URL": database.url, "RESTORED_URL": cluster.url("backup")}
    with daemon.client(admin_key=ADMIN_KEY) as client:
        assert list(client.jobs("mail")) == uids[2:]
        assert (client.read(uids[0], "mail").status, client.set_up("bad", paused=True).status) == (500, 500)
        assert client.ready().status == 200
        assert daemon.log.count(WHERE_TO_READ) == 3
    listed = _run(listing, daemon, **urls).stdout
    assert re.findall("[-0-9a-f]{36}", listed) == uids[:2]
    exported = _run("jobengine db export out.jsonl", daemon, SECRET=SECRET, **urls)
    assert "3 damaged rows were not exported: queue number" in exported.stderr
    assert [uid in exported.stderr for uid in uids] == [True, True, False]
    _run(restoring, daemon, JOB_UID=uids[0], **urls)
    # A server looks for restored rows when it starts.
    assert daemon.stop() == 0
    daemon.start()
    with daemon.client(admin_key=ADMIN_KEY) as client:
        until("the job is there again", lambda: client.read(uids[0], "mail").status == 200)
        _run(deleting, daemon, JOB_UID=uids[1], DAMAGED_QUEUE="bad", **urls)
        assert list(client.jobs("mail")) == [uids[0], uids[2]]
        assert client.read(uids[1], "mail").status == 404
        client.make_queue("bad")
    assert daemon.stop() == 0
    assert "Traceback" not in daemon.log
    variables = {"SECRET": SECRET, **urls}
    assert _run(counting, daemon, **variables).stderr.endswith("Counted 2 jobs of 2 queues; corrected counts: 0.\n")
    with psycopg.connect(database.url, autocommit=True) as control:
        control.execute("DELETE FROM jobengine.tally")
    corrected = json.loads(_run(f"{counting.strip()} --json", daemon, **variables).stdout)["corrected"]
    assert corrected == [{"queue": "mail", "count": "ready", "was": 0, "is": 2}]


def test_the_page_and_heading_that_the_log_names_exist_in_the_docs() -> None:
    page = (ROOT / "docs" / "operate-postgresql.md").read_text()
    heading, title = re.findall('"(.*?)"', WHERE_TO_READ)
    assert page.startswith(f"# {title}\n")
    assert f"\n## {heading}\n" in page
