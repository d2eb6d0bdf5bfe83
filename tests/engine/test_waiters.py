"""Waiters: the order in which they are served, and that their answers are on disk."""

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from jobengine.core import commands as c
from jobengine.core.model import State
from jobengine.engine.claimers import ClaimLog
from jobengine.engine.waiting_line import Ends, Line
from jobengine.engine.waits import Waits
from tests.engine.engines import KEY, Desk
from tests.engine.test_durability import FULL
from tests.pending import Pending


@pytest.fixture
def desk(desk: Desk) -> Desk:
    desk.create("other")
    return desk


def claiming(desk: Desk, *queues: str, **more: Any) -> Pending:
    """A waiter, for half a minute."""
    asked = desk.ask(desk.engine.claim(c.Claims(**{"queues": queues, "access_key": KEY, "wait": 30, **more})))
    desk.settle()
    return asked


def reading(desk: Desk, uid: str, wait: float = 30) -> Pending:
    asked = desk.ask(desk.engine.read_job(c.ReadJob(queue="q", access_key=KEY, uid=uid, wait=wait)))
    desk.settle()
    return asked


def add(desk: Desk, queue: str = "q", **more: Any) -> str:
    uid: str = desk.told(desk.adding(queue, **more)).spec.uid
    return uid


def given(asked: Pending) -> list[str]:
    return [one.job.spec.uid for one in asked.answer.jobs]


# Claims


def test_the_first_waiter_is_served_first_if_one_commit_adds_jobs_to_several_queues(desk: Desk) -> None:
    first, second = claiming(desk, "q"), claiming(desk, "other", "q", count=2)
    uid, other = add(desk, delay_seconds=5), add(desk, "other", delay_seconds=5)
    desk.clock.advance(5)
    desk.settle()
    assert given(first) == [uid]
    assert given(second) == [other]


def test_a_job_for_a_waiter_that_leaves_unanswered_goes_to_the_next_waiter(desk: Desk) -> None:
    first, second = claiming(desk, "q"), claiming(desk, "q")
    adding = desk.ask(desk.adding())
    desk.turn()
    assert not first.answered
    first.cancel()
    desk.settle()
    assert given(second) == [adding.answer.spec.uid]
    (job,) = desk.jobs()
    assert (job.state, job.standing.attempts) == (State.INPROGRESS, 1)


def test_no_waiter_is_answered_before_the_answer_is_on_disk(desk: Desk) -> None:
    waiting = claiming(desk, "q")
    adding = desk.ask(desk.adding())
    desk.turn()
    assert not waiting.answered
    desk.settle()
    assert given(waiting) == [adding.answer.spec.uid]


class _Later(Clock):
    """A clock that shows another time at each reading."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        super().__init__()
        self.seconds = seconds  # type: ignore[method-assign]  # instead of the time that `advance` sets


def test_the_clock_is_read_once_for_a_command_and_the_waiters_that_it_serves(desk: Desk) -> None:
    """If the clock were read again, a job that is ready a millisecond later would be claimed before the added job."""
    waiting = claiming(desk, "q")
    add(desk, delay_seconds=5, priority=1)
    times = iter([4.999, 4.999, 5])
    now = desk.clock.seconds()
    desk.engine.executor.timeline.clock = _Later(lambda: now + next(times, 5))
    asked = desk.ask(desk.adding())
    desk.settle()
    assert given(waiting) == [asked.answer.spec.uid]
    desk.clock.advance(5)
    assert [job.state for job in desk.jobs()] == [State.QUEUED, State.INPROGRESS]


# Ends of jobs


def test_a_waiter_for_the_end_of_a_job_is_woken_when_the_end_is_on_disk(desk: Desk) -> None:
    uid = add(desk)
    waiting = reading(desk, uid)
    update = desk.ask(desk.updating(uid, State.COMPLETE))
    desk.turn()
    assert not waiting.answered
    desk.thread.step()
    assert update.answered
    assert waiting.answer.state is State.COMPLETE


def test_a_waiter_sees_the_end_of_an_unkept_job_and_a_restart_does_not_restore_the_job(desk: Desk) -> None:
    uid = add(desk, keep_minutes=0)
    waiting = reading(desk, uid)
    command = c.UpdateJob(
        queue="q", access_key=KEY, uid=uid, changes=c.Changes(state=State.COMPLETE, priority=3, result=b"7")
    )
    desk.told(desk.engine.ask(command))
    assert (waiting.answer.state, waiting.answer.standing.notes.result) == (State.COMPLETE, b"7")
    desk.kill()
    desk.start()
    assert desk.engine.executor.tables.queues["q"].jobs == {}


def test_a_finished_job_that_the_full_disk_refused_wakes_no_waiter(desk: Desk) -> None:
    uid = add(desk)
    waiting = reading(desk, uid)
    desk.files.faults["write"] = [FULL] * 1000
    update = desk.ask(desk.updating(uid, State.COMPLETE))
    desk.settle()
    assert update.answered
    assert not waiting.answered
    desk.clock.advance(30)
    desk.settle()
    assert waiting.answer.state is State.QUEUED


def test_a_wait_with_a_past_deadline_ends_at_once() -> None:
    clock, answers = Clock(), list[str]()
    waiting: Deferred[str] = Deferred()
    waits = Waits(clock, ClaimLog(Line()), Ends(), lambda: 0)
    waits.in_time(waiting, clock.seconds() - 0.001, "nothing").addCallback(answers.append)
    clock.advance(0)
    assert answers == ["nothing"]
