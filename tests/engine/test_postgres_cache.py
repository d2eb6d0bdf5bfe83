"""What a server on PostgreSQL keeps of queues is bounded."""

import time
from collections.abc import Iterator

import pytest

from jobengine.core import commands as c
from jobengine.core.model import Defaults
from jobengine.engine.ids import ordered_uuid
from jobengine.engine.postgres import rows
from jobengine.engine.postgres.connection import connected
from jobengine.engine.postgres.recent import RecentActivity
from jobengine.engine.postgres.schema import opened
from jobengine.engine.postgres.session import Session
from tests.doubles import SECRET
from tests.postgres import Database


def test_a_cache_of_queues_that_is_full_is_emptied() -> None:
    cache: dict[int, str] = {}
    for number in range(rows.MOST_QUEUES):
        rows.keep(cache, number, "kept")
    assert len(cache) == rows.MOST_QUEUES
    rows.keep(cache, -1, "the newest")
    assert cache == {-1: "the newest"}


@pytest.fixture
def session(database: Database) -> Iterator[Session]:
    database.clear()
    with connected(database.url) as control:
        session = Session(
            url=database.url,
            interval=True,
            rows=rows.Rows(opened(control, SECRET)),
            new_id=ordered_uuid,
            lately=RecentActivity(time.monotonic),
            steady=time.monotonic,
        )
    yield session
    session.close()


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
