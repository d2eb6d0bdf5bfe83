"""Several connections that change the same jobs at the same time."""

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from threading import Event, Thread
from typing import Any, Final, LiteralString

import pytest
from attrs import define, field
from psycopg.errors import UniqueViolation

from jobengine.core import commands as c
from jobengine.core.model import Defaults, State
from jobengine.core.unique_rule import IfInProgress, IfQueued, UniqueRule, Until
from jobengine.engine.door import Busy
from jobengine.engine.postgres.batch.claim_start import advance_claim_start
from jobengine.engine.postgres.batch.session import Session
from jobengine.engine.postgres.database.connection import connected
from jobengine.engine.postgres.database.rows import NO_CLAIM_START, Rows
from jobengine.engine.postgres.database.schema import opened
from jobengine.engine.postgres.recount import Correction, recount
from jobengine.engine.postgres.sql import DATABASE_CLOCK
from jobengine.engine.postgres.wake.event_log import begin_watch
from jobengine.engine.waiting_line import Done
from tests.contract.named_items import SetItem
from tests.doubles import SECRET
from tests.engine.postgres.world import session_on
from tests.postgres import Database, until_waiting

pytestmark = pytest.mark.slow

KEY = b"key"
WHO: dict[str, Any] = {"queue": "q", "access_key": KEY}
_DEADLOCKS: Final[LiteralString] = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
_RULES: Final = [
    None,
    UniqueRule(until=Until.STARTED, if_queued=IfQueued.REPLACE),
    UniqueRule(seconds=1, if_running=IfInProgress.ADD),
]
#: The number of ready jobs before the claim start, which claims would miss; and whether there is a claim start.
_BEFORE_CLAIM_START: Final[LiteralString] = (
    "SELECT count(*) FILTER (WHERE j.place = 0 AND (j.inv_prio, j.arrival) < (q.floor_prio, q.floor_arrival)), "
    f"bool_and(q.floor_prio > {NO_CLAIM_START[0]}) FROM queue q JOIN job j ON j.queue_id = q.id"
)
UIDS = [f"00000000-0000-4000-8000-{at:012}" for at in range(40)]


@define
class _Client:
    """Gives one session random commands."""

    session: Session
    random: random.Random
    #: Uid and lease of the jobs that it holds.
    held: list[tuple[str, str]] = field(factory=list)
    leases: list[str] = field(factory=list)
    failed: list[BaseException] = field(factory=list)

    def ask(self, rounds: int) -> None:
        try:
            for _ in range(rounds):
                self._ask([self._any() for _ in range(self.random.randrange(1, 8))])
                if not self.random.randrange(8):
                    self._ask([self._many()])
                    with suppress(Busy):
                        self.session.sweep()
        except BaseException as error:
            self.failed.append(error)

    def _ask(self, tasks: list[c.Command[Any]]) -> None:
        try:
            outcomes = self.session.carry_out(tasks).outcomes
        except Busy:
            return
        for outcome in outcomes:
            if isinstance(outcome, Done) and isinstance(outcome.answer, c.ClaimResult):
                given = [(one.job.spec.uid, one.job.standing.lease or "") for one in outcome.answer.jobs]
                self.held += given
                self.leases += [lease for _, lease in given]

    def _any(self) -> c.Command[Any]:
        kind = self.random.randrange(4)
        if kind == 0:
            return c.AddJobs(**WHO, jobs=tuple(self._job() for _ in range(4)), defaults=Defaults(max_attempts=3))
        if kind == 1 or not self.held:
            tags = self.random.choice([(), (), ("t",)])
            return c.Claims(queues=("q",), access_key=KEY, count=self.random.randrange(1, 6), tags=tags)
        uid, lease = self.held.pop(self.random.randrange(len(self.held)))
        changes = c.Changes(state=self.random.choice(list(State)))
        return c.UpdateJobs(**WHO, updates=(c.JobUpdate(uid=uid, lease=lease, changes=changes),))

    def _job(self) -> c.NewJob:
        choose = self.random.choice
        return c.NewJob(
            content=b"{}",
            uid=choose([None, None, choose(UIDS)]),
            unique_key=(key := choose([None, None, "a", "b"])),  # few keys, so that clients collide
            unique=None if key is None else choose(_RULES),
            tags=choose([(), ("t",)]),
            priority=choose([0, 0, 1]),
            delay_seconds=choose([0, 0, 1]),
            keep_minutes=choose([0, 60]),
        )

    def _many(self) -> c.Command[Any]:
        failed, complete = c.Filter(state=State.FAILED), c.Filter(state=State.COMPLETE)
        return self.random.choice(
            [
                c.ChangeQueue(**WHO, max_jobs=self.random.choice([0, 500])),
                c.UpdateMatching(**WHO, filter=failed, changes=c.Changes(state=State.QUEUED), limit=50),
                c.DeleteMatching(**WHO, filter=complete, limit=50),
            ]
        )


