"""Several connections that change the same jobs at the same time."""

import random
from collections import Counter
from threading import Thread
from typing import Any

import pytest
from attrs import define, field

from jobengine.core import commands as c
from jobengine.core.model import Defaults, State
from jobengine.engine.door import Busy
from jobengine.engine.outcome import Done
from jobengine.engine.postgres.connection import connected
from jobengine.engine.postgres.profile import LOCKING, OPTIMISTIC, Profile
from jobengine.engine.postgres.session import Session
from tests.contract.postgres_world import session_on
from tests.postgres import Database

pytestmark = pytest.mark.slow

KEY = b"key"
WHO: dict[str, Any] = {"queue": "q", "access_key": KEY}
#: Few unique keys, so that clients collide.
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
            unique_key=choose([None, None, "a", "b"]),
            tags=choose([(), ("t",)]),
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


@pytest.mark.parametrize("profile", [LOCKING, OPTIMISTIC], ids=["locking", "optimistic"])
def test_four_connections_at_once_leave_all_tables_in_accord_and_no_lease_twice(
    database: Database, profile: Profile
) -> None:
    database.clear()
    with connected(database.url) as control:
        clients = [_Client(session_on(database.url, profile=profile), random.Random(at)) for at in range(4)]
        clients[0].session.carry_out([c.CreateQueue(**WHO)])
        threads = [Thread(target=client.ask, args=(40,)) for client in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [error for client in clients for error in client.failed] == []
        leases = Counter(lease for client in clients for lease in client.leases)
        assert leases
        assert set(leases.values()) == {1}
        tally = control.execute(
            "SELECT place, sum(jobs)::int FROM tally GROUP BY place HAVING sum(jobs) <> 0 ORDER BY 1"
        )
        jobs = control.execute("SELECT place, count(*)::int FROM job GROUP BY place ORDER BY 1")
        assert tally.fetchall() == jobs.fetchall()
        tagged = "SELECT uid, inv_prio, arrival FROM tag ORDER BY 1"
        ready = {job.spec.uid for job in _ready(clients[0].session) if job.spec.tags}
        assert {row[0] for row in control.execute(tagged)} == ready
        for client in clients:
            client.session.close()


def _ready(session: Session) -> list[Any]:
    page = c.ListJobs(**WHO, filter=c.Filter(state=State.QUEUED), limit=100_000, scan=100_000)
    (outcome,) = session.carry_out([page]).outcomes
    return [job for job in outcome.get().jobs if job.ready]
