"""Writes, syncs and renames that fail: what the journal does, and the contents of the file afterwards."""

import errno
import gc
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from jobengine.storage import frames as frames_module
from jobengine.storage.errors import Locked, NoRoom, StorageBroken
from jobengine.storage.journal import Journal
from tests.doubles import QUICK_KDF, SECRET
from tests.storage.files_of_commits import frame_starts, listing, opened, read, write
from tests.storage.simulated_files import FaultyFiles

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
BROKEN = OSError(errno.EIO, os.strerror(errno.EIO))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "db"


@pytest.fixture
def files() -> FaultyFiles:
    return FaultyFiles()


@pytest.fixture
def journal(path: Path, files: FaultyFiles) -> Journal:
    """An open journal with one commit."""
    journal, _ = opened(path, files)
    journal.append([b"first"])
    return journal


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
@pytest.mark.parametrize("short", [0, 1, 50])
def test_a_failed_write_on_a_full_disk_is_removed_and_later_writes_succeed(
    path: Path, files: FaultyFiles, journal: Journal, code: int, short: int
) -> None:
    before = path.read_bytes()
    files.faults, files.short = {"write": [OSError(code, os.strerror(code))] * 3}, short
    for _ in range(3):
        with pytest.raises(NoRoom, match=os.strerror(code)):
            journal.append([b"second"])
        assert path.read_bytes() == before
        assert journal.size == len(before)
    journal.append([b"third"])
    journal.close(orderly=True)
    assert read(path) == [(b"first",), (b"third",)]


@pytest.mark.parametrize("at", range(4))
def test_a_full_disk_at_any_write_loses_only_that_commit(path: Path, files: FaultyFiles, at: int) -> None:
    journal, _ = opened(path, files)
    files.faults, files.short = {"write": [*[None] * at, FULL]}, 20
    written = []
    for number in range(5):
        record = b"%d" % number
        try:
            journal.append([record])
        except NoRoom:
            continue
        written.append((record,))
    journal.close(orderly=False)
    assert len(written) == 4
    assert read(path) == written


@pytest.mark.parametrize(
    ("faults", "short", "message"),
    [({"write": [BROKEN]}, 5, None), ({"write": [FULL], "truncate": [BROKEN]}, 30, "removing its incomplete bytes")],
    ids=["write", "truncation"],
)
def test_nothing_more_is_written_after_a_broken_write_or_truncation(
    path: Path,
    files: FaultyFiles,
    journal: Journal,
    faults: dict[str, list[OSError | None]],
    short: int,
    message: str | None,
) -> None:
    files.faults, files.short = faults, short
    with pytest.raises(StorageBroken, match=message):
        journal.append([b"second"])
    assert_nothing_is_written_any_more(journal, files)
    assert read(path) == [(b"first",)]


@pytest.mark.parametrize("error", [BROKEN, FULL], ids=["EIO", "ENOSPC"])
def test_nothing_more_is_written_after_any_failed_sync(
    path: Path, files: FaultyFiles, journal: Journal, error: OSError
) -> None:
    files.faults = {"sync": [error]}
    with pytest.raises(StorageBroken, match="may or may not"):
        journal.append([b"second"])
    assert_nothing_is_written_any_more(journal, files)
    reopened, commits = opened(path)
    assert commits == [(b"first",), (b"second",)]
    assert not reopened.clean
    reopened.close(orderly=False)


def assert_nothing_is_written_any_more(journal: Journal, files: FaultyFiles) -> None:
    files.calls.clear()
    for _ in range(2):
        with pytest.raises(StorageBroken):
            journal.append([b"another"])
        with pytest.raises(StorageBroken):
            journal.sync()
    with pytest.raises(StorageBroken):
        journal.close(orderly=True)
    assert files.calls == []


def test_a_file_whose_closing_sync_failed_is_reopened_as_unclean(
    path: Path, files: FaultyFiles, journal: Journal
) -> None:
    files.faults = {"sync": [None, BROKEN]}
    with pytest.raises(StorageBroken):
        journal.close(orderly=True)
    reopened, commits = opened(path)
    assert commits == [(b"first",)]
    assert not reopened.clean
    reopened.close(orderly=False)


