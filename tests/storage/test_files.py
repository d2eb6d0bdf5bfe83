"""The methods of Files make the right system calls."""

import os
from pathlib import Path

import pytest

from jobengine.storage.files import Files


@pytest.fixture
def files() -> Files:
    return Files()


def test_each_sync_calls_fdatasync_or_fsync(files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, int]] = []
    monkeypatch.setattr(os, "fdatasync", lambda descriptor: asked.append(("data", descriptor)))
    monkeypatch.setattr(os, "fsync", lambda descriptor: asked.append(("all", descriptor)))
    file, folder = files.create(str(tmp_path / "file")), files.open_directory(str(tmp_path))
    files.sync(file)
    files.sync_directory(folder)
    assert asked == [("data", file), ("all", folder)]
    files.close(file)
    files.close(folder)


def test_begin_sync_leaves_the_written_bytes_unchanged(files: Files, tmp_path: Path) -> None:
    file = files.create(str(tmp_path / "file"))
    files.write(file, b"some", 0)
    files.begin_sync(file, 0, 4)
    assert files.read(file, 100, 0) == b"some"
    files.close(file)
    # Errors are ignored, since begin_sync is only advice; a later sync reports them.
    files.begin_sync(file, 0, 4)


def test_a_write_that_writes_only_a_part_is_continued_until_all_is_written(
    files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda descriptor, data, at: pwrite(descriptor, data[:3], at))
    file = files.create(str(tmp_path / "file"))
    files.write(file, b"0123456789", 4)
    assert files.read(file, 100, 0) == bytes(4) + b"0123456789"
    files.close(file)
