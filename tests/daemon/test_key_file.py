"""The key file: complete or missing, and never empty."""

import errno
import os
from pathlib import Path

import pytest

from jobengine.daemon.key_file import key_file_secret
from jobengine.storage.errors import WrongSecret
from jobengine.storage.files import Files
from tests.storage.simulated_files import FaultyFiles, SimulatedFiles


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return tmp_path / "db"


def _names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_a_second_start_finds_the_generated_secret(db: Path) -> None:
    secret = key_file_secret(str(db))
    assert len(secret) == 64
    assert key_file_secret(str(db)) == secret
    assert _names(db.parent) == ["db.key"]


@pytest.mark.parametrize("content", [b"", b"\n", b" \t\r\n", b"\0" * 65, b"x" * 100_000])
@pytest.mark.parametrize("has_database", [True, False])
def test_a_key_file_without_a_secret_is_refused_and_not_changed(db: Path, content: bytes, has_database: bool) -> None:
    key = Path(f"{db}.key")
    key.write_bytes(content)
    if has_database:
        db.write_bytes(b"a database")
    with pytest.raises(WrongSecret, match=f"the key file {key} "):
        key_file_secret(str(db))
    assert key.read_bytes() == content


@pytest.mark.parametrize("call", ["create", "write", "sync", "link"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_failure_while_a_key_file_is_made_leaves_no_file(db: Path, call: str, code: int) -> None:
    files = FaultyFiles(faults={call: [OSError(code, os.strerror(code))]}, short=10)
    with pytest.raises(OSError, match=os.strerror(code)):
        key_file_secret(str(db), files)
    assert _names(db.parent) == []


def test_two_concurrent_starts_use_the_secret_that_was_made_first(db: Path) -> None:
    others: list[bytes] = []

    class Slow(Files):
        def link(self, old: str, new: str) -> None:
            others.append(key_file_secret(str(db)))
            super().link(old, new)

    assert key_file_secret(str(db), Slow()) == others[0]
    assert _names(db.parent) == ["db.key"]


def _left_by_a_crash(*, syncs: bool = True, directory_syncs: bool = True) -> tuple[set[bytes], set[bytes | None]]:
    """The contents that a key file may have after a power cut: while it is made, and after its SECRET was returned."""
    during: set[bytes] = set()
    files = SimulatedFiles(syncs=syncs, directory_syncs=directory_syncs)
    files.moment = lambda: during.update(
        disk["/none/db.key"] for disk in files.after_a_crash() if "/none/db.key" in disk
    )
    key_file_secret("/none/db", files)
    return during, {disk.get("/none/db.key") for disk in files.after_a_crash()}


def test_a_power_cut_leaves_no_partial_key_file_and_keeps_a_key_file_in_use() -> None:
    during, after = _left_by_a_crash()
    assert during == after
    (content,) = after
    assert content is not None
    assert len(content) == 65


def test_without_syncs_a_power_cut_would_lose_or_empty_the_key_file() -> None:
    during, _ = _left_by_a_crash(syncs=False)
    assert b"" in during
    _, after = _left_by_a_crash(directory_syncs=False)
    assert None in after
