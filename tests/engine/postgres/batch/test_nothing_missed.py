"""Claims begin at a queue's claim start, and miss no job that becomes ready before it."""

from collections.abc import Callable, Iterator
from threading import Thread
from typing import Any
from unittest.mock import Mock

import psycopg
import pytest
from attrs import define, evolve, field
from msgspec.structs import replace
from psycopg import OperationalError

from jobengine.core import commands as c
from jobengine.core.effects import JobEffect
from jobengine.core.model import Defaults, State
from jobengine.engine.postgres.batch import claim_start
from jobengine.engine.postgres.batch.begin import begin
from jobengine.engine.postgres.batch.claim_start import ClaimStarts, _record, _step, advance_claim_start, set_back
from jobengine.engine.postgres.batch.session import Session
from jobengine.engine.postgres.batch.write import Change
from jobengine.engine.postgres.database.connection import connected, together
from jobengine.engine.postgres.database.pipeline import Row
from jobengine.engine.postgres.database.rows import NO_CLAIM_START, RowRank
from jobengine.engine.postgres.sql import DATABASE_CLOCK
from jobengine.engine.postgres.wake.waiters import poll
from tests.contract.asking import KEY
from tests.engine.postgres.server import WHO, Server, statements_sent
from tests.postgres import PRETENDED, Database, Pretended, until_waiting

pytestmark = pytest.mark.slow

#: How often to advance a claim start until it moves: the first call proposes a claim start, the second sets it.
TIMES = 2


@define
class _Two:
    """Two servers, and the time of their database."""

    one: Server
    other: Server
    url: str
    time: Pretended

    def advance_claim_start(self, times: int = TIMES) -> RowRank:
        """Advance the claim start `times` times; returns the new claim start."""
        with connected(self.url) as connection:
            last = connection.execute(
                "SELECT inv_prio, arrival FROM job WHERE place = 2 ORDER BY inv_prio DESC, arrival DESC LIMIT 1"
            ).fetchone()
            for _ in range(times):
                advance_claim_start(connection, _queue_id(connection), (last[0], last[1]) if last else NO_CLAIM_START)
            (prio, arrival) = connection.execute("SELECT floor_prio, floor_arrival FROM queue").fetchall()[0]
            return prio, arrival


def _put_back(server: Server, uid: str) -> None:
    server.ask(c.UpdateJobs(**WHO, updates=(c.JobUpdate(uid=uid, changes=c.Changes(state=State.QUEUED)),)))


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
    # Stop the machine's clock, too, like the database's: a growing difference would count as a clock step.
    parts: dict[str, Any] = {"clock": PRETENDED, "steady": lambda: 0.0}
    servers = Server.on(database.url, **parts), Server.on(database.url, **parts)
    servers[0].ask(c.CreateQueue(**WHO))
    yield _Two(*servers, database.url, time)
    for server in servers:
        server.session.close()
    time.connection.close()


def test_the_claim_start_advances_after_claims_and_no_job_is_missed(two: _Two) -> None:
    session = two.one.session
    session.claim_starts = ClaimStarts(worth=1, pause=0)
    uids = two.one.add(20)
    for count in range(TIMES):
        assert two.one.claim(count=4) == uids[4 * count : 4 * count + 4]
        session.sweep()
    with psycopg.connect(two.url) as connection:
        before = connection.execute(
            "SELECT count(*) FROM jobengine.job j, jobengine.queue q "
            "WHERE (j.inv_prio, j.arrival) < (q.floor_prio, q.floor_arrival)"
        ).fetchone()
    # The claim start is the place that was proposed after the first claim.
    assert before == (4,)
    assert two.other.claim(count=20) == uids[4 * TIMES :]


def test_a_job_of_higher_priority_that_another_server_adds_is_claimed_first(two: _Two) -> None:
    two.one.add(2)
    two.one.claim()
    assert two.advance_claim_start() > NO_CLAIM_START
    first = two.other.add(priority=1)
    assert two.one.claim() == first


def test_a_job_that_another_server_queues_again_is_claimed_first(two: _Two) -> None:
    uids = two.one.add(3)
    two.one.claim(count=2)
    assert two.advance_claim_start() > NO_CLAIM_START
    _put_back(two.other, uids[0])
    assert two.one.claim(count=2) == [uids[0], uids[2]]


def test_a_job_whose_priority_is_changed_is_claimed_at_its_new_rank(two: _Two) -> None:
    uids = two.one.add(3)
    two.one.claim()
    two.advance_claim_start()
    two.other.ask(c.UpdateJob(**WHO, uid=uids[2], changes=c.Changes(priority=1)))
    assert two.one.claim(count=2) == [uids[2], uids[1]]


