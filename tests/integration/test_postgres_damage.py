"""Damaged rows of PostgreSQL: what docs/cluster.md says to do, and a server whose rows are damaged while it works."""

import json
import os
import random
import re
import subprocess
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
from attrs import define, field

from tests.postgres import Cluster, Database

from .conftest import MakeDaemon
from .daemons import SECRET, Daemon, until
from .documents import at_port, blocks, shell
from .shells import BIN

ADMIN_KEY = "the admin's"
DAMAGE = "UPDATE jobengine.job SET sealed = set_byte(sealed, 50, get_byte(sealed, 50) # 1) WHERE uid = ANY(%s)"
#: What may happen to the row of a job.
HOW = (
    "sealed = set_byte(sealed, 50, get_byte(sealed, 50) # 1)",
    "sealed = substr(sealed, 1, 20)",
    "sealed = (SELECT sealed FROM jobengine.job WHERE uid = %(other)s)",
    "said = sealed",
    "place = (place + 1) %% 5",
)
ALTER_QUEUE = "UPDATE jobengine.queue SET sealed = set_byte(sealed, 50, get_byte(sealed, 50) # 1) WHERE id = %s"


def _run(code: str, daemon: Daemon, **variables: str) -> "subprocess.CompletedProcess[str]":
    environment: Mapping[str, str] = {"PATH": f"{BIN}:{os.environ['PATH']}", "ADMIN_KEY": ADMIN_KEY, **variables}
    done = shell(at_port(code, daemon.port), daemon.home, environment)
    assert done.returncode == 0, done.stderr
    return done


def test_damaged_rows_are_listed_restored_and_deleted_as_the_page_says(
    make_daemon: MakeDaemon, cluster: Cluster
) -> None:
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
    listing, restoring, deleting, counting = blocks("docs/cluster.md", heading="## A row is damaged")
    urls = {"DATABASE_URL": database.url, "RESTORED_URL": cluster.url("backup")}
    with daemon.client(admin_key=ADMIN_KEY) as client:
        assert list(client.jobs("mail")) == uids[2:]
        assert (client.read(uids[0], "mail").status, client.set_up("bad", paused=True).status) == (500, 500)
        assert client.ready().status == 200
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
    assert _run(counting, daemon, **variables).stderr.endswith(
        "2 jobs of 2 queues were counted; corrected counts: 0.\n"
    )
    with psycopg.connect(database.url, autocommit=True) as control:
        control.execute("DELETE FROM jobengine.tally")
    corrected = json.loads(_run(f"{counting.strip()} --json", daemon, **variables).stdout)["corrected"]
    assert corrected == [{"queue": "mail", "count": "ready", "was": 0, "is": 2}]


@define
class _Busy:
    """A queue that is worked on while some of its rows are damaged."""

    uids: list[str]
    #: Those whose rows were damaged, and those that were completed.
    damaged: set[str] = field(factory=set)
    done: Counter[str] = field(factory=Counter)

    @property
    def over(self) -> bool:
        return set(self.uids) == self.damaged | self.done.keys()

    def work(self, daemon: Daemon) -> None:
        """Complete jobs and claim others, until all are done that are not damaged."""
        finished: list[dict[str, Any]] = []
        with daemon.client(sampled=True) as client:
            while finished or not self.over:
                body = {"queue_names": ["q"], "count": 20, "updates": finished}
                answer = client.call("POST", "/api/v1/job/next", body=body)
                assert answer.status in (200, 204), answer.body
                claimed = answer.json["jobs"] if answer.status == 200 else []
                if finished:
                    self._note(answer.json["results"])
                finished = [
                    {"queue_name": "q", "uid": job["uid"], "lease": job["lease"], "new_status": "complete"}
                    for job in claimed
                ]

    def _note(self, results: list[dict[str, Any]]) -> None:
        """A damaged job gets an error of its own."""
        self.done.update(one["uid"] for one in results if one["status"] == 200)
        assert {one["uid"] for one in results if one["status"] != 200} <= self.damaged

    def damage(self, control: "psycopg.Connection[Any]", chance: random.Random) -> None:
        """Damage a row in some way."""
        uid, other = chance.sample(self.uids, 2)
        self.damaged.add(uid)
        how = chance.choice(HOW)
        control.execute(f"UPDATE jobengine.job SET {how} WHERE uid = %(uid)s", {"uid": uid, "other": other})


def test_while_jobs_of_a_busy_queue_are_damaged_all_others_are_completed_once(
    make_daemon: MakeDaemon, cluster: Cluster
) -> None:
    database = Database.make(cluster, "busy")
    database.clear(secret=SECRET.encode())
    one, other = (make_daemon(name, settings={"DATABASE_URL": database.url}).start() for name in ("one", "other"))
    with one.client() as client:
        client.make_queue()
        answer = client.add_many([{"content": {"number": number}} for number in range(4_000)])
        busy = _Busy([job["uid"] for job in answer.json["jobs"]])
    chance = random.Random(24)
    with psycopg.connect(database.url, autocommit=True) as control, ThreadPoolExecutor(4) as pool:
        for _ in range(20):
            busy.damage(control, chance)
        working = [pool.submit(busy.work, daemon) for daemon in (one, other) * 2]
        for _ in range(20):
            busy.damage(control, chance)
        for worker in working:
            worker.result(60)
        left = "SELECT uid FROM jobengine.job WHERE place <> 3"
        assert {uid for (uid,) in control.execute(left)} <= busy.damaged
    assert set(busy.done.values()) == {1}
    with other.client() as client:
        assert client.jobs().keys() >= set(busy.uids) - busy.damaged
        assert (client.ready().status, client.claim().status) == (200, 204)
    assert (one.stop(), other.stop()) == (0, 0)
    assert "Traceback" not in one.log + other.log
