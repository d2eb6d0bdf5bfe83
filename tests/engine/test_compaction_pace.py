"""The pace of compaction: small slices with commits, pauses between slices that go alone, no long sync at the end."""

from pathlib import Path

import pytest

from jobengine.engine.compaction import _SLICE, PAUSE
from jobengine.storage.journal import _COPY_STEP
from tests.engine.engines import Desk
from tests.engine.test_durability import SLACK, compacting_desk, garbage


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """An engine whose next commit starts a compaction of 1,201 jobs, with the pauses of production."""
    desk = compacting_desk(tmp_path)
    garbage(desk)
    desk.engine.executor.compaction.pause = PAUSE
    return desk


def begin(desk: Desk) -> None:
    desk.told(desk.adding())
    assert desk.engine.journal.compacting


def writes(desk: Desk) -> int:
    return desk.files.calls.count("write")


def test_without_commits_a_compaction_pauses_between_its_slices(desk: Desk) -> None:
    begin(desk)
    desk.settle()
    before = writes(desk)
    desk.settle()
    assert writes(desk) == before
    desk.clock.advance(PAUSE)
    desk.settle()
    assert writes(desk) == before + 1


def test_a_commit_does_not_wait_for_the_pause_of_a_compaction(desk: Desk) -> None:
    begin(desk)
    asked = desk.ask(desk.adding())
    desk.settle()
    assert asked.answered


def test_a_compaction_ends_even_if_nothing_is_committed(desk: Desk) -> None:
    begin(desk)
    steps = 0
    while desk.engine.journal.compacting:
        desk.clock.advance(PAUSE)
        desk.settle()
        steps += 1
    assert steps <= 1_201 / _SLICE + 3
    assert desk.figure("compactions", outcome="done") == 1


def test_metrics_have_the_time_and_duration_of_the_last_compaction(desk: Desk) -> None:
    assert desk.figure("last_compaction_timestamp_seconds") == 0
    begin(desk)
    begun = desk.clock.seconds()
    while desk.engine.journal.compacting:
        desk.clock.advance(1)
        desk.settle()
    done = desk.clock.seconds()
    desk.clock.advance(60)
    assert done > begun
    assert desk.figure("last_compaction_timestamp_seconds") == done
    assert desk.figure("last_compaction_seconds") == done - begun


@pytest.mark.parametrize("length", [10, 1_000, 30_000])
def test_with_constant_commits_a_compaction_lets_the_file_grow_by_at_most_half_its_live_bytes(
    desk: Desk, length: int
) -> None:
    """Each commit carries its part of the copy, so no slice has to go alone."""
    begin(desk)
    uid = desk.jobs()[0].spec.uid
    before = desk.path.stat().st_size
    commits, longest = 0, before
    while desk.engine.journal.compacting and commits < 500:
        desk.ask(desk.updating(uid, content=b'{"x": "%s"}' % (b"x" * length)))
        desk.settle()
        commits += 1
        longest = max(longest, desk.path.stat().st_size)
    assert desk.figure("compactions", outcome="done") == 1
    assert longest - before < desk.figure("live_bytes") / 2 + SLACK
    assert desk.path.stat().st_size < desk.figure("live_bytes") * 3 / 2 + SLACK


def test_a_small_commit_is_written_with_a_small_compaction_slice(desk: Desk) -> None:
    begin(desk)
    before = desk.path.with_name("db.new").stat().st_size
    desk.told(desk.adding())
    assert desk.path.with_name("db.new").stat().st_size - before < 20 * 330


def test_a_compaction_copy_is_synced_in_steps(tmp_path: Path) -> None:
    desk = compacting_desk(tmp_path)
    for _ in range(8):
        desk.told(desk.adding(content=b'{"x": "%s"}' % (b"x" * _COPY_STEP)))
    waste = desk.told(desk.adding(content=b'{"x": "%s"}' % (b"x" * 5 * _COPY_STEP)))
    desk.files.calls.clear()
    desk.told(desk.deleting(waste.spec.uid))
    assert desk.figure("compactions", outcome="done") == 1
    written = [run.count("write") for run in " ".join(desk.files.calls).split("sync")]
    # Only the header and the queue are written before the first of the eight jobs.
    assert max(written) <= 3
    assert sum(written) >= 8
