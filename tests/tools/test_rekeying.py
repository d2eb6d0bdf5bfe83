"""A re-keyed database has all of its records; a crash leaves the old file or the new one."""

import os
from pathlib import Path

import pytest

from jobengine.core.fact_codec import encode
from jobengine.daemon.secret_file import BadSecret
from jobengine.storage.errors import Damaged, Locked, WrongSecret
from jobengine.storage.journal import Journal
from jobengine.tools.checking import check
from jobengine.tools.rekeying import rekey
from tests.doubles import QUICK_KDF, SECRET
from tests.storage.files_of_commits import frame_starts, listing, write
from tests.storage.simulated_files import Disk, SimulatedFiles

from .databases import FACTS, PATH, made, records

NEW = b"another secret"
RECORDS = [encode(fact) for fact in FACTS]


def test_a_rekeyed_file_has_all_records_and_opens_only_with_the_new_secret() -> None:
    files = made()
    before = files.now()[PATH]
    size = rekey(PATH, SECRET, NEW, files=files, kdf=QUICK_KDF)
    assert list(files.now()) == [PATH]
    assert size == len(files.now()[PATH])
    # Another file id, salt and data key.
    assert files.now()[PATH][12:28] != before[12:28]
    with pytest.raises(WrongSecret):
        check(PATH, SECRET, files=files)
    report = check(PATH, NEW, files=files)
    assert report.closed
    assert records(files, PATH, NEW) == RECORDS


def test_a_crash_during_rekey_leaves_either_the_old_file_or_the_new_file() -> None:
    files = made()
    opened_with = set()
    seen: set[bytes] = set()

    def look(disk: Disk) -> None:
        if disk[PATH] in seen:
            return
        seen.add(disk[PATH])
        survivor = SimulatedFiles(disk=disk)
        try:
            assert records(survivor, PATH, SECRET) == RECORDS
            opened_with.add("old")
        except WrongSecret:
            assert records(survivor, PATH, NEW) == RECORDS
            opened_with.add("new")

    def look_at_all() -> None:
        for disk in files.after_a_crash():
            look(disk)

    files.moment = look_at_all
    rekey(PATH, SECRET, NEW, files=files, kdf=QUICK_KDF)
    assert opened_with == {"old", "new"}
    opened_with.clear()
    seen.clear()
    look_at_all()
    assert opened_with == {"new"}, "after rekey returned, the new file survives any crash"


def test_rekey_keeps_a_copy_of_a_torn_last_write_like_a_server_start() -> None:
    data = made().now()[PATH]
    end = frame_starts(data)[-2]
    files = SimulatedFiles(disk={PATH: data[: end - 5]})
    rekey(PATH, SECRET, NEW, files=files, kdf=QUICK_KDF)
    assert records(files, PATH, NEW) == RECORDS[:-1]
    assert [name for name in files.now() if ".torn-" in name]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "db"
    write(path, [(record,) for record in RECORDS], orderly=True)
    return path


def test_rekey_refuses_a_database_in_use_and_does_not_change_it(path: Path) -> None:
    before = path.read_bytes()
    journal = Journal(str(path), kdf=QUICK_KDF)
    journal.lock()
    try:
        with pytest.raises(Locked, match="another JobEngine is running"):
            rekey(str(path), SECRET, NEW)
    finally:
        journal.close(orderly=False)
    assert (path.read_bytes(), listing(path.parent)) == (before, ["db"])


@pytest.mark.parametrize("secret", [b"wrong", SECRET])
def test_rekey_does_not_change_a_database_that_it_can_not_open(path: Path, secret: bytes) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(Damaged if secret == SECRET else WrongSecret, match=str(path)):
        rekey(str(path), secret, NEW)
    assert (path.read_bytes(), listing(path.parent)) == (bytes(data), ["db"])


def test_rekey_refuses_the_secret_that_the_database_has_already(path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(BadSecret, match=f"{path} has this SECRET already"):
        rekey(str(path), SECRET, SECRET)
    assert (path.read_bytes(), listing(path.parent)) == (before, ["db"])


def test_rekey_of_a_missing_database_makes_no_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        rekey(str(tmp_path / "folder" / "db"), SECRET, NEW)
    assert os.listdir(tmp_path) == []


def test_a_rekeyed_file_keeps_its_owner(path: Path) -> None:
    # Only root may give files away.
    owner = (os.getuid(), os.getgid()) if os.getuid() else (12345, 23456)
    os.chown(path, *owner)
    rekey(str(path), SECRET, NEW, kdf=QUICK_KDF)
    there = path.stat()
    assert (there.st_uid, there.st_gid, there.st_mode & 0o777) == (*owner, 0o600)
