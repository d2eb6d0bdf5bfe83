"""Backup, restore and repair make a complete file, or none; they never change the file that they read."""

from collections.abc import Callable
from itertools import pairwise

import pytest

from jobengine.core.fact_codec import encode
from jobengine.storage.errors import StorageError, WrongSecret
from jobengine.storage.journal import Journal
from jobengine.tools.checking import check
from jobengine.tools.copying import backup, restore
from jobengine.tools.exporting import export
from jobengine.tools.importing import import_lines
from jobengine.tools.importing_go import import_go
from jobengine.tools.repairing import repair
from jobengine.tools.target import TargetExists
from tests.doubles import QUICK_KDF, SECRET
from tests.storage.files_of_commits import frame_starts, recovered, without_end
from tests.storage.simulated_files import SimulatedFiles

from .databases import COPY, FACTS, GO, PATH, TEXT, job, made, records
from .go_files import GO_SECRET, go_file, go_job, go_queue


@pytest.fixture
def data() -> bytes:
    return made().now()[PATH]


@pytest.fixture
def unclosed() -> bytes:
    return made(orderly=False).now()[PATH]


@pytest.mark.parametrize("tool", [backup, restore, repair])
def test_a_copy_of_an_undamaged_file_is_identical(tool: Callable[..., object], data: bytes) -> None:
    files = made()
    tool(PATH, COPY, SECRET, files=files)
    assert files.now() == {PATH: files.now()[PATH], COPY: files.now()[PATH]}


def test_an_incomplete_frame_is_not_copied_but_reported(data: bytes) -> None:
    last, end = frame_starts(data)[-3:-1]
    files = SimulatedFiles(disk={PATH: data[: end - 5]})
    copied = backup(PATH, COPY, SECRET, files=files)
    assert (copied.size, copied.unfinished) == (len(files.now()[COPY]), end - 5 - last)
    assert files.now()[PATH] == data[: end - 5]
    assert without_end(files.now()[COPY]) == data[:last]
    assert records(files, COPY) == [encode(fact) for fact in FACTS[:-1]]


@pytest.mark.parametrize("tool", [backup, restore])
def test_a_copy_of_an_unclosed_file_ends_with_a_closing_frame(tool: Callable[..., object]) -> None:
    files = made(orderly=False)
    tool(PATH, COPY, SECRET, files=files)
    assert without_end(files.now()[COPY]) == files.now()[PATH]
    assert check(COPY, SECRET, files=files).closed
    journal, _ = recovered(Journal(COPY, files=files))
    journal.append([encode(job(4))])
    journal.close(orderly=False)
    assert records(files, COPY) == [encode(fact) for fact in (*FACTS, job(4))], "a close is followed by commits"


def test_a_backup_cut_off_at_any_byte_does_not_count_as_closed(unclosed: bytes) -> None:
    whole = _backup_of(unclosed)
    starts = frame_starts(whole)
    for length in (*starts[2:-1], *range(starts[-2] + 1, len(whole))):
        files = SimulatedFiles(disk={PATH: whole[:length]})
        report = check(PATH, SECRET, files=files)
        assert (report.closed, report.damage) == (False, None)
        copied, _ = restore(PATH, COPY, SECRET, files=files)
        assert not copied.ended
    assert check(PATH, SECRET, files=SimulatedFiles(disk={PATH: whole})).closed
    copied, _ = restore(PATH, COPY, SECRET, files=SimulatedFiles(disk={PATH: whole}))
    assert copied.ended


def test_a_backup_of_a_backup_is_identical(unclosed: bytes) -> None:
    whole = _backup_of(unclosed)
    assert _backup_of(whole) == whole


def _backup_of(data: bytes) -> bytes:
    files = SimulatedFiles(disk={PATH: data})
    backup(PATH, COPY, SECRET, files=files)
    return files.now()[COPY]


@pytest.mark.parametrize("tool", [backup, restore])
def test_a_damaged_file_is_not_copied(tool: Callable[..., object], data: bytes) -> None:
    for at in range(0, len(data), 7):
        files = SimulatedFiles(disk={PATH: data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :]})
        before = files.now()
        with pytest.raises(StorageError, match=PATH):
            tool(PATH, COPY, SECRET, files=files)
        assert files.now() == before


