"""A replaced file frees its space in steps, unless another process has it open."""

import os
from pathlib import Path
from threading import Thread

import pytest

from jobengine.storage import files
from jobengine.storage.files import Files

SIZE = 3 * files._FREED_AT_ONCE + 5


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "old"
    path.touch()
    os.truncate(path, SIZE)
    return path


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The lengths to which files are cut."""
    lengths: list[int] = []
    cut = os.ftruncate

    def ftruncate(descriptor: int, length: int) -> None:
        lengths.append(length)
        cut(descriptor, length)

    monkeypatch.setattr(os, "ftruncate", ftruncate)
    return lengths


def discarded(descriptor: int) -> None:
    files._free(descriptor)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_a_discarded_file_without_a_name_is_freed_in_steps(path: Path, steps: list[int]) -> None:
    descriptor = Files().open(str(path))
    path.unlink()
    discarded(descriptor)
    assert steps == [2 * files._FREED_AT_ONCE + 5, files._FREED_AT_ONCE + 5, 5, 0]


def test_a_discarded_file_that_another_process_reads_is_not_truncated(path: Path, steps: list[int]) -> None:
    descriptor = Files().open(str(path))
    with path.open("rb") as reader:
        path.unlink()
        discarded(descriptor)
        assert os.fstat(reader.fileno()).st_size == SIZE
    assert steps == []


def test_a_discarded_file_with_another_name_is_not_truncated(path: Path, steps: list[int]) -> None:
    descriptor = Files().open(str(path))
    backup = path.with_name("backup")
    os.link(path, backup)
    path.unlink()
    discarded(descriptor)
    assert backup.stat().st_size == SIZE
    assert steps == []


def test_a_discarded_file_is_closed_even_if_no_thread_can_start(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_: Thread) -> None:
        raise RuntimeError("can't start new thread")

    descriptor = Files().open(str(path))
    monkeypatch.setattr(Thread, "start", start)
    Files().discard(descriptor)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
