"""A recount corrects all counts of jobs, even of retrying and cancelled jobs, which only the jobs' records show."""

from collections.abc import Iterator
from typing import Any

import pytest

from jobengine.core import commands as c
from jobengine.core.model import Job, State
from jobengine.engine.postgres.database.connection import connected, copied_jobs
from jobengine.engine.postgres.database.pipeline import Row
from jobengine.engine.postgres.database.rows import Rows
from jobengine.engine.postgres.database.schema import opened
from jobengine.engine.postgres.recount import Correction, Recount, recount
from jobengine.engine.postgres.sql import NamedStatement
from tests.contract.asking import MINUTE, Asker
from tests.doubles import SECRET
from tests.engine.postgres.world import PostgresWorld

pytestmark = pytest.mark.slow

_DAMAGE = "UPDATE job SET sealed = set_byte(sealed, 50, get_byte(sealed, 50) # 1) WHERE uid = %s"


def _recount(world: PostgresWorld, meanwhile: "list[Job] | None" = None, ask: Asker | None = None) -> Recount:
    """Recount; when its snapshot is open, other servers delete the jobs `meanwhile`."""

    class Meanwhile(Rows):
        def queue(self, *row: Any, **more: Any) -> Any:
            while meanwhile and ask is not None:
                ask.delete(meanwhile.pop())
            return super().queue(*row, **more)

    with connected(world.url) as connection:
        return recount(connection, Meanwhile(opened(connection, SECRET)), lambda _at, _of: None)


def _counts(ask: Asker) -> tuple[int, int]:
    stats = ask.ask(c.ReadStats)
    return stats.retrying, stats.cancelled


def _marked(ask: Asker) -> tuple[Job, Job]:
    """A retrying job and a cancelled one."""
    retrying = ask.add(max_attempts=2, retry_delay_seconds=MINUTE)
    ask.update(ask.hold(), State.FAILED)
    cancelled = ask.add()
    ask.update(cancelled, cancel=True)
    return retrying, cancelled


def _records(world: PostgresWorld, job: Job) -> "list[object]":
    (row,) = world.control.execute("SELECT sealed, said FROM job WHERE uid = %s", [job.spec.uid]).fetchall()
    return [*row]


def _damage(world: PostgresWorld, *jobs: Job) -> None:
    for job in jobs:
        world.control.execute(_DAMAGE, [job.spec.uid])
    world.reopen()


def _restore(world: PostgresWorld, job: Job, records: "list[object]") -> None:
    world.control.execute("UPDATE job SET sealed = %s, said = %s WHERE uid = %s", [*records, job.spec.uid])
    for _ in range(2):
        world.advance(10)


def test_a_recount_restores_lost_counts(world: PostgresWorld, ask: Asker) -> None:
    _marked(ask)
    ask.add()
    right = (_counts(ask), ask.counts())
    assert _recount(world) == Recount(queues=1, jobs=3, corrections=[], damaged=[])
    world.control.execute("DELETE FROM tally")
    wrong = ("ready", "delayed", "failed", "retrying", "cancelled")
    assert _recount(world).corrections == [Correction("q", name, 0, 1) for name in wrong]
    assert (_counts(ask), ask.counts()) == right
    assert _recount(world).corrections == []


def test_a_recount_removes_deleted_damaged_jobs_from_the_counts(world: PostgresWorld, ask: Asker) -> None:
    jobs = _marked(ask)
    _damage(world, *jobs)
    for job in jobs:
        ask.delete(job)
    # How a damaged job was counted can be read only from its records.
    assert _counts(ask) == (1, 1)
    assert _recount(world).corrections == [Correction("q", "retrying", 1, 0), Correction("q", "cancelled", 1, 0)]
    assert _counts(ask) == (0, 0)


