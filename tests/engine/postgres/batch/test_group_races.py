"""Two servers with four connections each that claim from the same groups at the same time."""

import gc
import random
from collections import Counter
from contextlib import suppress
from threading import Event, Lock, Thread, get_ident
from typing import Any, Final, LiteralString

import pytest
from attrs import define, field

from jobengine.core import commands as c
from jobengine.core.flow import GroupOrder, Limits, Rate
from jobengine.core.model import Defaults, State
from jobengine.engine.door import Busy
from jobengine.engine.postgres.batch import one_of_each
from jobengine.engine.postgres.batch.decide import Batch
from jobengine.engine.postgres.batch.groups import LoadedGroups
from jobengine.engine.postgres.batch.loaded_group import LoadedGroup
from jobengine.engine.postgres.batch.session import Session
from jobengine.engine.postgres.database.connection import connected
from jobengine.engine.waiting_line import Done
from tests.engine.postgres.world import session_on
from tests.postgres import Database, until_waiting

pytestmark = pytest.mark.slow

KEY = b"key"
WHO: dict[str, Any] = {"queue": "q", "access_key": KEY}
GROUPS = ["a", "b", "c", None]
#: The groups whose row disagrees with their jobs, and the groups whose jobs would never be claimed.
_WRONG: Final[LiteralString] = """
    SELECT g.key FROM grp g WHERE g.key <> '' AND (
        (g.ready, g.delayed, g.running, g.failed) <> (
            SELECT count(*) FILTER (WHERE place = 0), count(*) FILTER (WHERE place = 1),
                count(*) FILTER (WHERE place = 2), count(*) FILTER (WHERE place = 4)
            FROM job WHERE job.queue_id = g.queue_id AND grp = g.key
        )
        OR (g.inv_prio, g.arrival) IS DISTINCT FROM (
            (SELECT inv_prio FROM job WHERE job.queue_id = g.queue_id AND grp = g.key AND place = 0
            ORDER BY inv_prio, arrival LIMIT 1),
            (SELECT arrival FROM job WHERE job.queue_id = g.queue_id AND grp = g.key AND place = 0
            ORDER BY inv_prio, arrival LIMIT 1)
        )
    )
    UNION ALL
    SELECT grp FROM job WHERE grp IS NOT NULL AND grp NOT IN (SELECT key FROM grp)
"""
#: The places whose number of unfinished jobs in the tally is wrong, for the whole queue or for all its groups.
_MISCOUNTED: Final[LiteralString] = """
    SELECT place
    FROM tally
    WHERE place = ANY(ARRAY[0, 1, 2, 7, 8, 9])
    GROUP BY place
    HAVING sum(jobs) <> (
        SELECT count(*) FROM job WHERE (place = tally.place) OR (place + 7 = tally.place AND grp IS NOT NULL)
    )
"""


@define
class Log:
    """The jobs that clients know to be in progress: from a claim's answer to the request that ends the job."""

    of_queue: int
    of_group: int
    running: dict[str, str | None] = field(factory=dict)
    #: Jobs whose deletion was requested: the answer to a claim of such a job may come after the job's end.
    removed: set[str] = field(factory=set)
    most: Counter[str | None] = field(factory=Counter)
    claimed: int = 0
    wrong: list[str] = field(factory=list)
    failed: list[BaseException] = field(factory=list)
    #: How many batches were carried out again, such as after a deadlock.
    redone: int = 0
    lock: Lock = field(factory=Lock)
    #: Whether the limits are certainly in force, because the request that sets them was answered.
    limited: bool = False

    def begin(self, jobs: list[tuple[str, str | None]], *, limited: bool) -> None:
        """Record claimed jobs; `limited` says that the limits were in force before the claim was sent."""
        with self.lock:
            self.claimed += len(jobs)
            self.running |= {uid: group for uid, group in jobs if uid not in self.removed}
            counted = Counter(self.running.values())
            if limited and jobs and len(self.running) > self.of_queue:
                self.wrong.append(f"{len(self.running)} jobs of the queue")
            for group in {group for _, group in jobs} - {None}:
                if limited and counted[group] > self.of_group:
                    self.wrong.append(f"{counted[group]} jobs of {group}")
                self.most[group] = max(self.most[group], counted[group])

    def end(self, uid: str) -> None:
        with self.lock:
            self.running.pop(uid, None)

    def remove(self, uid: str) -> None:
        with self.lock:
            self.removed.add(uid)
            self.running.pop(uid, None)


