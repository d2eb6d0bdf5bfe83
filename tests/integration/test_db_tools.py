"""`jobengine db`: exit codes, and files that are whole even after failures while they are made."""

import asyncio
import json
import os
from http.client import HTTPConnection
from pathlib import Path

import pytest

from jobengine.client import AccessDenied, AsyncJobEngine, JobEngine, Unavailable
from jobengine.storage.journal import Journal
from tests.doubles import QUICK_KDF
from tests.storage.files_of_commits import frame_starts, listing, without_end

from .conftest import MakeDaemon
from .cutting import CuttingProxy
from .daemons import SECRET, Daemon
from .db_files import CALLS, Db, at, busy, jobs, make_large, rounds_while_compacting

ADMIN = "the admin key of the tests"


def damaged(data: bytes) -> bytes:
    """The file with a bit of its third commit flipped."""
    at = frame_starts(data)[4] + 30
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def test_check_prints_rows_or_json(db: Db) -> None:
    rows = dict(line.split("\t") for line in db("check", "jobengine.jedb").stdout.splitlines())
    assert (rows["format"], rows["commits"], rows["jobs.queued"], rows["whole"]) == ("1.0", "4", "2", "true")
    found = json.loads(db("check", "--json", "jobengine.jedb").stdout)
    assert found["queues"] == [{"name": "mail", "jobs": {"queued": 2, "inprogress": 0, "complete": 0, "failed": 1}}]
    assert found["damage_at_byte"] is None


def test_check_prints_at_which_byte_the_damage_begins_and_what_to_do(db: Db) -> None:
    whole = db.path.read_bytes()
    db.path.write_bytes(damaged(whole))
    begin = frame_starts(whole)[4]
    done = db("check", "jobengine.jedb", "--json", code=4)
    assert (json.loads(done.stdout)["damage_at_byte"], json.loads(done.stdout)["jobs"]["all"]) == (begin, 2)
    assert f"at byte {begin}" in done.stderr
    assert "jobengine db repair" in done.stderr
    assert "last backup" in done.stderr


def test_check_does_not_report_an_unfinished_last_frame_as_damage(db: Db) -> None:
    os.truncate(db.path, db.path.stat().st_size - 10)
    done = db("check", "jobengine.jedb", "--json")
    assert json.loads(done.stdout)["unfinished_bytes"] > 0
    assert "In a database this is not damage" in done.stderr
    assert "If this is a copy of a backup, its end is missing" in done.stderr


@pytest.mark.parametrize("cut", [0, 10])
def test_repair_of_a_copy_without_its_end_says_what_to_do(db: Db, cut: int) -> None:
    db("backup", "jobengine.jedb", "copy")
    assert "copy is not damaged" in db("repair", "copy", "whole").stderr
    whole = (db.home / "copy").read_bytes()
    (db.home / "copy").write_bytes(without_end(whole)[: -cut or None])
    said = db("repair", "copy", "rescued").stderr
    assert "No damage was found in copy, but it does not end with a closing frame." in said
    assert ("an incomplete frame, are not in the new file." in said) is bool(cut)
    assert "If this is a copy of a backup, its end is missing" in said


def test_check_with_backup_refuses_a_copy_whose_end_is_missing(db: Db) -> None:
    db("backup", "jobengine.jedb", "copy")
    assert db("check", "--backup", "copy").stderr == ""
    whole = (db.home / "copy").read_bytes()
    starts = frame_starts(whole)
    for length in (starts[3], starts[-2], starts[-2] - 5, len(whole) - 1):
        (db.home / "copy").write_bytes(whole[:length])
        done = db("check", "--backup", "copy", code=4)
        assert "the closing frame of a backup is missing" in done.stderr
        assert "whole\tfalse" in done.stdout
        assert json.loads(db("check", "--json", "copy").stdout)["ends_with_close"] is False


