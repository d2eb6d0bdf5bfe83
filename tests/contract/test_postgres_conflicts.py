"""What a server does if others change the same jobs at the same time, again and again."""

from collections.abc import Iterator
from typing import Any

import pytest
from attrs import define, field
from psycopg.errors import UniqueViolation
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from jobengine.core import commands as c
from jobengine.core.model import Defaults
from jobengine.engine.door import Busy
from jobengine.engine.ids import new_uuid
from jobengine.engine.postgres.batch.begin import Now
from jobengine.engine.postgres.batch.conflicts import BackOff
from jobengine.engine.postgres.batch.decide import Result
from jobengine.engine.postgres.batch.lane import Lane
from jobengine.engine.postgres.batch.plan import Task
from jobengine.engine.postgres.batch.session import Session
from jobengine.engine.postgres.profile import LOCKING, OPTIMISTIC
from jobengine.engine.waiting_line import Done
from tests.contract.asking import KEY
from tests.contract.postgres_world import session_on
from tests.doubles import AtOnce
from tests.postgres import Database

pytestmark = pytest.mark.slow

WHO: dict[str, Any] = {"queue": "q", "access_key": KEY}
CLAIM = c.Claims(queues=("q",), access_key=KEY)
JOBS = 30


@define
class _Rival:
    """Claims a job whenever the other session has loaded it, so many times."""

    session: Session
    times: int = 0
    #: The seconds that the other one has waited.
    waits: list[float] = field(factory=list)
    _acts: bool = field(default=True, init=False)

    def new_id(self) -> str:
        if self._acts and self.times:
            self._acts = False
            self.times -= 1
            self.session.carry_out([CLAIM])
        return new_uuid()

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self._acts = True


@pytest.fixture
def rival(database: Database) -> Iterator[_Rival]:
    database.clear()
    rival = _Rival(session_on(database.url))
    rival.session.carry_out([c.CreateQueue(**WHO)])
    jobs = tuple(c.NewJob(content=b"{}") for _ in range(JOBS))
    rival.session.carry_out([c.AddJobs(**WHO, jobs=jobs, defaults=Defaults())])
    yield rival
    rival.session.close()


@pytest.fixture
def session(database: Database, rival: _Rival) -> Iterator[Session]:
    back_off = BackOff(sleep=rival.sleep, chance=lambda: 0.5)
    session = session_on(database.url, profile=OPTIMISTIC, new_id=rival.new_id, back_off=back_off)
    yield session
    session.close()


def _claimed(session: Session, number: int) -> int:
    outcomes = session.carry_out([CLAIM] * number).outcomes
    return sum(len(outcome.get().jobs) for outcome in outcomes)


@pytest.mark.parametrize(("conflicts", "claimed"), [(0, 8), (1, 8), (2, 4), (3, 2), (4, 1)])
def test_after_two_conflicts_half_of_a_batch_is_carried_out_and_then_less_and_less(
    session: Session, rival: _Rival, conflicts: int, claimed: int
) -> None:
    rival.times = conflicts
    assert _claimed(session, 8) == claimed
    # The next batch is whole again.
    assert _claimed(session, 8) == 8
    assert session.totals.redone == conflicts


def test_a_server_waits_longer_and_longer_between_conflicts_and_gives_up_after_five(
    session: Session, rival: _Rival
) -> None:
    rival.times = 9
    with pytest.raises(Busy, match="nothing was carried out"):
        session.carry_out([CLAIM])
    assert rival.waits == [0.02, 0.04, 0.08, 0.16]
    assert rival.times == 4


def test_waits_are_spread_from_nothing_to_the_longest() -> None:
    waits: list[float] = []
    for chance in (0.0, 1.0):
        BackOff(sleep=waits.append, chance=lambda chance=chance: chance).wait(3)  # type: ignore[misc]
    assert waits == [0, 0.16]


def test_where_rows_are_locked_a_batch_is_carried_out_again_without_a_wait(database: Database, rival: _Rival) -> None:
    session = session_on(database.url, profile=LOCKING, new_id=new_uuid, back_off=BackOff(sleep=rival.sleep))
    tries: list[int] = []

    def work(_: object) -> int:
        tries.append(1)
        if len(tries) < 3:
            raise UniqueViolation
        return len(tries)

    assert session.run(work) == 3
    assert rival.waits == []
    session.close()


# Tasks that were left


@define
class _Halves:
    """A session that carries out the first half of what it is given."""

    given: list[int] = field(factory=list)

    def carry_out(self, tasks: list[Task]) -> Result:
        self.given.append(len(tasks))
        outcomes = [Done(task, changed=True) for task in tasks[: max(1, len(tasks) // 2)]]
        return Result(now=Now(0, 0, {}), outcomes=outcomes, swaps=(), soonest=None)


def test_tasks_that_were_left_are_carried_out_next_in_their_order() -> None:
    clock, halves = Clock(), _Halves()
    session: Any = halves
    lane = Lane(
        session=session,
        thread=AtOnce(),
        clock=clock,
        applied=_nothing,
        told=_nothing,
        dropped=_nothing,
        waits_behind=lambda _: False,
    )
    done: list[Any] = []
    for at in range(5):
        asked: Deferred[Any] = lane.ask(c.Peek(queue="q", access_key=str(at).encode()))
        asked.addCallback(lambda outcome: done.append(outcome.answer.access_key))
    clock.advance(0)
    assert done == [b"0", b"1", b"2", b"3", b"4"]
    assert halves.given == [5, 3, 2, 1]


def _nothing(_: object) -> None:
    pass