@define
class Client:
    session: Session
    random: random.Random
    log: Log
    held: list[tuple[str, str]] = field(factory=list)
    added: list[str] = field(factory=list)

    def work(self, rounds: int) -> None:
        try:
            for _ in range(rounds):
                with suppress(Busy):
                    self._round()
        except BaseException as error:
            self.log.failed.append(error)

    def _round(self) -> None:
        tasks: list[c.Command[Any]] = [self._add() for _ in range(self.random.randrange(3))]
        tasks += self._without_claims() if self.random.randrange(3) else self._with_claims()
        limited = self.log.limited
        for outcome in self.session.carry_out(tasks).outcomes if tasks else ():
            if isinstance(outcome, Done) and isinstance(outcome.answer, list):
                self.added += [one.job.spec.uid for one in outcome.answer if isinstance(one, c.Added)]
            if isinstance(outcome, Done) and isinstance(outcome.answer, c.ClaimResult):
                jobs = [one.job for one in outcome.answer.jobs]
                self.log.begin([(job.spec.uid, job.spec.rare.group) for job in jobs], limited=limited)
                self.held += [(job.spec.uid, job.standing.lease or "") for job in jobs]
        if not self.random.randrange(6):
            self.session.sweep()

    def _with_claims(self) -> list[c.Command[Any]]:
        updates: tuple[c.QueueUpdate, ...] = ()
        if self.held and self.random.randrange(6):
            updates = (c.QueueUpdate("q", self._update()),)
        tasks = [self._claims(updates), *(self._claims(()) for _ in range(self.random.randrange(3)))]
        if self.held and not self.random.randrange(3):
            tasks.insert(self.random.randrange(len(tasks)), self._end())
        return tasks

    def _without_claims(self) -> list[c.Command[Any]]:
        """Random commands, without claims, that end jobs, and change or remove ready jobs."""
        ends = tuple(self._update() for _ in range(min(len(self.held), self.random.randrange(4))))
        tasks: list[c.Command[Any]] = [c.UpdateJobs(**WHO, updates=ends)] if ends else []
        if len(self.added) > 3 and not self.random.randrange(3):
            uids = [self.added.pop(self.random.randrange(len(self.added))) for _ in range(3)]
            changes = c.Changes(priority=self.random.randrange(3))
            tasks.append(c.UpdateJobs(**WHO, updates=tuple(c.JobUpdate(uid=uid, changes=changes) for uid in uids[:2])))
            tasks.append(c.DeleteJob(**WHO, uid=uids[2]))
            self.log.remove(uids[2])
        return tasks

    def _add(self) -> c.Command[Any]:
        group = self.random.choice(GROUPS) if self.log.limited else None
        tags = self.random.choice([(), ("x",)])
        # Jobs of groups come before the many that were added without one.
        job = c.NewJob(content=b"{}", group=group, priority=int(self.log.limited), tags=tags, max_attempts=2)
        return c.AddJobs(**WHO, jobs=(job,) * self.random.randrange(1, 4), defaults=Defaults())

    def _claims(self, updates: tuple[c.QueueUpdate, ...]) -> c.Command[Any]:
        tags = self.random.choice([(), (), ("x",)])
        return c.Claims(queues=("q",), access_key=KEY, count=self.random.randrange(1, 5), tags=tags, updates=updates)

    def _take(self) -> tuple[str, str]:
        uid, lease = self.held.pop(self.random.randrange(len(self.held)))
        self.log.end(uid)
        return uid, lease

    def _update(self) -> c.JobUpdate:
        uid, lease = self._take()
        state = self.random.choice([State.COMPLETE, State.FAILED, State.QUEUED])
        return c.JobUpdate(uid=uid, lease=lease, changes=c.Changes(state=state))

    def _end(self) -> c.Command[Any]:
        uid, lease = self._take()
        if self.random.randrange(2):
            return c.DeleteJob(**WHO, uid=uid)
        return c.ReturnClaims(**WHO, claims=((uid, lease),))


