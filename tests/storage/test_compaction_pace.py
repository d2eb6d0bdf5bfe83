"""Compaction keeps its pace: small steps beside commits, pauses between slices alone, no long sync at the end."""

from pathlib import Path

import pytest

from jobengine.compaction import _PAUSE, _SHARE, _SLICE
from jobengine.storage.journal import _COPY_STEP
from tests.storage.engines import Desk
from tests.storage.test_durability import compacting_desk, garbage


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """One whose next commit begins a compaction of 1,201 jobs, with the pauses that it has in production."""
    desk = compacting_desk(tmp_path)
    garbage(desk)
    desk.engine._ledger.compaction.pause = _PAUSE
    return desk


def begin(desk: Desk) -> None:
    desk.told(desk.adding())
    assert desk.engine.journal.compacting


def writes(desk: Desk) -> int:
    return desk.files.calls.count("write")


def test_between_slices_that_go_alone_there_is_a_pause(desk: Desk) -> None:
    begin(desk)
    desk.settle()
    before = writes(desk)
    desk.settle()
    assert writes(desk) == before
    desk.clock.advance(_PAUSE)
    desk.settle()
    assert writes(desk) == before + 1


def test_a_commit_does_not_wait_for_the_pause(desk: Desk) -> None:
    begin(desk)
    asked = desk.ask(desk.adding())
    desk.settle()
    assert asked.answered


def test_slices_that_go_alone_come_to_an_end(desk: Desk) -> None:
    begin(desk)
    steps = 0
    while desk.engine.journal.compacting:
        desk.clock.advance(_PAUSE)
        desk.settle()
        steps += 1
    assert steps <= 1_201 / _SLICE + 3
    assert desk.told(desk.engine.stats()).compactions == 1


def test_a_slice_that_goes_with_a_commit_is_as_large_as_that(desk: Desk) -> None:
    """So the file never grows by more than a share of the live data while it is written anew."""
    begin(desk)
    commits = 0
    while desk.engine.journal.compacting:
        for _ in range(20):
            desk.ask(desk.adding())
        desk.settle()
        commits += 1
    assert 1_201 / (20 * _SHARE) <= commits <= 1_201 / (20 * _SHARE) + 4


def test_a_copy_is_synced_in_steps_and_not_all_at_its_end(tmp_path: Path) -> None:
    desk = compacting_desk(tmp_path)
    for _ in range(8):
        desk.told(desk.adding(content=b'{"x": "%s"}' % (b"x" * _COPY_STEP)))
    waste = desk.told(desk.adding(content=b'{"x": "%s"}' % (b"x" * 5 * _COPY_STEP)))
    desk.files.calls.clear()
    desk.told(desk.deleting(waste.spec.uid))
    assert desk.told(desk.engine.stats()).compactions == 1
    written = [run.count("write") for run in " ".join(desk.files.calls).split("sync")]
    # The header and the queue go before the first job; there are eight.
    assert max(written) <= 3
    assert sum(written) >= 8