def test_restoring_a_copy_whose_end_is_missing_restores_what_the_copy_has_and_prints_a_note(db: Db) -> None:
    db("backup", "jobengine.jedb", "copy")
    whole = db("restore", "copy", "whole").stderr
    assert (whole.startswith("whole is whole and on disk; "), "its end is missing" in whole) == (True, False)
    os.truncate(db.home / "copy", frame_starts((db.home / "copy").read_bytes())[4])
    for arguments in (("copy", "restored"), ("copy", "again", "--json")):
        said = db("restore", *arguments).stderr
        assert "If this is a copy of a backup, its end is missing" in said
        assert "whole" not in said
    assert jobs(db.home / "restored") == 2


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["check"],
        ["chek", "jobengine.jedb"],
        ["check", "jobengine.jedb", "another"],
        ["check", "jobengine.jedb", "--secret", "x"],
        ["backup", "jobengine.jedb"],
        ["restore", "jobengine.jedb"],
        ["repair", "jobengine.jedb"],
        ["rekey", "jobengine.jedb"],
        ["rekey", "jobengine.jedb", "--new-secret-file", "missing"],
        ["rekey", "jobengine.jedb", "--new-secret-file", "empty"],
        ["rekey", "jobengine.jedb", "--new-secret-file", "."],
        ["rekey", "jobengine.jedb", "--new-secret-file", "same"],
        ["export"],
        ["export", "jobengine.jedb"],
        ["export", "jobengine.jedb", "target", "--queue"],
        ["import", "jobengine.jedb"],
        ["import", "jobengine.jedb", "target", "--queue", "mail"],
        ["import-go", "jobengine.jedb"],
        ["import-go", "jobengine.jedb", "target", "--go-secret-file", "missing"],
    ],
)
def test_wrong_usage_of_a_db_command_exits_with_2_and_changes_nothing(db: Db, arguments: list[str]) -> None:
    (db.home / "empty").touch()
    (db.home / "same").write_text(SECRET)
    (db.home / "jobengine.jedb.lock").touch()
    before = db.files()
    db(*arguments, code=2)
    assert db.files() == before


@pytest.mark.parametrize("command", ["backup", "restore", "repair", "export", "import"])
def test_a_db_command_whose_target_exists_exits_with_1_and_does_not_change_the_target(db: Db, command: str) -> None:
    (db.home / "there").write_text("dear to somebody")
    (db.home / "link").symlink_to("nowhere")
    (db.home / "folder").mkdir()
    db("export", "jobengine.jedb", "all.jsonl")
    source = "all.jsonl" if command == "import" else "jobengine.jedb"
    for target in ("there", "link", "jobengine.jedb"):
        assert f"{target} exists already" in db(command, source, target, code=1).stderr
    assert "folder/ is a directory; name a file in it" in db(command, source, "folder/", code=1).stderr
    assert (db.home / "there").read_text() == "dear to somebody"
    assert os.readlink(db.home / "link") == "nowhere"
    assert jobs(db.path) == 3


@pytest.mark.parametrize("command", ["check", "backup", "restore", "repair", "rekey"])
def test_each_failing_command_ends_with_its_exit_code_and_makes_no_file(db: Db, command: str) -> None:
    more = {"check": (), "rekey": ("--new-secret-file", "new")}.get(command, ("target",))
    (db.home / "text").write_text("no database")
    (db.home / "nothing").touch()
    os.mkfifo(db.home / "pipe")
    (db.home / "folder").mkdir()
    before = sorted(os.listdir(db.home))
    for secret in (SECRET, ""):
        assert "missing: No such file" in db(command, "missing", *more, code=1, SECRET=secret).stderr
        assert "text: it does not begin as" in db(command, "text", *more, code=4, SECRET=secret).stderr
        assert "nothing: the file is empty" in db(command, "nothing", *more, code=4, SECRET=secret).stderr
    assert "the SECRET is not the one" in db(command, "jobengine.jedb", *more, code=3, SECRET="wrong").stderr
    said = db(command, "jobengine.jedb", *more, code=3, SECRET="").stderr
    assert "no SECRET is set" in said
    assert "set SECRET_FILE to the key file of the original" in said
    for name in ("text", "pipe", "folder"):
        # rekey opens files to write them, as the server does: a folder can't be, and a pipe would wait for ever.
        if command != "rekey" or name == "text":
            assert name in db(command, name, *more, code=4).stderr
    for name in sorted(set(os.listdir(db.home)) - set(before)):
        assert name.endswith(".lock"), name
    db.path.write_bytes(damaged(db.path.read_bytes()))
    if command != "repair":
        assert "at byte" in db(command, "jobengine.jedb", *more, code=4).stderr
    assert not (db.home / "target").exists()


