"""How many jobs a claim locks, while others claim from the same queue."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from attrs import define, field

from jobengine.core import commands as c
from jobengine.core.model import Defaults, State
from jobengine.engine.ids import new_uuid
from jobengine.engine.postgres.asked import Task
from jobengine.engine.postgres.connection import connected
from jobengine.engine.postgres.session import Session
from tests.contract.asking import KEY
from tests.contract.postgres_world import session_on
from tests.postgres import Database

pytestmark = pytest.mark.slow

WHO: dict[str, Any] = {"queue": "q", "access_key": KEY}


@define
class _Server:
    """A session, and what happens as soon as it has loaded a claim."""

    session: Session = field(init=False)
    meanwhile: Callable[[], object] = int

    def new_id(self) -> str:
        happens, self.meanwhile = self.meanwhile, int
        happens()
        return new_uuid()

    def ask(self, *tasks: Task) -> list[Any]:
        return [outcome.get() for outcome in self.session.carry_out(tasks).outcomes]

    def add(self, number: int) -> list[str]:
        jobs = tuple(c.NewJob(content=b"{}") for _ in range(number))
        (added,) = self.ask(c.AddJobs(**WHO, jobs=jobs, defaults=Defaults()))
        return [one.job.spec.uid for one in added]

    def claim(self, *before: Task, count: int) -> list[str]:
        """Claim in one batch with the tasks `before`; the uids of the jobs."""
        *_, claimed = self.ask(*before, c.Claims(queues=("q",), access_key=KEY, count=count))
        return [one.job.spec.uid for one in claimed.jobs]


@pytest.fixture
def servers(database: Database) -> Iterator[tuple[_Server, _Server]]:
    database.clear()
    servers = _Server(), _Server()
    for server in servers:
        server.session = session_on(database.url, new_id=server.new_id)
    servers[0].ask(c.CreateQueue(**WHO))
    yield servers
    for server in servers:
        server.session.close()


def _ends(uids: list[str]) -> c.UpdateJobs:
    changes = c.Changes(state=State.COMPLETE)
    return c.UpdateJobs(**WHO, updates=tuple(c.JobUpdate(uid=uid, changes=changes) for uid in uids))


def test_a_claim_that_goes_with_the_ends_of_jobs_locks_no_more_than_it_takes(servers: tuple[_Server, _Server]) -> None:
    server, other = servers
    uids = server.add(6)
    held = server.claim(count=3)
    others: list[str] = []
    server.meanwhile = lambda: others.extend(other.claim(count=2))
    assert server.claim(_ends(held), count=1) + others == uids[3:]


def test_a_claim_gets_the_jobs_that_commands_before_it_have_left(servers: tuple[_Server, _Server]) -> None:
    server, _ = servers
    uids = server.add(4)
    assert server.claim(c.DeleteJob(**WHO, uid=uids[0]), _ends(uids[1:2]), count=2) == uids[2:]


def test_a_claim_that_goes_with_many_ends_of_jobs_does_not_read_the_queue_for_each(
    servers: tuple[_Server, _Server], database: Database
) -> None:
    server, _ = servers
    # PostgreSQL has no statistics of these jobs yet, and may choose another index than with them.
    for _ in range(8):
        server.add(500)
    held = server.claim(count=100)
    before = _rows_read(server, database)
    server.claim(_ends(held), count=100)
    # Of 3,900 ready jobs.
    assert _rows_read(server, database) - before < 3_900


def _rows_read(server: _Server, database: Database) -> int:
    """How many rows of the table job were found by its indexes until now."""
    server.session.run(lambda connection: connection.execute("SELECT pg_stat_force_next_flush()"))
    with connected(database.url) as control:
        read = "SELECT idx_tup_fetch FROM pg_stat_user_tables WHERE relid = 'job'::regclass"
        ((rows,),) = control.execute(read).fetchall()
    return int(rows)