def _advance_claim_starts(url: str, over: Event) -> None:
    """Again and again, propose the rank of any job as claim start, or advance the claim start."""
    with connected(url) as connection:
        while not over.wait(0.001):
            some = connection.execute(
                "SELECT queue_id, inv_prio, arrival FROM job ORDER BY random() LIMIT 1"
            ).fetchone()
            if some is not None:
                advance_claim_start(connection, some[0], (some[1], some[2]))


def _recount(url: str, over: Event, corrections: list[Correction]) -> None:
    """Recount again and again, a last time after the end of all clients; collect the corrections."""
    with connected(url) as connection:
        rows = Rows(opened(connection, SECRET))
        while True:
            is_last = over.wait(0.05)
            corrections += recount(connection, rows, lambda _at, _size: None).corrections
            if is_last:
                return


def test_four_concurrent_connections_keep_tables_consistent_and_leases_unique_without_deadlock(
    database: Database,
) -> None:
    database.clear()
    with connected(database.url) as control:
        deadlocks = control.execute(_DEADLOCKS).fetchall()
        clients = [_Client(session_on(database.url), random.Random(at)) for at in range(4)]
        session = clients[0].session
        session.carry_out([c.CreateQueue(**WHO)])
        session.run(lambda connection: begin_watch(connection, session.rows, DATABASE_CLOCK, "q", None))
        threads = [Thread(target=client.ask, args=(40,)) for client in clients]
        over = Event()
        raising = [Thread(target=_advance_claim_starts, args=(database.url, over)) for _ in range(3)]
        corrections = list[Correction]()
        raising.append(Thread(target=_recount, args=(database.url, over, corrections)))
        for thread in (*raising, *threads):
            thread.start()
        for thread in threads:
            thread.join()
        over.set()
        for thread in raising:
            thread.join()
        assert [error for client in clients for error in client.failed] == []
        assert corrections == []
        leases = Counter(lease for client in clients for lease in client.leases)
        assert leases
        assert set(leases.values()) == {1}
        tally = control.execute(
            "SELECT place, sum(jobs)::int FROM tally WHERE place < 5 GROUP BY place HAVING sum(jobs) <> 0 ORDER BY 1"
        )
        jobs = control.execute("SELECT place, count(*)::int FROM job GROUP BY place ORDER BY 1")
        assert tally.fetchall() == jobs.fetchall()
        assert control.execute(_BEFORE_CLAIM_START).fetchall() == [(0, True)]
        tagged = "SELECT uid, inv_prio, arrival FROM tag ORDER BY 1"
        ready = {job.spec.uid for job in _ready(clients[0].session) if job.spec.tags}
        assert {row[0] for row in control.execute(tagged)} == ready
        for client in clients:
            client.session.run(lambda connection: connection.execute("SELECT pg_stat_force_next_flush()"))
            client.session.close()
        assert control.execute(_DEADLOCKS).fetchall() == deadlocks


def _ready(session: Session) -> list[Any]:
    page = c.ListJobs(**WHO, filter=c.Filter(state=State.QUEUED), limit=100_000, scan=100_000)
    (outcome,) = session.carry_out([page]).outcomes
    return [job for job in outcome.get().jobs if job.ready]


@define
class _Two:
    """Two sessions that stop before their commits until each has decided, or waits for the other session."""

    database: Database
    sessions: list[Session]

    def ask(self, task: c.Command[Any]) -> Any:
        """The answer to one task."""
        (outcome,) = self.sessions[0].carry_out([task]).outcomes
        return outcome.get()

    def at_once(self, task: c.Command[Any], table: LiteralString = "tally", other: c.Command[Any] | None = None) -> Any:
        """
        The outcomes of a task that both carry out at the same time; the second session carries out `other` if it is
        given. Both wait to write to `table`, or one of them does.
        """
        outcomes: list[Any] = []

        def carry_out(session: Session, task: c.Command[Any]) -> None:
            outcomes.extend(session.carry_out([task]).outcomes)

        tasks = zip(self.sessions, (task, other or task), strict=True)
        threads = [Thread(target=carry_out, args=args) for args in tasks]
        with connected(self.database.url) as holder:
            holder.execute("BEGIN")
            # Each batch that adds or changes jobs counts them in the tally just before its commit.
            holder.execute(f"LOCK TABLE {table} IN EXCLUSIVE MODE")
            for thread in threads:
                thread.start()
            until_waiting(holder, 2)
            holder.execute("ROLLBACK")
        for thread in threads:
            thread.join()
        return outcomes