def test_a_job_whose_delay_is_over_is_claimed_at_its_rank(two: _Two) -> None:
    delayed = two.one.add(delay_seconds=60)
    uids = two.one.add(2)
    two.one.claim()
    assert two.advance_claim_start() > NO_CLAIM_START
    two.time.tell(1_061)
    two.other.session.sweep()
    assert two.one.claim(count=2) == [*delayed, uids[1]]


@pytest.mark.parametrize("times", range(TIMES + 1))
def test_a_job_added_while_the_claim_start_is_advanced_is_claimed(two: _Two, times: int) -> None:
    """The job's arrival number is lower than those of jobs that others add and claim meanwhile."""
    two.one.add(2)
    two.one.claim()
    two.advance_claim_start(times)
    others: list[str] = []

    def meanwhile() -> None:
        others.extend(two.other.add(2))
        two.other.claim(count=2)
        two.advance_claim_start(2 * TIMES)

    two.one.meanwhile = meanwhile
    added = two.one.add()
    two.advance_claim_start(2 * TIMES)
    assert two.other.claim(count=9) == [*added, others[1]]


def test_a_claim_start_is_not_advanced_before_transactions_older_than_its_proposal_have_ended(two: _Two) -> None:
    """The transaction's number is higher than that of the transaction that made the proposal."""
    two.one.add(2)
    with connected(two.url) as proposing, connected(two.url) as control:
        proposing.execute("BEGIN")
        _step(proposing, _queue_id(control), NO_CLAIM_START)

        def meanwhile() -> None:
            proposing.execute("COMMIT")
            for _ in range(TIMES):
                advance_claim_start(control, _queue_id(control), NO_CLAIM_START)

        two.one.meanwhile = meanwhile
        first = two.one.add(priority=1)
    assert two.other.claim() == first


def test_a_job_whose_place_is_before_a_claim_start_being_proposed_is_claimed_first(two: _Two) -> None:
    """The transaction that adds the job knows of the proposal, so nobody waits for that transaction."""
    two.one.add(2)
    two.one.claim()
    two.advance_claim_start(1)
    two.one.meanwhile = lambda: two.advance_claim_start(1)
    first = two.one.add(priority=1)
    assert two.other.claim() == first


