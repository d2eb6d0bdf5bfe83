"""Claims begin at a queue's floor, and miss no job that becomes ready before it."""

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from attrs import define, field
from msgspec.structs import replace
from psycopg.errors import LockNotAvailable

from jobengine.core import commands as c
from jobengine.core.model import Defaults, State
from jobengine.engine.ids import new_uuid
from jobengine.engine.postgres.asked import Task
from jobengine.engine.postgres.beginning import begin
from jobengine.engine.postgres.connection import Row, connected, together
from jobengine.engine.postgres.floors import Floors, _step, lowered, raise_floor
from jobengine.engine.postgres.rows import NO_FLOOR, RowRank
from jobengine.engine.postgres.session import DATABASE_CLOCK, Session
from jobengine.engine.postgres.writing import Change
from tests.contract.asking import KEY
from tests.contract.postgres_world import session_on
from tests.postgres import PRETENDED, Database, Pretended

pytestmark = pytest.mark.slow

WHO: dict[str, Any] = {"queue": "q", "access_key": KEY}
#: The first time a floor is proposed, the second time it is raised.
TIMES = 2


@define
class _Server:
    """A session, and what happens as soon as it has loaded what it needs to add a job."""

    session: Session = field(init=False)
    meanwhile: Callable[[], object] = int

    def new_id(self) -> str:
        happens, self.meanwhile = self.meanwhile, int
        happens()
        return new_uuid()

    def ask(self, *tasks: Task) -> list[Any]:
        return [outcome.get() for outcome in self.session.carry_out(tasks).outcomes]

    def add(self, number: int = 1, *, delay: int = 0, **spec: Any) -> list[str]:
        jobs = tuple(c.NewJob(content=b"{}", delay_seconds=delay, **spec) for _ in range(number))
        (added,) = self.ask(c.AddJobs(**WHO, jobs=jobs, defaults=Defaults()))
        return [one.job.spec.uid for one in added]

    def claim(self, count: int = 1) -> list[str]:
        (claimed,) = self.ask(c.Claims(queues=("q",), access_key=KEY, count=count))
        return [one.job.spec.uid for one in claimed.jobs]

    def put_back(self, uid: str) -> None:
        self.ask(c.UpdateJobs(**WHO, updates=(c.JobUpdate(uid=uid, changes=c.Changes(state=State.QUEUED)),)))


@define
class _Two:
    """Two servers, and the time of their database."""

    one: _Server
    other: _Server
    url: str
    time: Pretended

    def raise_floor(self, times: int = TIMES) -> RowRank:
        """Raise the floor so often; returns it."""
        with connected(self.url) as connection:
            last = connection.execute(
                "SELECT inv_prio, arrival FROM job WHERE place = 2 ORDER BY inv_prio DESC, arrival DESC LIMIT 1"
            ).fetchone()
            for _ in range(times):
                raise_floor(connection, _queue_id(connection), (last[0], last[1]) if last else NO_FLOOR)
            (prio, arrival) = connection.execute("SELECT floor_prio, floor_arrival FROM queue").fetchall()[0]
            return prio, arrival


def _queue_id(connection: "psycopg.Connection[Row]") -> int:
    ((queue_id,),) = connection.execute("SELECT id FROM queue").fetchall()
    assert isinstance(queue_id, int)
    return queue_id


def _of_high_priority(two: _Two) -> Change:
    """The change that adds a job before all others."""
    with connected(two.url) as connection:
        known = begin(connection, two.one.session.rows, DATABASE_CLOCK, ["q"]).known["q"]
    (added,) = two.one.ask(c.AddJobs(**WHO, jobs=(c.NewJob(content=b"{}"),), defaults=Defaults()))[0]
    spec = replace(added.job.spec, priority=1)
    return Change(known, spec.uid, None, replace(added.job, spec=spec))


@pytest.fixture
def two(database: Database) -> Iterator[_Two]:
    database.clear()
    time = Pretended(database.url)
    time.tell(1_000)
    servers = _Server(), _Server()
    for server in servers:
        server.session = session_on(database.url, new_id=server.new_id, clock=PRETENDED)
    servers[0].ask(c.CreateQueue(**WHO))
    yield _Two(*servers, database.url, time)
    for server in servers:
        server.session.close()
    time.connection.close()


def test_claims_raise_the_floor_and_begin_there(two: _Two) -> None:
    session = two.one.session
    session.floors = Floors(worth=1, pause=0)
    uids = two.one.add(20)
    for count in range(TIMES):
        assert two.one.claim(4) == uids[4 * count : 4 * count + 4]
        session.sweep()
    with psycopg.connect(two.url) as connection:
        before = connection.execute(
            "SELECT count(*) FROM jobengine.job j, jobengine.queue q "
            "WHERE (j.inv_prio, j.arrival) < (q.floor_prio, q.floor_arrival)"
        ).fetchone()
    # It was proposed after the first claim.
    assert before == (4,)
    assert two.other.claim(20) == uids[4 * TIMES :]