@pytest.fixture
def two(database: Database) -> Iterator[_Two]:
    database.clear()
    two = _Two(database, [session_on(database.url) for _ in range(2)])
    two.ask(c.CreateQueue(**WHO))
    yield two
    for session in two.sessions:
        session.close()


def _new(**job: Any) -> c.AddJobs:
    return c.AddJobs(**WHO, jobs=(c.NewJob(content=b"{}", **job),), defaults=Defaults())


def test_two_concurrent_adds_with_the_same_unique_key_add_one_job(two: _Two) -> None:
    (added,) = two.ask(_new(unique_key="k"))
    done = c.Changes(state=State.COMPLETE)
    two.ask(c.UpdateJob(**WHO, uid=added.job.spec.uid, changes=done))
    outcomes = two.at_once(_new(unique_key="k"))
    (one,), (other,) = (outcome.get() for outcome in outcomes)
    assert one.job.spec.uid == other.job.spec.uid
    assert {one.new, other.new} == {True, False}


def test_two_concurrent_adds_with_the_same_uid_add_one_job(two: _Two) -> None:
    outcomes = two.at_once(_new(uid=UIDS[0]))
    assert sorted(outcome.get()[0].new for outcome in outcomes) == [False, True]


def test_of_two_concurrent_creations_of_a_named_item_the_second_returns_the_first_value(two: _Two) -> None:
    outcomes = two.at_once(SetItem(**WHO, name="a", value="1", once=True), "item")
    assert {outcome.get() for outcome in outcomes} == {None, "1"}


def test_the_later_of_two_concurrent_deletions_of_a_job_gets_not_found(two: _Two) -> None:
    (added,) = two.ask(_new())
    outcomes = two.at_once(c.DeleteJob(**WHO, uid=added.job.spec.uid))
    assert sorted(isinstance(outcome, Done) for outcome in outcomes) == [False, True]


def test_two_queues_never_become_the_dead_letter_queues_of_each_other(two: _Two) -> None:
    two.ask(c.CreateQueue(queue="r", access_key=KEY))
    to_r, to_q = (
        c.ChangeQueue(queue=queue, access_key=KEY, dead_letter=(other, None))
        for queue, other in (("q", "r"), ("r", "q"))
    )
    with connected(two.database.url) as control:
        deadlocks = control.execute(_DEADLOCKS).fetchall()
        for turn in range(20):
            outcomes = two.at_once(*((to_r, "queue", to_q) if turn % 2 else (to_q, "queue", to_r)))
            assert sorted(isinstance(outcome, Done) for outcome in outcomes) == [False, True]
            for queue in "qr":
                two.ask(c.ChangeQueue(queue=queue, access_key=KEY, dead_letter=None))
        for session in two.sessions:
            session.run(lambda connection: connection.execute("SELECT pg_stat_force_next_flush()"))
        assert control.execute(_DEADLOCKS).fetchall() == deadlocks


def test_two_queues_can_concurrently_get_the_same_dead_letter_queue(two: _Two) -> None:
    for queue in ("r", "s"):
        two.ask(c.CreateQueue(queue=queue, access_key=KEY))
    changes = [c.ChangeQueue(queue=queue, access_key=KEY, dead_letter=("s", None)) for queue in "qr"]
    redone = [session.totals.redone for session in two.sessions]
    outcomes = two.at_once(changes[0], "queue", changes[1])
    assert [isinstance(outcome, Done) for outcome in outcomes] == [True, True]
    assert [session.totals.redone for session in two.sessions] == redone


def test_a_batch_that_conflicts_five_times_is_refused_and_changes_nothing(two: _Two) -> None:
    tries: list[object] = []

    def conflict(connection: object) -> None:
        tries.append(connection)
        raise UniqueViolation

    with pytest.raises(Busy, match=r"Other servers changed .*nothing was carried out"):
        two.sessions[0].run(conflict)
    assert len(tries) == two.sessions[0].totals.redone == 5
