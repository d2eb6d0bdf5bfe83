"""A backup reader yields the frames that a file had, and a closing frame, while the file goes on."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from jobengine.storage.backup_reader import BackupReader
from jobengine.storage.journal import Journal

from .files_of_commits import opened, read, without_end

LONG = b"x" * 300_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "db"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    journal, _ = opened(path)
    journal.append([LONG])
    yield journal
    journal.close(orderly=False)


def all_of(reader: BackupReader) -> bytes:
    whole = b""
    while piece := reader.read(len(whole)):
        whole += piece
    reader.close()
    return whole


def test_a_backup_has_the_frames_at_its_start_and_a_closing_frame_while_writing_continues(
    journal: Journal, path: Path
) -> None:
    before, reader = path.read_bytes(), journal.backup_reader()
    journal.append([b"later"])
    copy = path.with_name("copy")
    copy.write_bytes(all_of(reader))
    assert without_end(copy.read_bytes()) == before
    again, commits = opened(copy)
    assert (again.clean, commits) == (True, [(LONG,)])
    again.append([b"in the copy"])
    again.close(orderly=False)
    assert read(copy) == [(LONG,), (b"in the copy",)]
    journal.close(orderly=False)
    assert read(path) == [(LONG,), (b"later",)]


def test_a_backup_of_a_file_with_a_closing_frame_gets_no_second_closing_frame(journal: Journal, path: Path) -> None:
    journal.close(orderly=True)
    before = path.read_bytes()
    journal, _ = opened(path)
    assert all_of(journal.backup_reader()) == before
    journal.append([b"later"])
    assert without_end(all_of(journal.backup_reader())) == path.read_bytes()
    journal.close(orderly=False)


def test_a_backup_of_a_compacted_file_ends_with_a_closing_frame(journal: Journal, path: Path) -> None:
    journal.start_copy()
    assert journal.finish_copy()
    assert without_end(all_of(journal.backup_reader())) == path.read_bytes()


def test_a_backup_of_a_file_truncated_meanwhile_has_no_closing_frame(journal: Journal, path: Path) -> None:
    reader = journal.backup_reader()
    left = path.stat().st_size - 10
    with path.open("r+b") as file:
        file.truncate(left)
    assert len(all_of(reader)) == left