def test_backup_notes_that_db_path_names_another_database(db: Db) -> None:
    for number, name in enumerate(("", "jobengine.jedb", str(db.path))):
        assert "DB_PATH" not in db("backup", "jobengine.jedb", f"copy {number}", DB_PATH=name).stderr
    said = db("backup", "jobengine.jedb", "copy", DB_PATH="restored.jedb").stderr
    assert said.endswith("\nDB_PATH names another database, restored.jedb: this is a copy of jobengine.jedb.\n")


def test_the_error_of_restoring_a_damaged_copy_says_what_to_do(db: Db) -> None:
    (db.home / "copy").write_bytes(damaged(db.path.read_bytes()))
    error = db("restore", "copy", "target", code=4).stderr
    assert "Use another copy; if there is none, `jobengine db repair` rescues" in error


def test_rekey_notes_that_a_new_secret_can_be_guessed(db: Db) -> None:
    (db.home / "new").write_text("hunter2")
    assert (
        "has fewer than 16 characters and can be guessed"
        in db("rekey", "jobengine.jedb", "--new-secret-file", "new").stderr
    )


def test_rekey_of_a_database_in_use_exits_with_5_and_changes_nothing(db: Db) -> None:
    journal = Journal(str(db.path), kdf=QUICK_KDF)
    journal.lock()
    try:
        done = db("rekey", "jobengine.jedb", "--new-secret-file", "new", code=5)
    finally:
        journal.close(orderly=False)
    assert "another JobEngine is running on this database" in done.stderr
    assert jobs(db.path) == 3


@pytest.mark.parametrize("command", ["restore", "backup", "repair"])
def test_no_file_is_put_in_the_place_of_a_database_in_use_even_if_that_was_moved_away(db: Db, command: str) -> None:
    db("backup", "jobengine.jedb", "copy")
    journal = Journal(str(db.path), kdf=QUICK_KDF)
    journal.lock()
    try:
        beside = db(command, "copy", "jobengine.jedb", code=5)
        db.path.rename(db.home / "moved")
        missing = db(command, "copy", "jobengine.jedb", code=5)
        assert not db.path.exists()
    finally:
        journal.close(orderly=False)
    for done in (beside, missing):
        assert "another JobEngine is running on this database; stop it first" in done.stderr
    db(command, "copy", "jobengine.jedb")
    assert jobs(db.path) == 3


def test_rekey_of_a_link_rewrites_the_linked_database(db: Db) -> None:
    (db.home / "new").write_text("another secret of mine")
    (db.home / "link.jedb").symlink_to("jobengine.jedb")
    db("rekey", "link.jedb", "--new-secret-file", "new")
    assert (db.home / "link.jedb").is_symlink()
    db("check", "jobengine.jedb", code=3)


def test_db_commands_read_the_secret_from_a_file_or_from_the_key_file(db: Db) -> None:
    (db.home / "secret").write_text(SECRET + "\n")
    db("check", "jobengine.jedb", SECRET="", SECRET_FILE="secret")
    (db.home / "jobengine.jedb.key").write_text(SECRET + "\n")
    db("check", "jobengine.jedb", SECRET="")
    db("backup", "jobengine.jedb", "copy", SECRET="")
    # A copy elsewhere is opened with the key file of its future place.
    os.rename(db.path, db.home / "lost")
    db("restore", "copy", "jobengine.jedb", SECRET="")
    db("check", "copy", SECRET="", code=3)