def test_a_job_of_higher_priority_that_another_server_adds_comes_first(two: _Two) -> None:
    two.one.add(2)
    two.one.claim()
    assert two.raise_floor() > NO_FLOOR
    first = two.other.add(priority=1)
    assert two.one.claim() == first


def test_a_job_that_another_server_puts_back_comes_first(two: _Two) -> None:
    uids = two.one.add(3)
    two.one.claim(2)
    assert two.raise_floor() > NO_FLOOR
    two.other.put_back(uids[0])
    assert two.one.claim(2) == [uids[0], uids[2]]


def test_a_job_whose_priority_is_changed_comes_at_its_new_place(two: _Two) -> None:
    uids = two.one.add(3)
    two.one.claim()
    two.raise_floor()
    two.other.ask(c.UpdateJob(**WHO, uid=uids[2], changes=c.Changes(priority=1)))
    assert two.one.claim(2) == [uids[2], uids[1]]


def test_a_job_whose_delay_is_over_comes_at_its_place(two: _Two) -> None:
    delayed = two.one.add(delay=60)
    uids = two.one.add(2)
    two.one.claim()
    assert two.raise_floor() > NO_FLOOR
    two.time.tell(1_061)
    two.other.session.sweep()
    assert two.one.claim(2) == [*delayed, uids[1]]


@pytest.mark.parametrize("times", range(TIMES + 1))
def test_a_job_that_is_being_added_while_the_floor_is_raised_is_claimed(two: _Two, times: int) -> None:
    """Its arrival number is lower than those of jobs that others add and claim meanwhile."""
    two.one.add(2)
    two.one.claim()
    two.raise_floor(times)
    others: list[str] = []

    def meanwhile() -> None:
        others.extend(two.other.add(2))
        two.other.claim(2)
        two.raise_floor(2 * TIMES)

    two.one.meanwhile = meanwhile
    added = two.one.add()
    two.raise_floor(2 * TIMES)
    assert two.other.claim(9) == [*added, others[1]]


def test_a_transaction_that_began_just_before_the_proposal_was_committed_is_waited_for(two: _Two) -> None:
    """Its number is higher than that of the transaction that made the proposal."""
    two.one.add(2)
    with connected(two.url) as proposing, connected(two.url) as control:
        proposing.execute("BEGIN")
        _step(proposing, _queue_id(control), NO_FLOOR)

        def meanwhile() -> None:
            proposing.execute("COMMIT")
            for _ in range(TIMES):
                raise_floor(control, _queue_id(control), NO_FLOOR)

        two.one.meanwhile = meanwhile
        first = two.one.add(priority=1)
    assert two.other.claim() == first


def test_a_job_that_is_being_added_before_the_proposal_that_is_raised_meanwhile_comes_first(two: _Two) -> None:
    """Its transaction knows of the proposal, so nobody waits for it."""
    two.one.add(2)
    two.one.claim()
    two.raise_floor(1)
    two.one.meanwhile = lambda: two.raise_floor(1)
    first = two.one.add(priority=1)
    assert two.other.claim() == first


@pytest.mark.parametrize("times", range(TIMES + 1))
def test_a_job_whose_delay_ends_while_the_floor_is_raised_is_claimed(
    two: _Two, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    delayed = two.one.add(delay=60)
    uids = two.one.add(3)
    two.one.claim()
    two.raise_floor(times)
    two.time.tell(1_061)
    expire = Session._expire

    def slowly(session: Session, *args: Any) -> Any:
        """The queues were read; their floors change before jobs become ready."""
        two.raise_floor(2 * TIMES)
        return expire(session, *args)

    monkeypatch.setattr(Session, "_expire", slowly)
    two.other.session.sweep()
    assert two.one.claim(9) == [*delayed, *uids[1:]]


def test_who_lowers_a_proposal_makes_others_with_such_jobs_leave_it_alone(two: _Two) -> None:
    two.one.add(2)
    two.raise_floor(1)
    two.other.add(priority=1)
    with connected(two.url) as connection:
        assert connection.execute("SELECT proposed_prio FROM queue").fetchall() == [(~1,)]


def test_a_floor_is_not_raised_while_a_transaction_lowers_its_proposal(two: _Two) -> None:
    two.one.add(2)
    two.one.claim()
    two.raise_floor(1)
    with connected(two.url) as connection, connected(two.url) as other, connection.transaction():
        for statement in lowered([_of_high_priority(two)], is_known=False).values():
            together(connection, statement)
        other.execute("SET lock_timeout = '50ms'")
        with pytest.raises(LockNotAvailable):
            raise_floor(other, _queue_id(other), NO_FLOOR)


def test_a_new_floor_goes_with_a_proposal_that_was_lowered(two: _Two) -> None:
    two.one.add(2)
    two.one.claim()
    two.raise_floor(1)
    first = two.other.add(priority=1)
    two.raise_floor()
    assert two.one.claim() == first
