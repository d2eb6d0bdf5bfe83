"""`jobengine db export` and `import`: exit codes, and files that are whole even after failures while they are made."""

import json
import os
from pathlib import Path

import pytest

from tests.tools.go_files import GO_SECRET, go_file, go_job, go_queue, sealed

from .conftest import MakeDaemon
from .daemons import Daemon
from .db_files import Db
from .documents import blocks, shell
from .shells import BIN


@pytest.fixture
def text(db: Db) -> Path:
    """The export of the database with three jobs."""
    db("export", "jobengine.jedb", "all.jsonl")
    return db.home / "all.jsonl"


def test_a_server_runs_on_a_database_imported_with_another_secret(make_daemon: MakeDaemon, daemon: Daemon) -> None:
    with daemon.client() as client:
        client.make_queue()
        uids = [client.add({"number": number}).json["uid"] for number in range(5)]
        claimed = client.claim().json
    db = Db(daemon.home, {})
    done = db("export", "jobengine.jedb", "all.jsonl", "--json")
    assert json.loads(done.stdout)["jobs"] == 5
    db("import", "all.jsonl", "other.jedb", SECRET="another secret")
    settings = {"DB_PATH": str(db.home / "other.jedb"), "SECRET": "another secret"}
    with make_daemon("other", settings=settings).start().client() as client:
        assert list(client.jobs()) == uids
        assert client.change(claimed["uid"], new_status="complete", lease=claimed["lease"]).status == 200
        assert client.claim().json["uid"] == uids[1]


def test_the_page_on_the_go_version_works_and_its_keys_open_their_queues(
    make_daemon: MakeDaemon, tmp_path: Path
) -> None:
    home = tmp_path / "files"
    home.mkdir()
    (home / "database.db").write_bytes(
        go_file(go_queue("q", b"key", [go_job(1, keep_minutes=1 << 40, state="failed")]))
    )
    page = "\n".join(blocks("docs/come-from-go.md", heading="## Move"))
    environment = {"PATH": f"{BIN}:{os.environ['PATH']}", "GO_SECRET": GO_SECRET.decode(), "HOME": str(home)}
    done = shell(page, home, environment)
    assert done.returncode == 0, done.stderr
    assert "jobs.failed\t1" in done.stdout
    secret = (home / "secret").read_text().strip()
    settings = {"DB_PATH": str(home / "jobengine.jedb"), "SECRET": secret}
    daemon = make_daemon(settings=settings).start()
    assert _digests(home, secret) == ["sha512:"]
    with daemon.client(key="key") as client:
        assert list(client.jobs()) == [go_job(1)["uid"]]
    with daemon.client(key="another") as client:
        assert client.add().status == 401
    assert _digests(home, secret) == [""]
    daemon.kill()
    with daemon.start().client(key="key") as client:
        assert client.add().status == 201


def _digests(home: Path, secret: str) -> list[str]:
    """The prefix before the 64 digits of each queue's digest."""
    db = Db(home, {"SECRET": secret})
    db("export", "jobengine.jedb", "now.jsonl")
    lines = [json.loads(line) for line in (home / "now.jsonl").read_text().splitlines()]
    (home / "now.jsonl").unlink()
    return [line["digest"][:-64] for line in lines if line["kind"] == "queue"]


def test_each_failure_of_export_or_import_has_its_exit_code_and_makes_no_file(db: Db, text: Path) -> None:
    (db.home / "folder").mkdir()
    assert "missing: No such file" in db("export", "missing", "target", code=1).stderr
    assert "missing: No such file" in db("import", "missing", "target", code=1).stderr
    assert "the SECRET is not the one" in db("export", "jobengine.jedb", "target", code=3, SECRET="wrong").stderr
    assert "set SECRET for the new database target" in db("import", "all.jsonl", "target", code=3, SECRET="").stderr
    assert "not a file" in db("import", "folder", "target", code=4).stderr
    assert "line 1: " in db("import", "jobengine.jedb", "target", code=4).stderr
    text.write_bytes(text.read_bytes().replace(b'"queued"', b'"asleep"'))
    assert "all.jsonl: line 3: " in db("import", "all.jsonl", "target", code=4).stderr
    assert not (db.home / "target").exists()


def test_each_failure_of_import_go_has_its_exit_code_and_makes_no_file(db: Db) -> None:
    (db.home / "database.db").write_bytes(go_file(go_queue("mail", b"key", [go_job(n) for n in range(3)])))
    db.environment["GO_SECRET"] = GO_SECRET.decode()
    command = ("import-go", "database.db", "target")
    assert "does not open with this SECRET" in db(*command, code=3, GO_SECRET="wrong").stderr
    assert "set GO_SECRET" in db(*command, code=3, GO_SECRET="").stderr
    assert "set SECRET for the new database target" in db(*command, code=3, SECRET="").stderr
    (db.home / "go-secret").write_bytes(GO_SECRET + b"\n")
    (db.home / "database.db").write_bytes(sealed(b"{"))
    assert "damaged" in db(*command, "--go-secret-file", "go-secret", code=4, GO_SECRET="").stderr
    (db.home / "database.db").write_bytes(go_file(go_queue("", b"key", [])))
    assert "are empty or longer" in db(*command, code=1).stderr
    assert not (db.home / "target").exists()