def test_frames_appended_without_sync_are_synced_before_the_closing_frame(
    path: Path, files: FaultyFiles, journal: Journal
) -> None:
    journal.append([b"second"], sync=False)
    files.calls.clear()
    journal.close(orderly=True)
    assert files.calls == ["sync", "write", "sync"]
    reopened, commits = opened(path)
    assert reopened.clean
    assert commits == [(b"first",), (b"second",)]
    reopened.close(orderly=False)


@pytest.mark.parametrize(
    ("method", "which"),
    [("write", 1), ("write", 2), ("write", 3), ("sync", 1), ("rename", 0)],
)
@pytest.mark.parametrize("error", [FULL, BROKEN], ids=["ENOSPC", "EIO"])
def test_a_failed_compaction_copy_is_dropped_and_commits_continue(
    path: Path, files: FaultyFiles, journal: Journal, method: str, which: int, error: OSError
) -> None:
    """The failing calls: writes of the copy's slice, its commit and its end; the sync of the copy; the rename."""
    journal.start_copy()
    files.faults = {method: [*[None] * which, error]}
    compact(journal)
    assert not journal.compacting
    journal.append([b"after"])
    journal.close(orderly=False)
    assert listing(path.parent) == ["db"]
    assert read(path)[-1] == (b"after",)
    assert sorted({record for commit in read(path) for record in commit}) == [b"after", b"first", b"second"]


def compact(journal: Journal) -> bool:
    journal.append([b"second"], [b"first"])
    return journal.finish_copy()


