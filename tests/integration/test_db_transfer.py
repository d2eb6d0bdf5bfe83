"""`jobengine db export` and `import`: exit codes, and files that are whole even after failures while they are made."""

import json
import os
from pathlib import Path

import pytest

from jobengine.core.fact_codec import encode
from tests.storage.files_of_commits import listing, write
from tests.tools.databases import job

from .conftest import MakeDaemon
from .daemons import SECRET, Daemon
from .db_files import CALLS, RECORDS, Db, at, busy, jobs


@pytest.fixture
def text(db: Db) -> Path:
    """The export of the database with three jobs."""
    db("export", "jobengine.jedb", "all.jsonl")
    return db.home / "all.jsonl"


def begun(db: Db, command: str) -> tuple[str, ...]:
    """A command that makes a file `target` of what there is."""
    if command == "import":
        db("export", "jobengine.jedb", "all.jsonl")
    return (command, "all.jsonl" if command == "import" else "jobengine.jedb", "target")


# What each command does


def test_a_server_goes_on_with_what_another_had_under_another_secret(make_daemon: MakeDaemon, daemon: Daemon) -> None:
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


def test_an_export_is_right_while_a_server_writes_and_compacts(daemon: Daemon) -> None:
    db = Db(daemon.home, {})
    with daemon.client() as client:
        client.make_queue()
        with busy(daemon) as kept:
            rounds = 0
            while rounds < 3 or "compaction is done" not in daemon.log:
                acknowledged = len(kept)
                db("export", "jobengine.jedb", f"{rounds}.jsonl")
                lines = (db.home / f"{rounds}.jsonl").read_text().splitlines()
                # A long one may be there, and a job of which the answer is under way.
                assert acknowledged <= json.loads(lines[-1])["jobs"] <= len(kept) + 2
                assert len(lines) == 3 + json.loads(lines[-1])["jobs"]
                rounds += 1
                assert rounds < 60
    db("import", f"{rounds - 1}.jsonl", "copy.jedb")
    assert jobs(db.home / "copy.jedb") == json.loads(lines[-1])["jobs"]


def test_one_queue_can_be_exported_alone(db: Db) -> None:
    db("export", "jobengine.jedb", "mail.jsonl", "--queue", "mail")
    db("export", "jobengine.jedb", "all.jsonl")
    assert (db.home / "mail.jsonl").read_bytes() == (db.home / "all.jsonl").read_bytes()
    done = db("export", "jobengine.jedb", "none.jsonl", "--queue", "mial", code=1)
    assert "there is no queue 'mial'; did you mean 'mail'?" in done.stderr
    assert not (db.home / "none.jsonl").exists()


# Exit codes


@pytest.mark.parametrize(
    "arguments",
    [
        ["export"],
        ["export", "jobengine.jedb"],
        ["export", "jobengine.jedb", "target", "--queue"],
        ["import", "all.jsonl"],
        ["import", "all.jsonl", "target", "--queue", "mail"],
    ],
)
def test_wrong_usage_is_2_and_makes_no_file(db: Db, text: Path, arguments: list[str]) -> None:
    before = db.files()
    db(*arguments, code=2)
    assert db.files() == before


@pytest.mark.parametrize("command", ["export", "import"])
def test_a_target_that_is_there_is_1_and_stays_as_it_is(db: Db, command: str) -> None:
    (db.home / "target").write_text("dear to somebody")
    done = db(*begun(db, command), code=1)
    assert "target is there already" in done.stderr
    assert (db.home / "target").read_text() == "dear to somebody"


def test_each_ends_with_the_code_for_what_is_wrong_and_makes_no_file(db: Db, text: Path) -> None:
    (db.home / "folder").mkdir()
    assert "missing: No such file" in db("export", "missing", "target", code=1).stderr
    assert "missing: No such file" in db("import", "missing", "target", code=1).stderr
    assert "the SECRET is not the one" in db("export", "jobengine.jedb", "target", code=3, SECRET="wrong").stderr
    assert "set the SECRET that target is to have" in db("import", "all.jsonl", "target", code=3, SECRET="").stderr
    assert "not a file" in db("import", "folder", "target", code=4).stderr
    assert "line 1: " in db("import", "jobengine.jedb", "target", code=4).stderr
    text.write_bytes(text.read_bytes().replace(b'"queued"', b'"asleep"'))
    assert "all.jsonl: line 3: " in db("import", "all.jsonl", "target", code=4).stderr
    assert not (db.home / "target").exists()


# Killed at any call, and no room


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("command", ["export", "import"])
def test_killed_at_any_call_it_leaves_the_source_whole_and_the_target_whole_or_absent(
    db: Db, command: str, call: str
) -> None:
    arguments, target, kills = begun(db, command), db.home / "target", 0
    source = db.home / arguments[1]
    before = source.read_bytes()
    while db.run(*arguments, prefix=at(call, f"signal=KILL:when={kills + 1}")).returncode:
        kills += 1
        assert kills < 10
        assert source.read_bytes() == before
        if target.exists():
            assert _jobs_in(target, command) == 3
            target.unlink()
    assert bool(kills) is (call != "/^rename"), "the calls are not as they were: adapt the list"
    assert _jobs_in(target, command) == 3


def _jobs_in(target: Path, command: str) -> int:
    if command == "import":
        return jobs(target)
    found: int = json.loads(target.read_text().splitlines()[-1])["jobs"]
    return found


@pytest.mark.parametrize("command", ["export", "import"])
def test_ended_by_sigterm_it_leaves_nothing_behind(db: Db, command: str) -> None:
    arguments = begun(db, command)
    before = db.files()
    done = db.run(*arguments, prefix=at("pwrite64", "signal=TERM:when=1"))
    assert (done.returncode, done.stderr) == (143, "")
    assert db.files() == before


@pytest.mark.parametrize("command", ["export", "import"])
def test_on_a_full_disk_it_ends_with_1_and_leaves_no_file(db: Db, small_disk: Path, command: str) -> None:
    db.path.unlink()
    long = [(encode(job(number, content=b'{"text":"%b"}' % (b"x" * 50_000))),) for number in range(4, 28)]
    write(db.path, [*RECORDS, *long], secret=SECRET.encode())
    (small_disk / "filler").write_bytes(bytes(1 << 20))
    done = db(*begun(db, command)[:-1], str(small_disk / "target"), code=1)
    assert "No space left on device" in done.stderr
    assert listing(small_disk) == ["filler"]
    assert os.path.exists(db.path)
