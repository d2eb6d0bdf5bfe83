"""A lane carries out tasks in batches; here its session leaves some tasks of a batch for the next batch."""

from collections.abc import Sequence
from typing import Any

from attrs import define, field
from twisted.internet.task import Clock

from jobengine.core import commands as c
from jobengine.engine.postgres.batch.begin import Now
from jobengine.engine.postgres.batch.decide import Result
from jobengine.engine.postgres.batch.lane import Lane
from jobengine.engine.postgres.batch.plan import Task
from jobengine.engine.waiting_line import Done
from tests.doubles import AtOnce


@define
class _Session:
    """Carries out the first task only, with its uid as the answer."""

    carried_out: list[str] = field(factory=list)

    def carry_out(self, tasks: Sequence[Task]) -> Result:
        first = tasks[0]
        assert isinstance(first, c.ReadJob)
        self.carried_out.append(first.uid)
        return Result(now=Now(0, 0, {}), outcomes=[Done(first.uid, changed=True)], effects=[], soonest=None)


@define
class _World:
    clock: Clock = field(factory=Clock)
    session: _Session = field(factory=_Session)
    #: Functions to call when the callers of a batch are answered.
    told: list[Any] = field(factory=list)
    lane: Lane = field(init=False)

    def __attrs_post_init__(self) -> None:
        session: Any = self.session
        self.lane = Lane(
            session=session,
            thread=AtOnce(),
            clock=self.clock,
            applied=lambda _: None,
            answered=lambda _: self.told.pop()() if self.told else None,
            dropped=lambda _: None,
            waits_behind=lambda _: False,
        )

    def ask(self, *uids: str) -> list[Any]:
        """Submit reads of jobs; returns the answers as they come."""
        answers: list[Any] = []
        for uid in uids:
            asked = self.lane.submit(c.ReadJob(queue="q", access_key=b"key", uid=uid))
            asked.addCallback(lambda outcome: answers.append(outcome.get()))
        return answers


def test_tasks_that_did_not_fit_in_a_batch_are_executed_even_if_waking_waiters_fails(events: list[Any]) -> None:
    world = _World()
    world.told = [lambda: 1 // 0]
    answers = world.ask("1", "2", "3")
    world.clock.advance(0)
    assert answers == world.session.carried_out == ["1", "2", "3"]
    (failure,) = [event["log_failure"] for event in events if "log_failure" in event]
    assert failure.check(ZeroDivisionError)


def test_a_task_that_did_not_fit_in_a_batch_and_is_cancelled_is_not_executed() -> None:
    world = _World()
    left: list[Any] = []
    world.told = [lambda: left[0].cancel()]
    world.ask("1")
    left.append(world.lane.submit(c.ReadJob(queue="q", access_key=b"key", uid="2")).addErrback(lambda _: None))
    answers = world.ask("3")
    world.clock.advance(0)
    assert (answers, world.session.carried_out) == (["3"], ["1", "3"])
