"""The caches of a server on PostgreSQL are bounded, and query plans are kept for a short time."""

import time
from typing import Any

import pytest
from psycopg import Connection

from jobengine.core import commands as c
from jobengine.core.model import Defaults, State
from jobengine.engine.postgres.batch.session import Session
from jobengine.engine.postgres.database import rows
from jobengine.engine.postgres.database.pipeline import Row

WHO: dict[str, Any] = {"queue": "q", "access_key": b"key"}


def test_a_full_cache_of_queues_is_emptied() -> None:
    cache: dict[int, str] = {}
    for number in range(rows.MOST_QUEUES):
        rows.keep(cache, number, "kept")
    assert len(cache) == rows.MOST_QUEUES
    rows.keep(cache, -1, "the newest")
    assert cache == {-1: "the newest"}


@pytest.mark.slow
@pytest.mark.parametrize(("room", "trips"), [(rows.MOST_QUEUES, 2), (1, 3)])
def test_a_queue_that_left_a_full_cache_is_read_again(
    session: Session, monkeypatch: pytest.MonkeyPatch, room: int, trips: int
) -> None:
    monkeypatch.setattr(rows, "MOST_QUEUES", room)
    for name in ("a", "b"):
        session.carry_out([c.CreateQueue(queue=name, access_key=b"key")])
    for name in ("a", "b", "a", "b"):
        before = session.totals.round_trips
        add = c.AddJobs(queue=name, access_key=b"key", jobs=(c.NewJob(content=b"{}"),), defaults=Defaults())
        session.carry_out([add])
    assert session.totals.round_trips - before == trips


@pytest.mark.slow
def test_query_plans_made_for_a_short_queue_are_replaced(session: Session) -> None:
    session.carry_out([c.CreateQueue(**WHO)])
    for _ in range(8):
        go_through(session, 1)
    go_through(session, 500)
    session.steady = lambda: time.monotonic() + 2
    go_through(session, 1)
    assert "job_pkey" in _plan_of_changes(session)


def go_through(session: Session, count: int) -> None:
    """Add jobs, claim and complete them."""
    jobs = tuple(c.NewJob(content=b"{}") for _ in range(count))
    session.carry_out([c.AddJobs(**WHO, jobs=jobs, defaults=Defaults())])
    (claimed,) = session.carry_out([c.Claims(queues=("q",), access_key=b"key", count=count)]).outcomes
    done = c.Changes(state=State.COMPLETE)
    updates = tuple(c.JobUpdate(uid=one.job.spec.uid, changes=done) for one in claimed.get().jobs)
    assert len(updates) == count
    session.carry_out([c.UpdateJobs(**WHO, updates=updates)])


def _plan_of_changes(session: Session) -> str:
    def explained(connection: "Connection[Row]") -> str:
        found = connection.execute(
            "SELECT name, cardinality(parameter_types) FROM pg_prepared_statements WHERE statement LIKE 'UPDATE job %'"
        ).fetchone()
        assert found is not None
        name, parameters = found
        return str(connection.execute(f"EXPLAIN EXECUTE {name}({', '.join(['NULL'] * parameters)})").fetchall())

    return session.run(explained)
