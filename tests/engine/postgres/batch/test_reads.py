"""A command that only reads locks no row, and writes none."""

from typing import Any

import pytest

from jobengine.core import commands as c
from jobengine.core.model import Defaults
from jobengine.engine.postgres.batch.session import Session
from jobengine.engine.postgres.database.connection import connected
from tests.contract.named_items import ListItems, SetItem
from tests.contract.new_command import ReadTwo
from tests.postgres import Database

pytestmark = pytest.mark.slow

WHO: dict[str, Any] = {"queue": "q", "access_key": b"key"}


@pytest.fixture
def session(session: Session) -> Session:
    session.carry_out([c.CreateQueue(**WHO)])
    return session


def _written(database: Database) -> list[Any]:
    """The rows of lanes with the transactions that wrote them: each transaction that writes changes one."""
    with connected(database.url) as connection:
        return connection.execute("SELECT id, batch, xmin::text FROM lane_commit ORDER BY id").fetchall()


def test_a_new_reading_command_waits_for_no_lock_and_writes_nothing(session: Session, database: Database) -> None:
    added = c.AddJobs(**WHO, jobs=(c.NewJob(content=b"{}"),), defaults=Defaults())
    ((one,),) = [outcome.get() for outcome in session.carry_out([added]).outcomes]
    session.carry_out([SetItem(**WHO, name="a", value="1")])
    uid, before = one.job.spec.uid, _written(database)
    with connected(database.url) as rival:
        rival.execute("BEGIN")
        rival.execute("SELECT uid FROM job FOR UPDATE")
        rival.execute("SELECT id FROM lane_commit FOR UPDATE")
        session.run(lambda connection: connection.execute("SET lock_timeout = '100ms'"))
        (outcome,) = session.carry_out([ReadTwo(**WHO, first=uid, second=uid)]).outcomes
        assert outcome.get().size == 4
        rival.execute("SELECT key FROM item FOR UPDATE")
        assert session.carry_out([ListItems(**WHO)]).outcomes[0].get() == [("a", "1")]
        rival.execute("ROLLBACK")
    assert _written(database) == before
