"""Backup, restore and repair make a file that is whole, or none; the one they read stays as it is."""

from collections.abc import Callable
from itertools import pairwise

import pytest

from jobengine.core.fact_codec import encode
from jobengine.storage.errors import StorageError, WrongSecret
from jobengine.tools.copying import backup, restore
from jobengine.tools.repairing import repair
from jobengine.tools.target import TargetExists
from tests.doubles import SECRET
from tests.storage.files_of_commits import frame_starts
from tests.storage.simulated_files import SimulatedFiles

from .databases import COPY, FACTS, PATH, job, made, records


@pytest.fixture
def data() -> bytes:
    return made().now()[PATH]


@pytest.mark.parametrize("tool", [backup, restore, repair])
def test_a_copy_of_a_whole_file_is_the_file(tool: Callable[..., object], data: bytes) -> None:
    files = made()
    tool(PATH, COPY, SECRET, files=files)
    assert files.now() == {PATH: files.now()[PATH], COPY: files.now()[PATH]}


def test_an_incomplete_frame_is_not_copied_but_reported(data: bytes) -> None:
    last, end = frame_starts(data)[-3:-1]
    files = SimulatedFiles(disk={PATH: data[: end - 5]})
    copied = backup(PATH, COPY, SECRET, files=files)
    assert (copied.size, copied.unfinished) == (last, end - 5 - last)
    assert files.now() == {PATH: data[: end - 5], COPY: data[:last]}
    assert records(files, COPY) == [encode(fact) for fact in FACTS[:-1]]


@pytest.mark.parametrize("tool", [backup, restore])
def test_a_damaged_file_is_not_copied(tool: Callable[..., object], data: bytes) -> None:
    for at in range(0, len(data), 7):
        files = SimulatedFiles(disk={PATH: data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :]})
        before = files.now()
        with pytest.raises(StorageError, match=PATH):
            tool(PATH, COPY, SECRET, files=files)
        assert files.now() == before


@pytest.mark.parametrize("tool", [backup, restore, repair])
def test_an_existing_file_is_not_overwritten(tool: Callable[..., object]) -> None:
    files = made()
    files = SimulatedFiles(disk={**files.now(), COPY: b"dear to somebody"})
    before = files.now()
    with pytest.raises(TargetExists, match=COPY):
        tool(PATH, COPY, SECRET, files=files)
    assert files.now() == before


def test_a_file_that_appears_during_a_copy_is_not_overwritten() -> None:
    files = made()

    def come() -> None:
        files.moment = lambda: None
        files.write(files.create(COPY), b"dear to somebody", 0)

    files.moment = come
    with pytest.raises(TargetExists, match=COPY):
        backup(PATH, COPY, SECRET, files=files)
    assert files.now() == {PATH: files.now()[PATH], COPY: b"dear to somebody"}


def test_a_restored_file_is_counted() -> None:
    _, queues = restore(PATH, COPY, SECRET, files=made())
    assert [(queue.name, sum(queue.jobs.values())) for queue in queues] == [("mail", 3)]


def test_a_wrong_secret_makes_no_file() -> None:
    files = made()
    with pytest.raises(WrongSecret):
        repair(PATH, COPY, b"another", files=files)
    assert list(files.now()) == [PATH]


@pytest.mark.parametrize("tool", [backup, restore, repair])
def test_every_crash_leaves_the_source_as_it_was_and_the_copy_whole_or_absent(tool: Callable[..., object]) -> None:
    files = made([*FACTS, job(4, content=b"{%s}" % (b" " * 3000))])
    source, states = files.now()[PATH], set()

    def look() -> None:
        for disk in files.after_a_crash():
            assert disk[PATH] == source
            states.add(disk.get(COPY))

    files.moment = look
    tool(PATH, COPY, SECRET, files=files)
    assert states == {None, source}
    assert {disk.get(COPY) for disk in files.after_a_crash()} == {source}, "it is on disk when that was said"


@pytest.mark.parametrize("taken_out", ["syncs", "directory_syncs"])
def test_without_a_sync_a_crash_would_leave_something_else(taken_out: str) -> None:
    files = made()
    source = files.now()[PATH]
    setattr(files, taken_out, False)
    backup(PATH, COPY, SECRET, files=files)
    assert {disk.get(COPY) for disk in files.after_a_crash()} != {source}


def test_a_repair_has_every_commit_before_the_damage_and_reports_what_is_missing(data: bytes) -> None:
    starts = frame_starts(data)
    for number, (begin, end) in enumerate(pairwise(starts[2:-1])):
        damaged = data[: end - 1] + bytes([data[end - 1] ^ 1]) + data[end:]
        files = SimulatedFiles(disk={PATH: damaged})
        repaired = repair(PATH, COPY, SECRET, files=files)
        assert files.now()[PATH] == damaged
        assert records(files, COPY) == [encode(fact) for fact in FACTS[: 1 + number]]
        assert (repaired.taken, repaired.left) == (begin, len(data) - begin)
        assert (repaired.frames_left, repaired.frame_bytes_left) == (len(starts) - 3 - number - 1, len(data) - end)
        assert repaired.damage is not None
        assert not repaired.in_snapshot


def test_a_repair_of_an_unclear_end_has_all_that_is_before_it(data: bytes) -> None:
    files = SimulatedFiles(disk={PATH: data + b"noise" * 100})
    repaired = repair(PATH, COPY, SECRET, files=files)
    assert records(files, COPY) == [encode(fact) for fact in FACTS]
    assert (repaired.taken, repaired.left, repaired.frames_left) == (len(data), 500, 0)
    assert "no crash explains" in str(repaired.damage)


def test_a_repair_of_a_damaged_snapshot_has_its_undamaged_part_and_says_so(data: bytes) -> None:
    end = frame_starts(data)[1]
    damaged = data[: end - 1] + bytes([data[end - 1] ^ 1]) + data[end:]
    files = SimulatedFiles(disk={PATH: damaged})
    repaired = repair(PATH, COPY, SECRET, files=files)
    assert repaired.in_snapshot
    assert records(files, COPY) == []
