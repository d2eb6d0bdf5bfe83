"""The file is read back in slices; meanwhile the engine reports its progress and carries nothing out."""

from pathlib import Path

import pytest
from twisted.python.failure import Failure

from jobengine.core.commands import AddJobs, NewJob
from jobengine.core.model import Defaults
from jobengine.engine.door import Starting
from jobengine.storage.errors import Damaged
from tests.doubles import make_engine
from tests.engine.engines import KEY, Desk

JOBS = 12_000


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """An engine that was killed with some jobs, and was opened again but not started."""
    desk = Desk(tmp_path / "db")
    desk.create()
    for _ in range(3):
        jobs = (NewJob(content=b"{}"),) * (JOBS // 3)
        desk.told(desk.engine.ask(AddJobs(queue="q", access_key=KEY, jobs=jobs, defaults=Defaults())))
    desk.kill()
    desk.engine = make_engine(desk.path, desk.clock, thread=desk.thread, files=desk.files)
    desk.engine.open()
    return desk


def reason(desk: Desk) -> str:
    asked = desk.ask(desk.engine.readiness())
    assert not asked.answer.ready
    text: str = asked.answer.reason
    return text


def test_recovery_reads_a_thousand_records_at_a_time(desk: Desk) -> None:
    started = desk.engine.start()
    tables, sizes, told = desk.engine.executor.tables, [], []
    while not desk.thread.waiting:
        sizes.append(tables.queues["q"].size())
        told.append(reason(desk))
        assert desk.ask(desk.peeking()).error is Starting
        assert desk.ask(desk.claiming(wait=5)).error is Starting
        assert desk.ask(desk.adding()).error is Starting
        assert desk.ask(desk.engine.figures()).error is Starting
        desk.one_turn()
    assert max(now - was for was, now in zip([0, *sizes], sizes, strict=False)) <= 1_000
    assert (told[0], told[-1]) == ("recovering, 33 %", "recovering, 100 %")
    assert not started.called, "what was read is not known to be on disk"
    assert desk.ask(desk.peeking()).error is Starting
    desk.settle()
    assert started.called
    assert len(desk.jobs()) == JOBS


def test_an_engine_stopped_during_recovery_changes_nothing(desk: Desk) -> None:
    before = desk.path.read_bytes()
    desk.files.calls.clear()
    started = desk.engine.start()
    desk.one_turn()
    stopped = desk.engine.stop()
    desk.settle()
    assert started.called
    assert stopped.called
    assert desk.engine.executor.tables.queues["q"].size() < JOBS
    assert desk.files.calls == []
    assert desk.path.read_bytes() == before
    desk.start()
    assert len(desk.jobs()) == JOBS


def test_damage_found_during_recovery_fails_the_start(desk: Desk) -> None:
    whole = bytearray(desk.path.read_bytes())
    whole[len(whole) // 2] ^= 1
    desk.path.write_bytes(whole)
    results: list[object] = []
    desk.engine.start().addBoth(results.append)
    desk.settle()
    (result,) = results
    assert isinstance(result, Failure)
    assert result.check(Damaged)
    assert desk.path.read_bytes() == whole
    stopped = desk.engine.stop()
    desk.settle()
    assert stopped.called