#: Each tool that makes a file: its source, its target, and a call of it.
TOOLS: dict[str, tuple[str, str, Callable[[SimulatedFiles], object]]] = {
    "backup": (PATH, COPY, lambda files: backup(PATH, COPY, SECRET, files=files)),
    "restore": (PATH, COPY, lambda files: restore(PATH, COPY, SECRET, files=files)),
    "repair": (PATH, COPY, lambda files: repair(PATH, COPY, SECRET, files=files)),
    "export": (PATH, TEXT, lambda files: export(PATH, TEXT, SECRET, files=files)),
    "import": (TEXT, COPY, lambda files: import_lines(TEXT, COPY, SECRET, files=files, kdf=QUICK_KDF)),
    "import-go": (GO, COPY, lambda files: import_go(GO, COPY, GO_SECRET, SECRET, files=files, kdf=QUICK_KDF)),
}
EACH_TOOL = pytest.mark.parametrize(("source", "target", "tool"), TOOLS.values(), ids=TOOLS)


def source_at(path: str) -> SimulatedFiles:
    """A disk with the source file that a tool reads."""
    if path == GO:
        return SimulatedFiles(disk={GO: go_file(go_queue("mail", b"key", [go_job(number) for number in range(30)]))})
    files = made([*FACTS, job(4, content=b"{%s}" % (b" " * 3000))], orderly=False)
    export(PATH, TEXT, SECRET, files=files)
    return SimulatedFiles(disk={path: files.now()[path]})


@EACH_TOOL
def test_an_existing_file_is_not_overwritten(
    source: str, target: str, tool: Callable[[SimulatedFiles], object]
) -> None:
    files = SimulatedFiles(disk={**source_at(source).now(), target: b"dear to somebody"})
    before = files.now()
    with pytest.raises(TargetExists, match=target):
        tool(files)
    assert files.now() == before


def test_a_file_that_appears_during_a_copy_is_not_overwritten() -> None:
    files = made()

    def create_the_target() -> None:
        files.moment = lambda: None
        files.write(files.create(COPY), b"dear to somebody", 0)

    files.moment = create_the_target
    with pytest.raises(TargetExists, match=COPY):
        backup(PATH, COPY, SECRET, files=files)
    assert files.now() == {PATH: files.now()[PATH], COPY: b"dear to somebody"}


def test_restore_returns_the_queues_and_their_job_counts() -> None:
    _, queues = restore(PATH, COPY, SECRET, files=made())
    assert [(queue.name, sum(queue.jobs.values())) for queue in queues] == [("mail", 3)]


def test_a_wrong_secret_makes_no_file() -> None:
    files = made()
    with pytest.raises(WrongSecret):
        repair(PATH, COPY, b"another", files=files)
    assert list(files.now()) == [PATH]


@EACH_TOOL
def test_a_crash_during_a_copy_leaves_the_source_unchanged_and_the_copy_complete_or_absent(
    source: str, target: str, tool: Callable[[SimulatedFiles], object]
) -> None:
    files = source_at(source)
    before, states = files.now()[source], set()

    def check_every_crash() -> None:
        for disk in files.after_a_crash():
            assert disk[source] == before
            states.add(disk.get(target))

    files.moment = check_every_crash
    tool(files)
    whole = files.now()[target]
    assert states == {None, whole}
    assert {disk.get(target) for disk in files.after_a_crash()} == {whole}, (
        "after the tool returned, the copy survives any crash"
    )
    assert set(files.now()) == {source, target}


@pytest.mark.parametrize("taken_out", ["syncs", "directory_syncs"])
def test_without_a_sync_a_crash_would_lose_the_copy(taken_out: str) -> None:
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


def test_a_repair_of_a_file_with_unknown_bytes_at_its_end_has_everything_before_these_bytes(data: bytes) -> None:
    files = SimulatedFiles(disk={PATH: data + b"noise" * 100})
    repaired = repair(PATH, COPY, SECRET, files=files)
    assert records(files, COPY) == [encode(fact) for fact in FACTS]
    assert (repaired.taken, repaired.left, repaired.frames_left) == (len(data), 500, 0)
    assert "no crash explains" in str(repaired.damage)


def test_a_repair_of_a_damaged_snapshot_keeps_the_undamaged_part_and_reports_the_damage(data: bytes) -> None:
    end = frame_starts(data)[1]
    damaged = data[: end - 1] + bytes([data[end - 1] ^ 1]) + data[end:]
    files = SimulatedFiles(disk={PATH: damaged})
    repaired = repair(PATH, COPY, SECRET, files=files)
    assert repaired.in_snapshot
    assert records(files, COPY) == []