def race(database: Database, order: GroupOrder, seed: int) -> Log:
    """Race, and set limits while the race is on; then finish all jobs one after the other."""
    database.clear()
    first, second = session_on(database.url), session_on(database.url)
    first.carry_out([c.CreateQueue(**WHO)])
    log = Log(of_queue=5, of_group=2)
    clients = [
        Client(session_on(database.url, rows=(first if at % 2 else second).rows), random.Random(seed + at), log)
        for at in range(8)
    ]
    threads = [Thread(target=one.work, args=[60]) for one in clients]
    for thread in threads:
        thread.start()
    limits = c.ChangeQueue(**WHO, limits=Limits(in_progress=5), group_limits=Limits(in_progress=2), group_order=order)
    (outcome,) = first.carry_out([limits]).outcomes
    assert isinstance(outcome, Done)
    log.limited = True
    for thread in threads:
        thread.join()
    log.redone = sum(client.session.totals.redone for client in clients)
    for client in clients:
        client.session.close()
    drain(first, [uid for client in clients for uid, _ in client.held])
    first.close()
    second.close()
    return log


def drain(session: Session, held: list[str]) -> None:
    """Finish all jobs."""
    for _ in range(10_000):
        for uid in held:
            session.carry_out([c.UpdateJob(**WHO, uid=uid, changes=c.Changes(state=State.COMPLETE))])
        (done,) = session.carry_out([c.Claims(queues=("q",), access_key=KEY, count=9)]).outcomes
        held = [one.job.spec.uid for one in done.get().jobs]
        if not held:
            return


@pytest.mark.parametrize("order", [*GroupOrder])
def test_concurrent_claims_exceed_no_limit_and_miss_no_job(
    database: Database, monkeypatch: pytest.MonkeyPatch, order: GroupOrder
) -> None:
    # Small claims change their groups before they are decided, as large claims do.
    monkeypatch.setattr(one_of_each, "_LEAST", 1)
    log = race(database, order, seed=1)
    assert not log.failed
    assert not log.wrong
    assert not log.redone
    assert log.claimed > 60
    # Which group reaches its limit is chance; if none did, claims would get fewer jobs than they may.
    assert max(log.most.values()) == (1 if order is GroupOrder.STRICT else 2)
    with connected(database.url) as connection:
        assert connection.execute("SELECT uid FROM job WHERE place < 3").fetchall() == []
        assert connection.execute(_WRONG).fetchall() == []
        assert connection.execute(_MISCOUNTED).fetchall() == []


@pytest.mark.parametrize("order", [*GroupOrder])
def test_a_claim_skips_a_locked_job_that_has_no_group(database: Database, order: GroupOrder) -> None:
    database.clear()
    session = session_on(database.url)
    session.carry_out([c.CreateQueue(**WHO)])
    session.carry_out([c.ChangeQueue(**WHO, group_order=order)])
    session.carry_out([c.AddJobs(**WHO, jobs=(c.NewJob(content=b"{}"),), defaults=Defaults())])
    claimed: list[int] = []

    def claim() -> None:
        (done,) = session.carry_out([c.Claims(queues=("q",), access_key=KEY)]).outcomes
        claimed.append(len(done.get().jobs))

    thread = Thread(target=claim)
    with connected(database.url) as other, other.transaction():
        other.execute("SELECT FROM job FOR UPDATE")
        thread.start()
        thread.join(20)
        assert claimed == [0], "the claim waits for the job"
    session.close()


@pytest.mark.parametrize("order", [GroupOrder.ARRIVAL, GroupOrder.FAIR])
def test_adding_jobs_during_a_claim_does_not_move_a_group_from_the_place_of_its_first_job(
    database: Database, monkeypatch: pytest.MonkeyPatch, order: GroupOrder
) -> None:
    database.clear()
    one, other = session_on(database.url), session_on(database.url)
    one.carry_out([c.CreateQueue(**WHO)])
    one.carry_out([c.ChangeQueue(**WHO, group_order=order)])
    add = c.AddJobs(**WHO, jobs=tuple(c.NewJob(content=b"{}", group=name) for name in "abab"), defaults=Defaults())
    one.carry_out([add])
    decide, waiting = Batch.decide, [add]

    def decide_late(batch: Batch) -> None:
        """Let the other session add jobs while the claim, which has read its groups, is decided."""
        if waiting:
            other.carry_out([waiting.pop()])
        decide(batch)

    monkeypatch.setattr(Batch, "decide", decide_late)
    (done,) = one.carry_out([c.Claims(queues=("q",), access_key=KEY, count=2)]).outcomes
    assert len(done.get().jobs) == 2
    assert not waiting
    with connected(database.url) as connection:
        assert connection.execute(_WRONG).fetchall() == []
    for session in (one, other):
        session.close()


