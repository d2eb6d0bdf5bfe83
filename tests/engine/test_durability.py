"""Everything that the engine's answers show is on disk, even if the disk fails."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from twisted.logger import formatEvent

from jobengine.core.commands import CreateQueue
from jobengine.core.errors import JobNotFound
from jobengine.core.fact_codec import encode
from jobengine.core.facts import JobAdded, QueueCreated
from jobengine.core.model import Job, State
from jobengine.engine.compaction import RETRY
from jobengine.engine.door import Busy, Full, OutcomeUnknown
from jobengine.engine.executor import Executor
from jobengine.engine.tables.snapshot import Snapshot
from jobengine.engine.tables.state import Tables
from tests.engine.engines import Desk
from tests.golden.facts import MAIL, job
from tests.pending import Pending
from tests.storage.simulated_files import FaultyFiles

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
BROKEN = OSError(errno.EIO, os.strerror(errno.EIO))


def without_room(desk: Desk) -> None:
    desk.files.faults["write"] = [FULL] * 1000


def with_room(desk: Desk) -> None:
    desk.files.faults.clear()


def test_sequential_changes_are_each_on_disk_before_their_answer(desk: Desk) -> None:
    for _ in range(5):
        desk.files.calls.clear()
        asked = desk.ask(desk.adding())
        desk.turn()
        assert not asked.answered
        desk.thread.step()
        assert asked.answered
        assert desk.files.calls == ["write", "sync"]


class NoBarrier(Executor):
    """Lets reads and changes be answered without waiting for the disk."""

    async def durable(self, *, changed: bool) -> bool:
        return True


def answers_early(kind: type[Executor], path: Path) -> list[str]:
    """The names of commands that are answered before everything they show is on disk."""
    desk = Desk(path, kind)
    desk.create()
    uid = desk.told(desk.adding()).spec.uid
    change = desk.ask(desk.updating(uid, State.COMPLETE))
    desk.turn()
    asked: dict[str, Pending] = {
        "change": change,
        "read": desk.ask(desk.reading(uid)),
        "peek": desk.ask(desk.peeking()),
        "empty claim": desk.ask(desk.claiming()),
        "missing": desk.ask(desk.reading("none")),
    }
    early = [name for name, one in asked.items() if one.answered]
    desk.settle()
    assert asked["read"].answer.state is State.COMPLETE
    assert asked["missing"].error is JobNotFound
    desk.kill()
    return early


def test_no_answer_is_based_on_data_that_is_not_on_disk(tmp_path: Path) -> None:
    assert answers_early(Executor, tmp_path / "db") == []


def test_the_check_for_early_answers_detects_a_missing_read_barrier(tmp_path: Path) -> None:
    assert "read" in answers_early(NoBarrier, tmp_path / "db")


def test_without_a_write_in_flight_a_read_is_answered_at_once(desk: Desk) -> None:
    uid = desk.told(desk.adding()).spec.uid
    assert desk.ask(desk.reading(uid)).answer.spec.uid == uid


def test_on_a_full_disk_changes_are_refused_and_reads_show_what_is_on_disk(desk: Desk) -> None:
    uid = desk.told(desk.adding()).spec.uid
    without_room(desk)
    change, read = desk.ask(desk.updating(uid, State.COMPLETE)), desk.ask(desk.reading(uid))
    desk.settle()
    assert change.error is Full
    assert read.answer.state is State.QUEUED
    for question in (desk.adding(), desk.claiming(), desk.updating(uid, State.FAILED), desk.deleting(uid)):
        assert desk.ask(question).error is Full
    assert desk.ask(desk.reading(uid)).answer.state is State.QUEUED
    assert desk.ask(desk.peeking()).answer.spec.uid == uid
    assert not desk.told(desk.engine.readiness()).ready


def test_a_job_that_the_full_disk_refused_is_invisible_until_it_is_written(desk: Desk) -> None:
    without_room(desk)
    assert_full(desk, desk.ask(desk.adding()))
    assert desk.jobs() == []
    with_room(desk)
    desk.clock.advance(0.5)
    desk.settle()
    (kept,) = desk.jobs()
    assert desk.told(desk.engine.readiness()).ready
    another = desk.told(desk.adding())
    assert another.spec.arrival > kept.spec.arrival
    before = desk.jobs()
    desk.restart()
    assert desk.jobs() == before


def test_changes_of_one_job_are_all_rolled_back_on_a_full_disk(desk: Desk) -> None:
    uid = desk.told(desk.adding()).spec.uid
    before = desk.jobs()
    without_room(desk)
    asked = [desk.ask(desk.claiming()), desk.ask(desk.updating(uid, State.COMPLETE)), desk.ask(desk.adding())]
    desk.turn()
    asked += [desk.ask(desk.updating(uid, State.FAILED)), desk.ask(desk.deleting(uid))]
    desk.settle()
    assert {one.error for one in asked} == {Full}
    assert desk.jobs() == before
    with_room(desk)
    desk.clock.advance(0.5)
    desk.settle()
    kept = desk.jobs()
    assert uid not in {one.spec.uid for one in kept}
    desk.restart()
    assert desk.jobs() == kept


def assert_full(desk: Desk, asked: Pending) -> None:
    desk.settle()
    assert asked.error is Full


def test_on_a_full_disk_jobs_still_expire(desk: Desk) -> None:
    claimed = desk.told(desk.adding())
    expiring = desk.told(desk.adding(priority=-1, timeout_time=1_800_000_060))
    desk.told(desk.claiming())
    without_room(desk)
    assert_full(desk, desk.ask(desk.updating(claimed.spec.uid, State.COMPLETE)))
    desk.clock.advance(60)
    desk.settle()
    assert desk.ask(desk.reading(expiring.spec.uid)).error is JobNotFound
    desk.clock.advance(540)
    desk.settle()
    assert desk.ask(desk.reading(claimed.spec.uid)).answer.state is State.FAILED
    with_room(desk)
    desk.clock.advance(0.5)
    desk.settle()
    before = desk.jobs()
    desk.restart()
    assert desk.jobs() == before
    assert [job.state for job in before] == [State.FAILED]


def test_a_kill_on_a_full_disk_loses_no_acknowledged_change(desk: Desk) -> None:
    acknowledged = [desk.told(desk.adding()) for _ in range(3)]
    without_room(desk)
    assert_full(desk, desk.ask(desk.adding()))
    desk.kill()
    with_room(desk)
    desk.start()
    assert desk.jobs() == acknowledged


def test_a_restart_restores_the_state_after_a_disk_that_was_full_several_times(desk: Desk) -> None:
    for turn in range(40):
        desk.files.faults["write"] = [FULL] if turn % 3 == 1 else []
        asked = [desk.ask(desk.adding(priority=turn % 4)), desk.ask(desk.claiming()), desk.ask(desk.claiming())]
        desk.clock.advance(0.5)
        desk.settle()
        assert all(one.answered for one in asked)
    desk.clock.advance(1)
    before = desk.jobs()
    desk.restart()
    assert desk.jobs() == before


@pytest.mark.parametrize("method", ["sync", "write"])
def test_a_disk_error_ends_all_acknowledgements_and_requests_the_end_of_the_process(desk: Desk, method: str) -> None:
    acknowledged = desk.told(desk.adding())
    desk.files.faults[method] = [BROKEN]
    change, read = desk.ask(desk.claiming()), desk.ask(desk.reading(acknowledged.spec.uid))
    desk.settle()
    assert change.error is OutcomeUnknown
    assert read.error is OutcomeUnknown
    assert desk.ask(desk.adding()).error is OutcomeUnknown
    assert desk.ask(desk.peeking()).error is OutcomeUnknown
    desk.clock.advance(100_000)
    assert len(desk.failures) == 1
    desk.stop()
    desk.start()
    assert [job.spec for job in desk.jobs()] == [acknowledged.spec]


def test_changes_beyond_the_backlog_are_refused_and_not_made(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "db", parts={"max_backlog": 1000})
    desk.create()
    asked = [desk.ask(desk.adding(content=b'"' + b"x" * 400 + b'"')) for _ in range(5)]
    desk.settle()
    assert [one.error for one in asked] == [None, None, Busy, Busy, Busy]
    assert len(desk.jobs()) == 2


def test_with_an_interval_the_answer_does_not_wait_for_the_sync(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "db", sync_interval=0.05)
    desk.create()
    desk.files.calls.clear()
    desk.told(desk.adding())
    assert desk.files.calls == ["write"]
    desk.clock.advance(0.05)
    desk.settle()
    assert desk.files.calls == ["write", "sync"]
    assert desk.told(desk.engine.readiness()).durability == "interval (50 ms)"


def test_data_read_after_an_unclean_end_is_synced_before_it_is_shown(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "db")
    desk.create()
    desk.told(desk.adding())
    desk.kill()
    desk.files.calls.clear()
    desk.start()
    assert desk.files.calls == ["write", "sync", "sync_directory"]


def test_compaction_keeps_the_file_short_and_loses_nothing(tmp_path: Path) -> None:
    desk = compacting_desk(tmp_path)
    jobs = [desk.told(desk.adding(content=b'{"x": "%s"}' % (b"x" * 500))) for _ in range(30)]
    longest = 0
    for turn in range(600):
        desk.told(desk.updating(jobs[turn % 30].spec.uid, list(State)[turn % 4]))
        longest = max(longest, desk.path.stat().st_size)
    assert desk.figure("compactions", outcome="done") >= 3
    assert desk.figure("compactions", outcome="given_up") == 0
    assert longest < 2 * desk.figure("live_bytes") + 2 * SLACK
    before = desk.jobs()
    desk.restart()
    assert desk.jobs() == before


SLACK = 20_000


def compacting_desk(tmp_path: Path) -> Desk:
    desk = Desk(tmp_path / "db", parts={"compaction_slack": SLACK, "compaction_pause": 0})
    desk.create()
    return desk


def garbage(desk: Desk) -> list[Job]:
    """Add enough jobs for some slices, and change them so often that a compaction is due."""
    jobs = [desk.ask(desk.adding()) for _ in range(1200)]
    desk.settle()
    desk.engine.executor.compaction.slack = 1 << 40
    for _ in range(3):
        for one in jobs:
            desk.ask(desk.updating(one.answer.spec.uid, State.QUEUED))
        desk.settle()
    desk.engine.executor.compaction.slack = SLACK
    return [job.answer for job in jobs]


def test_compaction_ends_by_itself_without_any_request(tmp_path: Path) -> None:
    desk = compacting_desk(tmp_path)
    garbage(desk)
    size = desk.engine.journal.size
    assert not desk.engine.journal.compacting
    desk.told(desk.adding())
    assert desk.figure("compactions", outcome="done") == 1
    assert desk.path.stat().st_size < size * 3 // 4
    assert not desk.path.with_name("db.new").exists()


def test_compaction_proceeds_between_commits_and_loses_no_commit(tmp_path: Path) -> None:
    desk = compacting_desk(tmp_path)
    jobs = garbage(desk)
    desk.ask(desk.adding())
    number = 0
    desk.turn()
    while desk.thread.waiting:
        desk.thread.step()
        if number < 8:
            desk.ask(desk.updating(jobs[number].spec.uid, State.COMPLETE))
            desk.ask(desk.deleting(jobs[1199 - number].spec.uid))
            desk.ask(desk.adding(priority=number))
            number += 1
        desk.turn()
    assert desk.figure("compactions", outcome="done") == 1
    before = desk.jobs()
    assert len(before) == 1201
    desk.restart()
    assert desk.jobs() == before


def test_a_stop_does_not_wait_for_a_compaction(tmp_path: Path) -> None:
    desk = compacting_desk(tmp_path)
    garbage(desk)
    desk.ask(desk.adding())
    desk.turn()
    for _ in range(3):
        desk.thread.step()
        desk.turn()
    assert desk.engine.journal.compacting
    calls = 0
    stopped = desk.engine.stop()
    while desk.thread.waiting:
        desk.thread.step()
        desk.turn()
        calls += 1
    assert stopped.called
    # The commit under way, a commit that saves the activity counts, and closing the file.
    assert calls <= 3
    assert not desk.path.with_name("db.new").exists()
    desk.start()
    assert len(desk.jobs()) == 1201


def test_a_failed_compaction_is_retried_with_a_small_write_after_five_minutes(tmp_path: Path) -> None:
    desk = compacting_desk(tmp_path)
    garbage(desk)
    desk.files.faults["create"] = [FULL]
    desk.told(desk.adding())
    desk.clock.advance(RETRY - 1)
    desk.told(desk.adding())
    assert desk.figure("compactions", outcome="done") == 0
    desk.clock.advance(1)
    desk.told(desk.adding())
    assert desk.figure("compactions", outcome="done") == 1


@pytest.mark.parametrize("method", ["create", "write", "sync", "rename"])
def test_a_failed_compaction_is_abandoned_and_retried_and_the_log_says_why(
    tmp_path: Path, method: str, events: list[Any]
) -> None:
    desk = compacting_desk(tmp_path)
    garbage(desk)
    desk.files.faults[method] = [*([None] if method in ("write", "sync") else []), FULL]
    desk.told(desk.adding())
    assert desk.figure("compactions", outcome="given_up") == 1
    (line,) = [formatEvent(event) for event in events if "given up" in event["log_format"]]
    why = f"No space left on device: {tmp_path}/db.new"
    assert line == f"compaction was given up ({why}); it is tried again with the first write after 5 minutes"
    assert desk.failures == []
    desk.told(desk.adding(content=b'{"x": "%s"}' % (b"x" * SLACK)))
    assert desk.figure("compactions", outcome="done") == 1
    before = desk.jobs()
    desk.restart()
    assert desk.jobs() == before


def test_an_error_of_the_sync_after_a_compaction_ends_the_process_with_unknown_outcomes(tmp_path: Path) -> None:
    desk = compacting_desk(tmp_path)
    garbage(desk)
    acknowledged = desk.jobs()
    desk.files.faults["sync_directory"] = [BROKEN]
    asked = [desk.ask(desk.adding())]
    desk.turn()
    while desk.thread.waiting and len(asked) < 1000:
        desk.thread.step()
        asked.append(desk.ask(desk.adding()))
        desk.turn()
    assert asked[-1].error is OutcomeUnknown
    assert len(desk.failures) == 1
    added = [one.answer for one in asked if one.answered and one.error is None]
    desk.stop()
    desk.files.calls.clear()
    desk.start()
    assert not desk.engine.journal.clean
    assert {job.spec.uid for job in (*acknowledged, *added)} <= {job.spec.uid for job in desk.jobs()}


def test_a_long_queue_name_in_any_script_does_not_cause_repeated_compactions(tmp_path: Path) -> None:
    """Live data is counted in bytes: a character of a name may take four, and a control character six."""
    for name in ("q", "列" * 256, "\x01" * 256):
        tables = Tables()
        tables.apply([QueueCreated(evolve(MAIL, name=name)), *(JobAdded(name, job(number)) for number in range(100))])
        needed = sum(len(encode(fact)) + 4 for fact in Snapshot(tables).take(1) or ())
        needed += sum(len(encode(JobAdded(name, job(number)))) + 4 for number in range(100))
        assert needed <= tables.live_bytes * 1.1
        assert tables.live_bytes <= needed * 1.6


def test_no_file_contains_a_jobs_content_or_a_key_in_plain_text(tmp_path: Path) -> None:
    desk = compacting_desk(tmp_path)
    canary = b"canary-" + b"5e1f" * 10
    desk.told(desk.engine.ask(CreateQueue(queue="other", access_key=canary)))
    desk.told(desk.adding(content=b'{"secret": "%s"}' % canary))
    garbage(desk)
    desk.ask(desk.adding(content=b'"%s"' % canary))
    desk.turn()
    for _ in range(3):
        desk.thread.step()
        desk.turn()
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"db", "db.new", "db.lock"}
    assert not any(canary in path.read_bytes() for path in tmp_path.iterdir())
    desk.kill()
    desk.path.write_bytes(desk.path.read_bytes()[:-2])
    desk.start()
    assert any(".torn-" in path.name for path in tmp_path.iterdir())
    assert not any(canary in path.read_bytes() for path in tmp_path.iterdir())


def test_a_full_disk_at_the_first_write_prevents_the_start(tmp_path: Path) -> None:
    files = FaultyFiles()
    files.faults["write"] = [FULL]
    with pytest.raises(OSError, match="space"):
        Desk(tmp_path / "db", files=files)