@pytest.mark.parametrize("recounts", [0, 1, 2])
def test_restored_jobs_are_counted_as_before_even_after_recounts_without_them(
    world: PostgresWorld, ask: Asker, recounts: int
) -> None:
    jobs = _marked(ask)
    records = [_records(world, job) for job in jobs]
    _damage(world, *jobs)
    for _ in range(recounts):
        # The recount finds the damaged rows itself.
        assert _recount(world).jobs == 0
        assert _counts(ask) == (0, 0)
    for job, its in zip(jobs, records, strict=True):
        _restore(world, job, its)
    assert _counts(ask) == (1, 1)
    assert ask.counts() == {State.QUEUED: 1, State.FAILED: 1}
    assert _recount(world).corrections == []


def test_changes_during_a_recount_are_counted(world: PostgresWorld, ask: Asker) -> None:
    jobs = _marked(ask)
    ask.add()
    world.control.execute("DELETE FROM tally")
    assert len(_recount(world, [*jobs], ask).corrections) == 5
    assert (_counts(ask), ask.counts()) == ((0, 0), {State.QUEUED: 1})
    assert _recount(world).corrections == []


def test_deleting_a_job_during_a_recount_causes_no_wrong_correction(
    world: PostgresWorld, ask: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [ask.add() for _ in range(3)]

    def copied_later(connection: Any, statement: NamedStatement) -> Iterator[Row]:
        """Delete a job when the counts are read and the rows are not."""
        ask.delete(jobs.pop())
        return copied_jobs(connection, statement)

    monkeypatch.setattr("jobengine.engine.postgres.recount.copied_jobs", copied_later)
    assert _recount(world) == Recount(queues=1, jobs=3, corrections=[], damaged=[])


def test_deleting_a_damaged_job_during_a_recount_restarts_the_recount(world: PostgresWorld, ask: Asker) -> None:
    retrying, _ = _marked(ask)
    _damage(world, retrying)
    with pytest.raises(Exception, match=retrying.spec.uid):
        ask.read(retrying)
    assert _recount(world, [retrying], ask).corrections == [Correction("q", "retrying", 1, 0)]
    assert _counts(ask) == (0, 1)


def test_count_corrections_of_a_deleted_queue_are_removed(world: PostgresWorld, ask: Asker) -> None:
    _marked(ask)
    world.control.execute("DELETE FROM tally")
    _recount(world)
    number = "SELECT DISTINCT queue_id FROM tally WHERE slot = -1"
    assert len(world.control.execute(number).fetchall()) == 1
    ask.ask(c.DeleteQueue)
    _recount(world)
    assert world.control.execute(number).fetchall() == []


def test_a_recount_corrects_failure_groups(world: PostgresWorld, ask: Asker) -> None:
    for error in ("refused", "refused", "lost"):
        ask.add()
        failed = ask.update(ask.hold(), State.FAILED, error=error)
    gone = _marked(ask)[0]
    right = list(ask.ask(c.ListFailures, limit=100).failures)
    assert _recount(world).failures == 0
    world.control.execute("DELETE FROM failure WHERE uid = %s", [failed.spec.uid])
    world.control.execute("UPDATE failure SET at = at + 1 WHERE uid = %s", [gone.spec.uid])
    world.control.execute("INSERT INTO failure SELECT queue_id, 'nobody', key, at FROM failure LIMIT 1")
    assert _recount(world) == Recount(queues=1, jobs=5, corrections=[], failures=3, damaged=[])
    assert list(ask.ask(c.ListFailures, limit=100).failures) == right
    assert _recount(world).failures == 0


def test_a_failed_job_that_is_queued_again_during_a_recount_is_in_no_failure_group(
    world: PostgresWorld, ask: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask.add()
    failed = ask.update(ask.hold(), State.FAILED, error="refused")
    world.control.execute("DELETE FROM failure")

    def counted_early(connection: Any, statement: NamedStatement) -> Iterator[Row]:
        rows = list(copied_jobs(connection, statement))
        ask.update(failed, State.QUEUED)
        return iter(rows)

    monkeypatch.setattr("jobengine.engine.postgres.recount.copied_jobs", counted_early)
    assert _recount(world).failures == 1
    assert list(ask.ask(c.ListFailures, limit=100).failures) == []