@pytest.mark.parametrize("times", range(TIMES + 1))
def test_a_job_whose_delay_ends_while_the_claim_start_is_advanced_is_claimed(
    two: _Two, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    delayed = two.one.add(delay_seconds=60)
    uids = two.one.add(3)
    two.one.claim()
    two.advance_claim_start(times)
    two.time.tell(1_061)
    expire = Session._expire

    def slowly(session: Session, *args: Any) -> Any:
        """Advance the claim starts after a sweep has read the queues and before jobs become ready."""
        two.advance_claim_start(2 * TIMES)
        return expire(session, *args)

    monkeypatch.setattr(Session, "_expire", slowly)
    two.other.session.sweep()
    assert two.one.claim(count=9) == [*delayed, *uids[1:]]


def test_a_claim_start_is_not_advanced_while_a_transaction_lowers_its_proposal(two: _Two) -> None:
    two.one.add(2)
    two.one.claim()
    two.advance_claim_start(1)
    change = _of_high_priority(two)
    with connected(two.url) as connection, connection.transaction():
        for statement in set_back([change], is_known=False).values():
            together(connection, statement)
        # Advancing waits only briefly for the lock.
        assert two.advance_claim_start() == NO_CLAIM_START
    with connected(two.url) as connection:
        assert connection.execute("SELECT proposed_prio FROM queue").fetchall() == [(~1,)]


@define
class _Raiser:
    """A server that advances claim starts, and that a test can stop before its commit."""

    url: str
    connection: "psycopg.Connection[Row]" = field(init=False)
    _thread: Thread = field(init=False)

    def begin(self) -> None:
        """Propose a claim start, in a transaction that stays open."""
        self.connection = connected(self.url)
        self.connection.execute("BEGIN")
        self._do(lambda: _step(self.connection, _queue_id(self.connection), NO_CLAIM_START))

    def advance_claim_start(self) -> None:
        self.connection = connected(self.url)
        self._do(lambda: advance_claim_start(self.connection, _queue_id(self.connection), NO_CLAIM_START))

    def _do(self, work: Callable[[], object]) -> None:
        self._thread = Thread(target=work)
        self._thread.start()

    def finish(self) -> None:
        self._thread.join()
        self.connection.execute("COMMIT")
        self.connection.close()


def test_advancing_the_claim_start_uses_a_proposal_that_another_transaction_has_just_lowered(
    two: _Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claim_start, "_BEGUN", "SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
    two.one.add(2)
    two.one.claim()
    two.advance_claim_start(1)
    change, raiser = _of_high_priority(two), _Raiser(two.url)
    with connected(two.url) as connection, connection.transaction():
        for statement in set_back([change], is_known=False).values():
            together(connection, statement)
        raiser.advance_claim_start()
        until_waiting(two.time.connection, 1)
    raiser.finish()
    assert two.advance_claim_start(0) == (~1, change.new.spec.arrival if change.new else None)


def test_a_transaction_number_is_recorded_only_if_the_proposal_has_not_changed(two: _Two) -> None:
    two.one.add(2)
    with connected(two.url) as connection:
        proposed = _step(connection, _queue_id(connection), NO_CLAIM_START)
        assert proposed is not None
        _record(connection, _queue_id(connection), evolve(proposed, proposed_by=1))
        assert connection.execute("SELECT known_from FROM queue").fetchall() == [(None,)]
        _record(connection, _queue_id(connection), proposed)
        ((known_from, proposed_by),) = connection.execute("SELECT known_from, proposed_by FROM queue").fetchall()
        assert known_from > proposed_by


def test_a_transaction_number_given_before_the_commit_of_the_proposal_is_not_recorded(
    two: _Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL gives a transaction its number while it still waits for the row's lock."""
    monkeypatch.setattr(claim_start, "_BEGUN", "SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
    two.one.add(2)
    control, one, other = two.time.connection, _Raiser(two.url), _Raiser(two.url)
    with connected(two.url) as holder:
        holder.execute("BEGIN")
        holder.execute("UPDATE queue SET events = events")
        one.begin()
        until_waiting(control, 1)
        other.advance_claim_start()
        until_waiting(control, 2)
        holder.execute("COMMIT")

    def meanwhile() -> None:
        one.finish()
        other.finish()
        two.advance_claim_start()

    two.one.meanwhile = meanwhile
    first = two.one.add(priority=1)
    assert two.other.claim() == first


def test_adding_jobs_of_several_priorities_lowers_the_claim_start_to_the_first_job(two: _Two) -> None:
    two.one.add(2)
    two.one.claim()
    assert two.advance_claim_start() > NO_CLAIM_START
    jobs = tuple(c.NewJob(content=b"{}", priority=priority) for priority in (1, 3, 2))
    (added,) = two.other.ask(c.AddJobs(**WHO, jobs=jobs, defaults=Defaults()))
    assert two.one.claim(count=3) == [added[at].job.spec.uid for at in (1, 2, 0)]


def test_the_claim_start_of_a_deleted_queue_is_not_touched(two: _Two) -> None:
    with connected(two.url) as connection:
        queue_id = _queue_id(connection)
        two.one.ask(c.DeleteQueue(**WHO))
        advance_claim_start(connection, queue_id, NO_CLAIM_START)


def test_a_sweep_that_can_not_advance_claim_starts_still_reports_expired_jobs(
    two: _Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    two.one.session.claim_starts = two.other.session.claim_starts = ClaimStarts(worth=1, pause=0)
    two.one.add()
    two.one.claim()
    (delayed,) = two.one.add(delay_seconds=60)
    two.time.tell(1_061)
    fails = Mock(side_effect=OperationalError)
    monkeypatch.setattr("jobengine.engine.postgres.batch.session.advance_claim_start", fails)
    (effect,) = two.other.session.sweep().effects
    assert isinstance(effect, JobEffect)
    assert effect.uid == delayed
    assert fails.called


def test_a_tagged_job_queued_again_by_another_server_is_claimed_by_its_tag(two: _Two) -> None:
    uids = two.one.add(2, tags=("t",))
    two.one.claim(count=2)
    assert two.advance_claim_start() > NO_CLAIM_START
    _put_back(two.other, uids[0])
    assert _is_ready(two)
    tagged = c.Claims(queues=("q",), access_key=KEY, count=2, tags=("t",))
    (claimed,) = two.one.ask(tagged)
    assert [one.job.spec.uid for one in claimed.jobs] == uids[:1]
    assert not _is_ready(two)


def _is_ready(two: _Two) -> bool:
    with connected(two.url) as connection:
        return poll(connection, two.one.session.rows, ["q"], []).ready == {"q"}


def test_a_batch_gets_its_transaction_number_before_it_reads_the_queue(
    two: _Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    two.one.add(2)
    two.one.claim()
    assert two.advance_claim_start() > NO_CLAIM_START
    sent = statements_sent(monkeypatch)
    # The first batch of a server does not know the queue yet.
    for server in (two.other, two.other, two.one):
        sent.clear()
        server.add()
        numbered = [at for at, one in enumerate(sent) if one.text.startswith("INSERT INTO lane_commit")]
        read = [at for at, one in enumerate(sent) if "floor_prio" in one.text]
        assert (len(numbered), len(read)) == (1, 1)
        assert numbered < read


def test_a_lowered_proposal_becomes_the_new_claim_start(two: _Two) -> None:
    two.one.add(2)
    two.one.claim()
    two.advance_claim_start(1)
    first = two.other.add(priority=1)
    two.advance_claim_start()
    assert two.one.claim() == first