def test_check_exits_with_2_for_two_secrets_or_a_blank_secret(db: Db) -> None:
    (db.home / "secret").write_text(SECRET + "\n")
    assert "keep only one" in db("check", "jobengine.jedb", SECRET_FILE="secret", code=2).stderr
    db("check", "jobengine.jedb", SECRET="", SECRET_FILE="missing", code=2)
    db("check", "jobengine.jedb", SECRET=" ", code=2)


def test_rekey_says_what_to_do_with_the_key_file(db: Db) -> None:
    (db.home / "jobengine.jedb.key").write_text(SECRET)
    done = db("rekey", "jobengine.jedb", "--new-secret-file", "new", SECRET="")
    assert "jobengine.jedb.key still has the old SECRET" in done.stderr
    assert (db.home / "jobengine.jedb.key").read_text() == SECRET
    os.replace(db.home / "new", db.home / "jobengine.jedb.key")
    db("check", "jobengine.jedb", SECRET="")


def test_check_and_backup_give_correct_results_while_a_server_writes_and_compacts(daemon: Daemon) -> None:
    db = Db(daemon.home, {})
    with daemon.client() as client:
        client.make_queue()
        with busy(daemon) as kept:
            for number in rounds_while_compacting(daemon):
                acknowledged = len(kept)
                db("check", "jobengine.jedb")
                db("backup", "jobengine.jedb", f"backup {number}")
                db("repair", "jobengine.jedb", f"repaired {number}")
                # The database may have one more long job, and one job whose answer is under way.
                for copy in ("backup", "repaired"):
                    assert acknowledged <= jobs(db.home / f"{copy} {number}") <= len(kept) + 2
        assert len(client.jobs()) == len(kept)


@pytest.fixture
def filled(make_daemon: MakeDaemon) -> Daemon:
    daemon = make_daemon(settings={"ADMIN_KEY": ADMIN}).start()
    with daemon.client(admin_key=ADMIN) as client:
        client.make_queue()
        for _ in range(22):
            client.add({"text": "x" * 900_000})
    return daemon


def test_other_requests_are_answered_while_a_client_reads_a_backup_slowly(filled: Daemon, tmp_path: Path) -> None:
    before, memory = filled.db_path.read_bytes(), filled.memory("VmRSS")
    slow = HTTPConnection("127.0.0.1", filled.port, timeout=20)
    slow.request("GET", "/api/v1/backup", headers={"X-Admin-Key": ADMIN})
    response = slow.getresponse()
    assert response.status == 200
    with filled.client() as client:
        assert [client.add().status for _ in range(50)] == [201] * 50
    assert filled.memory("VmRSS") - memory < 8 << 20
    copy = tmp_path / "copy"
    copy.write_bytes(response.read())
    slow.close()
    assert without_end(copy.read_bytes()) == before
    assert jobs(copy) == 22


