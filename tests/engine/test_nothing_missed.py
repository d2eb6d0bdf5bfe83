"""No waiter misses a job or an end while a change is written, or while the engine is busy."""

from pathlib import Path

import pytest

from jobengine.core import commands as c
from jobengine.core.model import Defaults, State
from jobengine.engine.door import Busy
from tests.doubles import AtOnce, make_engine, new_clock, start
from tests.engine.engines import KEY, Desk
from tests.pending import Pending


@pytest.fixture
def desk(desk: Desk) -> Desk:
    desk.create("other")
    return desk


def claiming(desk: Desk, wait: float = 30) -> Pending:
    return desk.ask(desk.engine.claim(c.Claims(queues=("q",), access_key=KEY, wait=wait)))


def test_a_claim_gets_a_job_added_while_the_claim_waits_for_a_commit_of_other_changes(desk: Desk) -> None:
    desk.ask(desk.adding("other"))
    desk.turn()
    claim = claiming(desk)
    desk.ask(desk.adding("q"))
    desk.settle()
    assert [one.job.state for one in claim.answer.jobs] == [State.INPROGRESS]


def test_a_waiter_for_a_job_is_woken_if_the_job_ends_during_a_write_of_other_changes(desk: Desk) -> None:
    uid = desk.told(desk.adding("q")).spec.uid
    desk.ask(desk.adding("other"))
    desk.turn()
    waiting = desk.ask(desk.engine.read_job(c.ReadJob(queue="q", access_key=KEY, uid=uid, wait=30)))
    desk.ask(desk.updating(uid, State.COMPLETE))
    desk.settle()
    assert waiting.answer.state is State.COMPLETE


def test_a_waiter_that_leaves_while_its_job_is_written_leaves_the_job_to_the_next_waiter(desk: Desk) -> None:
    desk.ask(desk.adding("other"))
    desk.turn()
    gone = claiming(desk)
    desk.ask(desk.adding("q"))
    gone.cancel()
    desk.settle()
    next_one = claiming(desk, wait=0)
    desk.settle()
    assert [one.job.standing.attempts for one in next_one.answer.jobs] == [1]


def test_thousands_of_jobs_due_at_the_same_time_delay_only_their_own_queue(tmp_path: Path) -> None:
    clock = new_clock()
    engine = make_engine(tmp_path / "db", clock, thread=AtOnce())
    start(engine, lambda: clock.advance(0))
    for name in ("q", "other"):
        Pending(engine.ask(c.CreateQueue(queue=name, access_key=KEY)))
    jobs = (c.NewJob(content=b"{}", delay_seconds=10),) * 2_000
    Pending(engine.ask(c.AddJobs(queue="q", access_key=KEY, jobs=jobs, defaults=Defaults())))
    clock.advance(0)
    # The jobs are due, but the reactor has not run its timers yet.
    clock.rightNow += 10
    answered: list[str] = []
    busy = Pending(engine.ask(c.ReadStats(queue="q", access_key=KEY)))
    busy.deferred.addCallback(lambda _: answered.append("q"))
    other = Pending(engine.peek(c.Peek(queue="other", access_key=KEY)))
    other.deferred.addCallback(lambda _: answered.append("other"))
    clock.advance(0)
    assert answered == ["other", "q"]
    assert busy.answer.ready == 2_000


def test_a_request_whose_updates_exceed_the_backlog_is_not_started(tmp_path: Path) -> None:
    clock = new_clock()
    engine = make_engine(tmp_path / "db", clock, thread=AtOnce(), max_backlog=1)
    start(engine, lambda: clock.advance(0))
    Pending(engine.ask(c.CreateQueue(queue="q", access_key=KEY)))
    clock.advance(0)
    jobs = (c.NewJob(content=b"{}"),) * 3
    added = Pending(engine.ask(c.AddJobs(queue="q", access_key=KEY, jobs=jobs, defaults=Defaults())))
    clock.advance(0)
    failed = c.Changes(state=State.FAILED)
    each = tuple(c.JobUpdate(uid=one.job.spec.uid, changes=failed) for one in added.answer)
    updates = c.UpdateJobs(queue="q", access_key=KEY, updates=each)
    whole = Pending(engine.ask(updates))
    refused = Pending(engine.ask(updates))
    clock.advance(0)
    assert [job.state for job in whole.answer] == [State.FAILED] * 3
    assert refused.error is Busy