@contextmanager
def no_descriptors_left() -> Iterator[None]:
    """Use up all file descriptors."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Collect garbage first: otherwise it may close files of earlier tests later, which frees descriptors.
    gc.collect()
    gc.disable()
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, limits[1]))
    try:
        with pytest.raises(OSError, match=os.strerror(errno.EMFILE)):
            os.dup(0)
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        gc.enable()


def test_without_file_descriptors_no_compaction_starts_and_a_running_one_completes(
    path: Path, journal: Journal
) -> None:
    with no_descriptors_left(), pytest.raises(OSError, match=os.strerror(errno.EMFILE)):
        journal.start_copy()
    journal.start_copy()
    with no_descriptors_left():
        assert compact(journal)
        journal.append([b"after"])
    journal.close(orderly=True)
    assert read(path) == [(b"first",), (b"second",), (b"after",)]


@pytest.mark.parametrize("error", [FULL, BROKEN], ids=["ENOSPC", "EIO"])
@pytest.mark.parametrize("method", ["create", "write"])
def test_a_compaction_copy_that_cannot_be_started_leaves_no_file(
    path: Path, files: FaultyFiles, journal: Journal, method: str, error: OSError
) -> None:
    files.faults = {method: [error]}
    with pytest.raises(OSError, match=str(error.strerror)):
        journal.start_copy()
    assert not journal.compacting
    assert listing(path.parent) == ["db"]
    journal.start_copy()
    assert compact(journal)


def test_a_compaction_whose_directory_sync_fails_ends_the_process(
    path: Path, files: FaultyFiles, journal: Journal
) -> None:
    """After a crash either of the two files may have the name, so nothing may be written to either."""
    journal.start_copy()
    files.faults = {"sync_directory": [BROKEN]}
    journal.append([b"second"], [b"first"])
    with pytest.raises(StorageBroken):
        journal.finish_copy()
    assert_nothing_is_written_any_more(journal, files)
    assert sorted({record for commit in read(path) for record in commit}) == [b"first", b"second"]


def test_on_a_full_disk_the_compaction_copy_is_deleted(path: Path, files: FaultyFiles, journal: Journal) -> None:
    journal.start_copy()
    files.faults = {"write": [FULL]}
    with pytest.raises(NoRoom):
        journal.append([b"second"])
    assert not journal.compacting
    assert listing(path.parent) == ["db"]
    journal.append([b"second"])
    journal.close(orderly=False)
    assert read(path) == [(b"first",), (b"second",)]


@pytest.mark.parametrize("method", ["write", "sync", "sync_directory"])
def test_nothing_more_is_written_after_a_failed_confirmation(path: Path, files: FaultyFiles, method: str) -> None:
    write(path, [(b"first",)])
    journal, _ = opened(path, files)
    files.faults = {method: [BROKEN]}
    with pytest.raises(StorageBroken):
        journal.confirm()
    assert_nothing_is_written_any_more(journal, files)
    assert listing(path.parent) == ["db"]
    assert read(path) == [(b"first",)]


@pytest.mark.parametrize("method", ["create", "write", "sync", "sync_directory"])
def test_a_torn_tail_that_cannot_be_copied_stays_in_the_file(path: Path, files: FaultyFiles, method: str) -> None:
    cut = write(path, [(b"first",), (b"second",)])[:-1]
    path.write_bytes(cut)
    files.faults = {method: [FULL]}
    with pytest.raises((OSError, StorageBroken)):
        opened(path, files)
    assert path.read_bytes() == cut
    if method != "sync_directory":
        assert listing(path.parent) == ["db"]


def test_a_commit_too_long_for_a_frame_is_split_into_several(
    path: Path, journal: Journal, files: FaultyFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frames_module, "_MOST", 100)
    records = [bytes([number]) * 40 for number in range(7)]
    before = path.read_bytes()
    files.faults, files.short = {"write": [FULL]}, 300
    with pytest.raises(NoRoom):
        journal.append(records)
    assert path.read_bytes() == before
    files.calls.clear()
    journal.append([*records, b"." * 500])
    assert files.calls == ["write", "sync"]
    journal.close(orderly=False)
    commits = read(path)
    assert len(commits) == 1 + 5
    assert [record for commit in commits[1:] for record in commit] == [*records, b"." * 500]


def test_no_file_has_records_in_plain_text(path: Path, files: FaultyFiles) -> None:
    canary = b"canary-7f3a9"
    journal, _ = opened(path, files)
    journal.append([canary * 3])
    journal.start_copy()
    journal.append([canary], [canary * 3])
    assert b"db.new" in {os.fsencode(name) for name in listing(path.parent)}
    assert_not_found(path.parent, canary)
    assert journal.finish_copy()
    journal.append([canary * 100])
    journal.close(orderly=False)
    path.write_bytes(path.read_bytes()[:-3])
    journal, _ = opened(path, files)
    assert journal.torn is not None
    assert len(listing(path.parent)) == 2
    assert_not_found(path.parent, canary)
    journal.close(orderly=True)


def assert_not_found(folder: Path, canary: bytes) -> None:
    for name in os.listdir(folder):
        content = (folder / name).read_bytes()
        for secret in (canary, SECRET):
            assert secret not in content
            assert secret.hex().encode() not in content


def test_a_finished_compaction_copy_has_all_records_written_to_it(path: Path, journal: Journal) -> None:
    journal.append([b"second"])
    size = journal.size
    journal.start_copy()
    journal.append([b"third"], [b"first"])
    journal.append([], [b"second"])
    assert journal.finish_copy()
    assert journal.size == path.stat().st_size
    assert len(frame_starts(path.read_bytes())) == 1 + 4
    assert size != journal.size
    journal.append([b"fourth"])
    journal.close(orderly=True)
    assert read(path) == [(b"first",), (b"third",), (b"second",), (b"fourth",)]
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_compaction_through_a_link_replaces_the_linked_file(path: Path, journal: Journal, tmp_path: Path) -> None:
    journal.close(orderly=True)
    link = tmp_path / "elsewhere" / "link"
    link.parent.mkdir()
    link.symlink_to(path)
    journal, _ = opened(link)
    journal.start_copy()
    journal.append([], [b"first"])
    assert journal.finish_copy()
    journal.append([b"second"])
    journal.close(orderly=True)
    assert listing(link.parent) == ["link"]
    assert link.is_symlink()
    assert read(path) == [(b"first",), (b"second",)]


def test_another_name_of_an_open_file_is_refused_before_and_after_a_compaction(path: Path, journal: Journal) -> None:
    for name in ("before", "after"):
        path.with_name(name).hardlink_to(path)
        other = Journal(str(path.with_name(name)), kdf=QUICK_KDF)
        other.lock()
        with pytest.raises(Locked, match=f"{name}: another JobEngine is running on this database; stop it first$"):
            other.open(SECRET)
        other.close(orderly=False)
        journal.start_copy()
        assert journal.finish_copy()
    journal.close(orderly=True)


def test_a_left_over_compaction_copy_is_removed_at_the_next_start(path: Path) -> None:
    write(path, [(b"first",)])
    path.with_name("db.new").write_bytes(b"half a copy")
    journal, commits = opened(path)
    assert commits == [(b"first",)]
    assert listing(path.parent) == ["db"]
    journal.close(orderly=True)
