"""A backup is what was on disk when it began, even with writes, a compaction or a stop meanwhile."""

import os
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import CancelledError

from jobengine.core.model import State
from jobengine.engine.door import Busy
from jobengine.tools.checking import check
from tests.doubles import SECRET
from tests.engine.engines import Desk
from tests.storage.files_of_commits import without_end
from tests.storage.simulated_files import FaultyFiles

#: The length of a content so long that its backup takes several pieces.
LONG = b'{"text":"%s"}' % (b"x" * 700_000)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    desk = Desk(tmp_path / "db", parts={"compaction_pause": 0})
    desk.create()
    return desk


def begun(desk: Desk) -> Any:
    """The pieces of a backup, none of them read yet."""
    return desk.told(desk.engine.backup())


def piece(desk: Desk, pieces: Any) -> bytes:
    """The next piece; empty at the end."""
    asked = desk.ask(anext(pieces, b""))
    desk.settle()
    read: bytes = asked.answer
    return read


def all_of(desk: Desk, pieces: Any) -> bytes:
    whole = b""
    while read := piece(desk, pieces):
        whole += read
    return whole


def times_open(path: Path) -> int:
    """How many file descriptors of this process refer to a file."""
    return sum(one.exists() and one.samefile(path) for one in Path("/proc/self/fd").iterdir())


def jobs_in(data: bytes, tmp_path: Path) -> int:
    path = tmp_path / "copy"
    path.write_bytes(data)
    report = check(str(path), SECRET)
    assert (report.damage, report.unfinished, report.closed) == (None, 0, True)
    return sum(report.states.values())


def test_a_backup_is_the_file_and_a_closing_frame(desk: Desk, tmp_path: Path) -> None:
    desk.told(desk.adding(content=LONG))
    whole = all_of(desk, begun(desk))
    assert without_end(whole) == desk.path.read_bytes()
    assert jobs_in(whole, tmp_path) == 1


def test_a_backup_does_not_have_commits_made_after_its_start(desk: Desk, tmp_path: Path) -> None:
    desk.told(desk.adding(content=LONG))
    pieces = begun(desk)
    before, first = desk.path.read_bytes(), piece(desk, pieces)
    desk.told(desk.adding(content=LONG))
    whole = first + all_of(desk, pieces)
    assert without_end(whole) == before
    assert jobs_in(whole, tmp_path) == 1


def test_a_backup_has_a_commit_that_was_being_written_at_its_start(desk: Desk, tmp_path: Path) -> None:
    adding = desk.ask(desk.adding())
    desk.turn()
    assert not adding.answered
    assert jobs_in(all_of(desk, begun(desk)), tmp_path) == 1


def test_a_backup_abandoned_before_its_first_piece_leaves_no_file_open(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Close discarded files at once instead of in the background.
    monkeypatch.setattr(FaultyFiles, "discard", lambda _, descriptor: os.close(descriptor))
    pieces, before = begun(desk), times_open(desk.path)
    asked = desk.ask(anext(pieces, b""))
    desk.turn()
    asked.cancel()
    desk.settle()
    assert asked.error is CancelledError
    assert times_open(desk.path) == before


def test_a_backup_continues_with_the_old_file_after_a_compaction(desk: Desk, tmp_path: Path) -> None:
    job = desk.told(desk.adding(content=LONG))
    pieces = begun(desk)
    before, first = desk.path.read_bytes(), piece(desk, pieces)
    desk.engine.executor.compaction.slack = 1000
    for _ in range(10_000):
        if desk.figure("compactions", outcome="done"):
            break
        desk.told(desk.updating(job.spec.uid, State.QUEUED))
    assert desk.path.read_bytes()[:200] != before[:200], "the name stands for another file"
    whole = first + all_of(desk, pieces)
    assert without_end(whole) == before
    assert jobs_in(whole, tmp_path) == 1


def test_a_backup_reads_a_piece_of_the_file_only_on_request(desk: Desk) -> None:
    desk.told(desk.adding(content=LONG))
    pieces = begun(desk)
    piece(desk, pieces)
    desk.settle()
    assert not desk.thread.waiting


def test_at_most_four_backups_run_and_an_abandoned_backup_makes_room(desk: Desk) -> None:
    several = [begun(desk) for _ in range(4)]
    for pieces in several:
        assert piece(desk, pieces)
    with pytest.raises(Busy, match="Try again"):
        desk.told(desk.engine.backup())
    desk.told(several[0].aclose())
    assert piece(desk, begun(desk))


def test_a_finished_or_abandoned_backup_closes_its_file(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[int] = []
    discarded: list[int] = []
    real = desk.files.open_again

    def note(descriptor: int) -> int:
        opened.append(real(descriptor))
        return opened[-1]

    monkeypatch.setattr(desk.files, "open_again", note)
    monkeypatch.setattr(desk.files, "discard", discarded.append)
    all_of(desk, begun(desk))
    given_up = begun(desk)
    piece(desk, given_up)
    desk.told(given_up.aclose())
    assert len(opened) == 2
    assert discarded == opened


def test_a_failed_read_ends_the_stream_with_its_error(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: int) -> bytes:
        raise OSError("the disk has had enough")

    pieces = begun(desk)
    monkeypatch.setattr(desk.files, "read", fail)
    with pytest.raises(OSError, match="had enough"):
        piece(desk, pieces)
