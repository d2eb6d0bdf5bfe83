"""A database of each released version is opened as a whole: by the tools, and by the server at its start."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.doubles import SECRET

from .conftest import MakeDaemon
from .daemons import ROOT, Daemon

ADMIN_KEY = "battery staple"
RELEASED = sorted((ROOT / "tests" / "golden").glob("*.db"))


def _check(daemon: Daemon) -> dict[str, Any]:
    """The report of `jobengine db check` on the database."""
    program = str(Path(sys.executable).with_name("jobengine"))
    command = [program, "db", "check", "--json", str(daemon.db_path)]
    done = subprocess.run(command, env=daemon.environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


@pytest.mark.parametrize("released", RELEASED, ids=[path.name for path in RELEASED])
def test_a_database_of_an_earlier_version_is_served_completely_and_accepts_changes(
    make_daemon: MakeDaemon, released: Path
) -> None:
    daemon = make_daemon(settings={"SECRET": SECRET.decode(), "ADMIN_KEY": ADMIN_KEY})
    daemon.home.mkdir()
    shutil.copy(released, daemon.db_path)
    before = _check(daemon)["jobs"]
    with daemon.start().client(admin_key=ADMIN_KEY) as client:
        # By now finished jobs are past their retention, unless others wait for them; jobs in progress have timed out.
        jobs = client.jobs("mail")
        failed = [job for job in jobs.values() if job["state"] == "failed"]
        assert [job["error"] for job in failed if "error" in job] == ["timed out"] * before["inprogress"]
        assert all(job["content"] == {"n": int(uid[-2:]), "text": "Grüße\n"} for uid, job in jobs.items())
        client.set_up("mail", draining=False)
        assert client.add({"after": "the upgrade"}, "mail").status == 201
    assert daemon.stop() == 0
    assert _check(daemon)["jobs"] == {
        "all": 1 + len(jobs),
        "queued": 1 + before["queued"],
        "inprogress": 0,
        "complete": 0,
        "failed": len(failed),
    }


def test_groups_in_a_database_of_an_earlier_version_are_unchanged(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(settings={"SECRET": SECRET.decode(), "ADMIN_KEY": ADMIN_KEY})
    daemon.home.mkdir()
    shutil.copy(ROOT / "tests" / "golden" / "format-1.0-groups.db", daemon.db_path)
    with daemon.start().client(admin_key=ADMIN_KEY) as client:
        queue = client.set_up("mail", paused=False, draining=False).json
        assert (queue["limits"]["in_progress"], queue["group_order"], queue["group_on_failure"]) == (
            50,
            "strict",
            "hold",
        )
        group = client.call("GET", "/api/v1/group", query={"queueName": "mail", "group": "Grüße"}).json
        own = {"in_progress": 5, "rate": {"count": 7, "seconds": 86_400}, "weight": 3, "paused": True}
        assert (group["queued"], group["own"]) == (0, own)
        added = client.add(queue="mail", group="Grüße").json["uid"]
        held = client.call("GET", "/api/v1/job/explain", query={"queueName": "mail", "jobUID": added}).json
        assert (held["held_by"], held["group"]) == ("hold", "Grüße")


def test_a_batch_of_an_earlier_version_ends_when_it_is_closed_and_its_jobs_are_finished(
    make_daemon: MakeDaemon,
) -> None:
    daemon = make_daemon(settings={"SECRET": SECRET.decode(), "ADMIN_KEY": ADMIN_KEY})
    daemon.home.mkdir()
    shutil.copy(ROOT / "tests" / "golden" / "format-1.0-batches.db", daemon.db_path)
    with daemon.start().client(admin_key=ADMIN_KEY) as client:
        jobs = client.jobs("mail")
        (then,) = [uid for uid in jobs if uid.endswith("11")]
        assert (jobs[then]["state"], jobs[then]["waiting"]) == ("queued", True)
        batch = {"queue_name": "mail", "name": "Import 七"}
        assert client.call("POST", "/api/v1/batch", body={**batch, "open": False}).json["then"] == then
        assert client.call("POST", "/api/v1/batch", body={**batch, "cancel": True}).json["queued"] == 0
        assert "jobs of the batch" in client.jobs("mail")[then]["error"]