def test_the_client_saves_a_backup_to_a_new_file(filled: Daemon, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{filled.port}"

    async def by_asyncio(path: Path) -> int:
        async with AsyncJobEngine(url, admin_key=ADMIN) as engine:
            return await engine.backup(path)

    with JobEngine(url, admin_key=ADMIN) as engine:
        for name, take in (("threads", engine.backup), ("asyncio", lambda path: asyncio.run(by_asyncio(path)))):
            size = take(tmp_path / name)
            assert size == (tmp_path / name).stat().st_size
            assert without_end((tmp_path / name).read_bytes()) == filled.db_path.read_bytes()
            assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
            with pytest.raises(FileExistsError):
                take(tmp_path / name)
    with JobEngine(url, admin_key="wrong") as engine, pytest.raises(AccessDenied):
        engine.backup(tmp_path / "refused")
    assert listing(tmp_path) == ["asyncio", "home", "threads"]


def test_a_backup_cut_short_leaves_no_file(filled: Daemon, tmp_path: Path) -> None:
    with CuttingProxy(filled.port) as proxy, JobEngine(proxy.url, admin_key=ADMIN) as engine:
        proxy.cut("answer", 5 << 20)
        with pytest.raises(Unavailable, match="No complete copy came"):
            engine.backup(tmp_path / "copy")
    assert listing(tmp_path) == ["home"]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("command", ["backup", "rekey"])
def test_backup_or_rekey_killed_at_any_call_leaves_whole_files(db: Db, command: str, call: str) -> None:
    more = ("--new-secret-file", "new") if command == "rekey" else ("target",)
    whole, target, kills = db.path.read_bytes(), db.home / "target", 0
    while db.run(command, "jobengine.jedb", *more, prefix=at(call, f"signal=KILL:when={kills + 1}")).returncode:
        kills += 1
        assert kills < 10
        if command == "rekey" and db.path.read_bytes() != whole:
            assert jobs(db.path, "another secret") == 3
            db.path.write_bytes(whole)
        assert db.path.read_bytes() == whole
        if target.exists():
            assert jobs(target) == 3
            target.unlink()
    never = "/^link" if command == "rekey" else "/^rename"
    assert bool(kills) is (call != never), "the calls are not as they were: adapt the list"
    if command == "rekey":
        assert jobs(db.path, "another secret") == 3
    else:
        assert target.read_bytes() == db.path.read_bytes()


@pytest.mark.parametrize("command", ["backup", "rekey"])
def test_backup_and_rekey_leave_no_files_when_ended_by_sigterm(db: Db, command: str) -> None:
    more = ("--new-secret-file", "new") if command == "rekey" else ("target",)
    before = db.files()
    done = db.run(command, "jobengine.jedb", *more, prefix=at("pwrite64", "signal=TERM:when=1"))
    assert (done.returncode, done.stderr) == (143, "")
    assert db.files() == before


@pytest.mark.parametrize(("call", "error"), [("fdatasync", "EIO"), ("pwrite64", "EIO"), ("/^link", "EPERM")])
def test_after_a_failed_system_call_a_db_command_leaves_no_target_and_prints_the_reason(
    db: Db, call: str, error: str
) -> None:
    before = db.files()
    done = db.run("backup", "jobengine.jedb", "target", prefix=at(call, f"error={error}"))
    assert done.returncode == 1
    assert done.stderr.startswith("jobengine: " if "link" in call else f"jobengine: {db.path.with_name('target')}: ")
    assert ("Input/output error" if error == "EIO" else "Operation not permitted") in done.stderr
    assert db.files() == before


@pytest.mark.parametrize("command", ["backup", "restore", "repair", "rekey"])
def test_a_db_command_on_a_full_disk_exits_with_1_and_leaves_no_file(db: Db, small_disk: Path, command: str) -> None:
    db.path.unlink()
    make_large(db.path)
    on_disk = small_disk / "jobengine.jedb"
    if command == "rekey":
        os.link(db.path, db.path.with_name("same"))
        on_disk.write_bytes(db.path.read_bytes())
        done = db("rekey", str(on_disk), "--new-secret-file", "new", code=1)
    else:
        (small_disk / "filler").write_bytes(bytes(1 << 20))
        done = db(command, "jobengine.jedb", str(on_disk), code=1)
    advice = "No space left on device; free some space on that disk, or use another one"
    assert done.stderr == f"jobengine: {on_disk}: {advice}\n"
    expected = ["jobengine.jedb"] if command == "rekey" else ["filler"]
    assert listing(small_disk) == expected
    if command == "rekey":
        assert on_disk.read_bytes() == db.path.read_bytes()
    assert jobs(db.path) == 3


@pytest.mark.parametrize(
    "command", ["backup ADDRESS copy", "restore ADDRESS copy", "restore copy ADDRESS", "export ADDRESS a"]
)
def test_an_address_instead_of_a_file_is_refused_without_repeating_its_password(db: Db, command: str) -> None:
    said = db(*command.replace("ADDRESS", "postgresql://jobengine:geheim@db/jobengine").split(), code=2).stderr
    assert "PostgreSQL is backed up by pg_dump" in said
    assert "geheim" not in said
