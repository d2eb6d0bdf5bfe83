"""A database file that is moved, deleted, replaced or overwritten while it is open."""

from pathlib import Path

import pytest

from jobengine.storage.errors import FileChanged
from jobengine.storage.journal import Journal
from tests.storage.files_of_commits import listing, opened, read


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "db"


@pytest.fixture
def journal(path: Path) -> Journal:
    """An open journal with one commit."""
    journal, _ = opened(path)
    journal.append([b"first"])
    return journal


def test_nothing_is_written_to_a_file_that_was_moved_until_it_is_back(path: Path, journal: Journal) -> None:
    moved = path.rename(path.with_name("moved"))
    before = moved.read_bytes()
    for _ in range(2):
        with pytest.raises(FileChanged, match="put it back"):
            journal.append([b"second"])
    assert moved.read_bytes() == before
    assert listing(path.parent) == ["moved"]
    moved.rename(path)
    journal.append([b"third"])
    journal.close(orderly=True)
    assert read(path) == [(b"first",), (b"third",)]


def test_nothing_is_written_while_another_file_or_directory_has_the_name(path: Path, journal: Journal) -> None:
    path.rename(path.with_name("moved"))
    for make in (lambda: path.write_bytes(b"another"), path.unlink, path.mkdir):
        make()
        with pytest.raises(FileChanged):
            journal.append([b"second"])


@pytest.mark.parametrize("length", [0, 100, 100_000])
def test_nothing_is_written_to_a_file_that_another_program_overwrote(path: Path, journal: Journal, length: int) -> None:
    path.write_bytes(b"x" * length)
    for records in ([b"second"], []):
        with pytest.raises(FileChanged, match="another program has written"):
            journal.append(records)
    with pytest.raises(FileChanged):
        journal.backup_reader()
    assert path.read_bytes() == b"x" * length


def test_a_compaction_never_replaces_a_file_that_took_the_name(path: Path, journal: Journal) -> None:
    journal.start_copy()
    journal.append([b"second"], [b"first"])
    path.unlink()
    path.write_bytes(b"another")
    assert not journal.finish_copy()
    assert path.read_bytes() == b"another"
    assert listing(path.parent) == ["db"]
    assert "replaced" in journal.copy_error


def test_a_write_that_is_refused_because_the_file_was_moved_ends_the_compaction(path: Path, journal: Journal) -> None:
    journal.start_copy()
    moved = path.rename(path.with_name("moved"))
    with pytest.raises(FileChanged):
        journal.append([b"second"], [b"first"])
    assert not journal.compacting
    assert listing(path.parent) == ["moved"]
    moved.rename(path)
    journal.close(orderly=False)


def test_a_backup_has_all_of_a_file_that_was_deleted_and_replaced(path: Path, journal: Journal) -> None:
    path.unlink()
    path.write_bytes(b"another")
    reader = journal.backup_reader()
    copy = path.with_name("copy")
    with copy.open("wb") as file:
        while part := reader.read(file.tell()):
            file.write(part)
    reader.close()
    assert read(copy) == [(b"first",)]


def test_a_link_with_the_name_of_a_file_that_was_moved_is_as_good_as_the_file(path: Path, journal: Journal) -> None:
    path.symlink_to(path.rename(path.with_name("moved")))
    journal.append([b"second"])
    journal.close(orderly=True)
    assert read(path) == [(b"first",), (b"second",)]