def test_the_first_limit_of_a_queue_counts_claims_that_were_under_way_at_the_change(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.clear()
    sessions = [session_on(database.url) for _ in range(3)]
    sessions[0].carry_out([c.CreateQueue(**WHO)])
    sessions[0].carry_out([c.AddJobs(**WHO, jobs=(c.NewJob(content=b"{}"),) * 3, defaults=Defaults())])
    waiting, one_waits, both_wait = set[int](), Event(), Event()

    def pause(_seconds: float) -> None:
        """Record which connections wait for other transactions."""
        waiting.add(get_ident())
        (both_wait if len(waiting) == 2 else one_waits).set()

    monkeypatch.setattr("jobengine.engine.postgres.batch.give_flow.time.sleep", pause)
    grouped = c.AddJobs(**WHO, jobs=(c.NewJob(content=b"{}", group="a"),), defaults=Defaults())
    limited = c.ChangeQueue(**WHO, limits=Limits(in_progress=1))
    claim = c.Claims(queues=("q",), access_key=KEY)
    tasks: list[c.Command[Any]] = [claim, grouped, limited]
    threads = [Thread(target=one.carry_out, args=[[task]]) for one, task in zip(sessions, tasks, strict=True)]
    with connected(database.url) as other:
        with other.transaction():
            # The claim has chosen its job, but waits to count it in the group's row.
            other.execute("LOCK TABLE tally IN SHARE MODE")
            threads[0].start()
            with connected(database.url) as watching:
                until_waiting(watching, 1)
            threads[1].start()
            assert one_waits.wait(20)
            threads[2].start()
            assert both_wait.wait(20), "the limit was set beside a claim under way"
        for thread in threads:
            thread.join()
    (done,) = sessions[0].carry_out([claim]).outcomes
    assert done.get().jobs == []
    for one in sessions:
        one.close()


def test_concurrent_claims_never_exceed_a_rate(database: Database) -> None:
    database.clear()
    session = session_on(database.url)
    session.carry_out([c.CreateQueue(**WHO)])
    session.carry_out([c.ChangeQueue(**WHO, group_limits=Limits(rate=Rate(7, 3600)))])
    jobs = tuple(c.NewJob(content=b"{}", group=group) for group in "ab" * 40)
    session.carry_out([c.AddJobs(**WHO, jobs=jobs, defaults=Defaults())])
    given: list[str | None] = []

    def claim() -> None:
        mine = session_on(database.url)
        for _ in range(20):
            with suppress(Busy):
                (done,) = mine.carry_out([c.Claims(queues=("q",), access_key=KEY)]).outcomes
                given.extend(one.job.spec.rare.group for one in done.get().jobs)
        mine.close()

    threads = [Thread(target=claim) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    session.close()
    assert Counter(given) == {"a": 7, "b": 7}


def test_after_a_batch_no_group_is_left_for_the_garbage_collector(database: Database) -> None:
    database.clear()
    session = session_on(database.url)
    session.carry_out([c.CreateQueue(**WHO)])
    jobs = tuple(c.NewJob(content=b"{}", group=group) for group in "abc")
    gc.collect()
    gc.disable()
    try:
        session.carry_out([c.AddJobs(**WHO, jobs=jobs, defaults=Defaults())])
        (done,) = session.carry_out([c.Claims(queues=("q",), access_key=KEY, count=9)]).outcomes
        assert len(done.get().jobs) == 3
        assert [one for one in gc.get_objects() if isinstance(one, LoadedGroup | LoadedGroups)] == []
    finally:
        gc.enable()
        session.close()
