"""A database of an older version is brought to the newest one."""

import psycopg
import pytest
from psycopg.errors import UndefinedTable

from jobengine.core import commands as c
from jobengine.core.model import Defaults
from jobengine.engine.postgres import schema
from jobengine.engine.postgres.connection import connected
from jobengine.engine.postgres.rows import NO_FLOOR
from tests.contract.asking import KEY
from tests.contract.postgres_world import session_on
from tests.doubles import QUICK_KDF, SECRET
from tests.postgres import Database

pytestmark = pytest.mark.slow


@pytest.fixture
def old(database: Database, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a database of version 1, with a queue that nobody can read."""
    with psycopg.connect(database.url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA jobengine CASCADE")
    with monkeypatch.context() as patched, connected(database.url) as connection:
        patched.setattr(schema, "_STEPS", schema._STEPS[:1])
        patched.setattr(schema, "VERSION", 1)
        assert schema.migrate(connection, SECRET, QUICK_KDF) == 0
        connection.execute("INSERT INTO queue (name_digest, sealed) VALUES ('', '')")
    return database.url


def test_a_database_of_version_1_gets_floors_and_its_servers_change_nothing_any_more(old: str) -> None:
    with connected(old) as connection:
        assert schema.migrate(connection, SECRET, QUICK_KDF) == 1
        assert schema.migrate(connection, SECRET, QUICK_KDF) == schema.VERSION
        with pytest.raises(UndefinedTable):
            connection.execute("INSERT INTO lane VALUES (1, 1, 1)")
        floor = connection.execute("DELETE FROM queue RETURNING floor_prio, floor_arrival, proposed_prio")
        assert floor.fetchall() == [(*NO_FLOOR, None)]
    session = session_on(old)
    session.carry_out([c.CreateQueue(queue="q", access_key=KEY)])
    jobs = (c.NewJob(content=b"{}"),)
    session.carry_out([c.AddJobs(queue="q", access_key=KEY, jobs=jobs, defaults=Defaults())])
    (claimed,) = session.carry_out([c.Claims(queues=("q",), access_key=KEY, count=2)]).outcomes
    session.close()
    assert len(claimed.get().jobs) == 1
