"""The cost of claims, in pages, while a snapshot is held open for long, and afterwards."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from attrs import define

from jobengine.core import commands as c
from jobengine.core.model import Defaults, State
from jobengine.engine.postgres.batch.claim_start import advance_claim_start
from jobengine.engine.postgres.database.connection import connected, together
from jobengine.engine.postgres.database.pipeline import Statement
from tests.contract.asking import KEY, Asker
from tests.engine.postgres.server import statements_sent
from tests.engine.postgres.world import PostgresWorld
from tests.postgres import Database

pytestmark = pytest.mark.slow

#: Jobs that are added and completed in one round, and the number of rounds.
JOBS, TIMES = 100, 10


@define
class _Claims:
    """Counts the pages of the last statement that claimed jobs."""

    _sent: list[Statement]

    def pages(self, url: str) -> int:
        """The pages that the statement visits if it is repeated now."""
        last = [one for one in self._sent if one.text.startswith("WITH") and "SKIP LOCKED" in one.text][-1]
        with connected(url) as connection, connection.transaction(force_rollback=True):
            ((((told,),),),) = together(
                connection, Statement("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + last.text, last.values)
            )
        plan = told["Plan"]
        return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


@pytest.fixture
def claims(monkeypatch: pytest.MonkeyPatch) -> _Claims:
    return _Claims(statements_sent(monkeypatch))


@pytest.fixture
def world(database: Database, claims: _Claims) -> Iterator[PostgresWorld]:
    database.clear()
    world = PostgresWorld(database.url)
    yield world
    world.close()


@pytest.fixture
def ask(world: PostgresWorld, database: Database) -> Asker:
    """Gives commands about a queue in which some jobs were completed before the table was vacuumed."""
    ask = Asker(world)
    ask.create()
    _go_through(world, ask)
    _vacuum(database)
    return ask


@contextmanager
def _snapshot_held(database: Database) -> Iterator[None]:
    with psycopg.connect(database.url) as holder:
        holder.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        holder.execute("SELECT 1")
        yield


def _go_through(world: PostgresWorld, ask: Asker) -> None:
    """Add jobs, claim them and complete them."""
    new = tuple(c.NewJob(content=b"{}") for _ in range(JOBS))
    ask.ask(c.AddJobs, jobs=new, defaults=Defaults())
    claimed = ask.get(world.engine.claim(c.Claims(queues=("q",), access_key=KEY, count=JOBS))).jobs
    assert len(claimed) == JOBS
    done = c.Changes(state=State.COMPLETE)
    updates = tuple(c.JobUpdate(uid=one.job.spec.uid, lease=one.job.standing.lease, changes=done) for one in claimed)
    ask.ask(c.UpdateJobs, updates=updates)


def test_claims_visit_as_few_pages_as_before_when_a_long_open_snapshot_has_ended(
    world: PostgresWorld, ask: Asker, database: Database, claims: _Claims
) -> None:
    before = claims.pages(database.url)
    with _snapshot_held(database):
        during = []
        for _ in range(TIMES):
            _go_through(world, ask)
            _vacuum(database)
            during.append(claims.pages(database.url))
    _vacuum(database)
    after = claims.pages(database.url)
    assert after <= before + 5, during
    # Without a claim start, claims read past the old rows of completed jobs: a sixth to a third of a page for each,
    # depending on how rows of this length fill pages.
    assert during[-1] < before + JOBS * TIMES / 3


def test_despite_an_open_snapshot_claims_visit_few_pages_if_the_claim_start_advances(
    world: PostgresWorld, ask: Asker, database: Database, claims: _Claims
) -> None:
    before = claims.pages(database.url)
    with _snapshot_held(database):
        for _ in range(TIMES):
            _go_through(world, ask)
            _advance_claim_start(database)
        # The old versions of the queue's own row are on a few pages.
        assert claims.pages(database.url) <= before + 2 * TIMES


def _advance_claim_start(database: Database) -> None:
    """Propose the place of the last completed job, and advance the claim start to it."""
    with connected(database.url) as connection:
        ((queue_id, last),) = connection.execute("SELECT queue_id, max(arrival) FROM job GROUP BY 1").fetchall()
        for _ in range(2):
            advance_claim_start(connection, queue_id, (~0, last))


def _vacuum(database: Database) -> None:
    """As autovacuum does now and then."""
    with psycopg.connect(database.url, autocommit=True) as connection:
        connection.execute("VACUUM jobengine.job")
