"""A database of an older version is brought to the newest one."""

import psycopg
import pytest
from psycopg.errors import UndefinedTable

from jobengine.core import commands as c
from jobengine.core.model import Defaults, State
from jobengine.engine.postgres.batch import queries as statements
from jobengine.engine.postgres.database import schema
from jobengine.engine.postgres.database.connection import connected, together
from jobengine.engine.postgres.database.rows import NO_CLAIM_START
from jobengine.engine.waiting_line import Refused
from tests.contract.asking import KEY
from tests.doubles import QUICK_KDF, SECRET
from tests.engine.postgres.world import session_on
from tests.postgres import Database

pytestmark = pytest.mark.slow


def make_old(database: Database, version: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the tables again as an older version had them."""
    with psycopg.connect(database.url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA jobengine CASCADE")
    with monkeypatch.context() as patched, connected(database.url) as connection:
        patched.setattr(schema, "_STEPS", schema._STEPS[:version])
        patched.setattr(schema, "VERSION", version)
        assert schema.migrate(connection, SECRET, QUICK_KDF) == 0


@pytest.fixture
def old(database: Database, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a database of version 1, with a queue that nobody can read."""
    make_old(database, 1, monkeypatch)
    with connected(database.url) as connection:
        connection.execute("INSERT INTO queue (name_digest, sealed) VALUES ('', '')")
    return database.url


def test_migrating_version_1_adds_claim_starts_and_makes_changes_by_old_servers_fail(old: str) -> None:
    with connected(old) as connection:
        assert schema.migrate(connection, SECRET, QUICK_KDF) == 1
        assert schema.migrate(connection, SECRET, QUICK_KDF) == schema.VERSION
        with pytest.raises(UndefinedTable):
            connection.execute("INSERT INTO lane VALUES (1, 1, 1)")
        found = connection.execute("DELETE FROM queue RETURNING floor_prio, floor_arrival, proposed_prio")
        assert found.fetchall() == [(*NO_CLAIM_START, None)]
    session = session_on(old)
    session.carry_out([c.CreateQueue(queue="q", access_key=KEY)])
    jobs = (c.NewJob(content=b"{}"),)
    session.carry_out([c.AddJobs(queue="q", access_key=KEY, jobs=jobs, defaults=Defaults())])
    (claimed,) = session.carry_out([c.Claims(queues=("q",), access_key=KEY, count=2)]).outcomes
    session.close()
    assert len(claimed.get().jobs) == 1


def test_a_database_of_version_3_keeps_its_counts_and_has_none_of_retrying_or_cancelled_jobs(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_old(database, 3, monkeypatch)
    with connected(database.url) as connection:
        connection.execute("INSERT INTO tally VALUES (7, 1, 0, 3), (7, 2, 0, 4), (7, 1, 4, 5)")
        assert schema.migrate(connection, SECRET, QUICK_KDF) == 3
        (answer,) = together(connection, statements.counts([7]))
        assert sorted(answer) == [(7, 0, 7), (7, 4, 5)]


def test_jobs_that_retry_or_were_cancelled_do_not_count_twice_towards_the_size_of_a_queue(database: Database) -> None:
    session = session_on(database.url)
    session.carry_out([c.CreateQueue(queue="q", access_key=KEY)])
    session.carry_out([c.ChangeQueue(queue="q", access_key=KEY, max_jobs=3)])
    adding = c.AddJobs(queue="q", access_key=KEY, jobs=(c.NewJob(content=b"{}", max_attempts=2),), defaults=Defaults())
    for change in (c.Changes(state=State.FAILED), c.Changes(cancel=True), None):
        (added,) = session.carry_out([adding]).outcomes[0].get()
        if change is not None and not change.cancel:
            session.carry_out([c.Claims(queues=("q",), access_key=KEY)])
        if change is not None:
            session.carry_out([c.UpdateJob(queue="q", access_key=KEY, uid=added.job.spec.uid, changes=change)])
    assert isinstance(session.carry_out([adding]).outcomes[0], Refused)
    session.close()
