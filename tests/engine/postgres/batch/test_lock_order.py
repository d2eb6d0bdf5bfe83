"""Batches that wait for each other lock in one order, so none has to be carried out again after a deadlock."""

from collections.abc import Callable, Iterator, Sequence
from threading import Thread
from typing import Any, Final, LiteralString

import pytest
from attrs import define
from psycopg import Connection

from jobengine.core import commands as c
from jobengine.core.model import Defaults, State
from jobengine.core.unique_rule import IfQueued, UniqueRule
from jobengine.engine.postgres.batch.plan import Task
from jobengine.engine.postgres.batch.session import Session
from jobengine.engine.postgres.database.connection import connected
from jobengine.engine.postgres.database.pipeline import Row
from jobengine.engine.postgres.sql import DATABASE_CLOCK
from jobengine.engine.postgres.wake.event_log import Watch, Watches, begin_watch, read_watched
from tests.contract.asking import KEY
from tests.engine.postgres.world import session_on
from tests.postgres import Database, until_waiting

pytestmark = pytest.mark.slow

WHO: dict[str, Any] = {"queue": "q", "access_key": KEY}
FIRST, LAST = (f"00000000-0000-4000-8000-{at:012}" for at in range(2))
#: A lock on this table stops batches just before their commit: they count their changes there last.
_TALLY: Final[LiteralString] = "LOCK TABLE tally IN EXCLUSIVE MODE"
_KEYS: Final[LiteralString] = "SELECT 1 FROM unique_key FOR UPDATE"


@define
class _Two:
    """Two sessions, as the lanes of one server or those of two servers have."""

    database: Database
    one: Session
    other: Session

    def ask(self, *tasks: Task) -> None:
        for outcome in self.one.carry_out(tasks).outcomes:
            outcome.get()

    def watch(self, queue: str) -> Watch:
        rows = self.one.rows
        return Watches().add(self.one.run(lambda its: begin_watch(its, rows, DATABASE_CLOCK, queue, None)))

    def redone(self, locks: Sequence[LiteralString], tasks: Sequence[Task], others: Sequence[Task]) -> int:
        """Carry out `tasks` and, while they wait for these locks, `others`; returns how many batches were redone."""
        with connected(self.database.url) as holder:
            holder.execute("BEGIN")
            for lock in locks:
                holder.execute(lock)
            threads = [
                _started(lambda: self.one.carry_out(tasks), holder, 1),
                _started(lambda: self.other.carry_out(others), holder, 2),
            ]
            holder.execute("ROLLBACK")
        for thread in threads:
            thread.join()
        return self.one.totals.redone + self.other.totals.redone


def _started(work: Callable[[], object], holder: "Connection[Row]", waiting: int) -> Thread:
    """Start a thread that does `work`; returns when so many connections wait for locks."""
    thread = Thread(target=work)
    thread.start()
    until_waiting(holder, waiting)
    return thread


@pytest.fixture
def two(database: Database) -> Iterator[_Two]:
    database.clear()
    two = _Two(database, session_on(database.url), session_on(database.url))
    two.ask(c.CreateQueue(**WHO))
    two.ask(_new(uid=FIRST, unique_key="k"), _new(uid=LAST))
    yield two
    two.one.close()
    two.other.close()


def _new(**job: Any) -> c.AddJobs:
    return c.AddJobs(**WHO, jobs=(c.NewJob(content=b"{}", **job),), defaults=Defaults())


def _updates(*uids: str) -> c.UpdateJobs:
    changes = c.Changes(state=State.COMPLETE)
    return c.UpdateJobs(**WHO, updates=tuple(c.JobUpdate(uid=uid, changes=changes) for uid in uids))


def test_an_update_and_an_add_in_a_watched_queue_with_a_limit_do_not_deadlock(two: _Two) -> None:
    two.ask(c.ChangeQueue(**WHO, max_jobs=100))
    two.watch("q")
    assert two.redone([_TALLY], [_updates(LAST)], [_new(), _updates(LAST)]) == 0


def test_an_add_with_the_unique_key_of_a_job_that_another_session_updates_does_not_deadlock(two: _Two) -> None:
    assert two.redone([_TALLY, _KEYS], [_updates(LAST), _new(unique_key="k")], [_updates(FIRST, LAST)]) == 0


def test_an_add_that_replaces_a_job_that_another_session_updates_does_not_deadlock(two: _Two) -> None:
    replacing = _new(unique_key="k", unique=UniqueRule(if_queued=IfQueued.REPLACE))
    assert two.redone([_TALLY, _KEYS], [_updates(LAST), replacing], [_updates(FIRST, LAST)]) == 0


def test_a_poll_for_events_does_not_deadlock_with_locks_on_several_queues(two: _Two) -> None:
    two.ask(c.CreateQueue(queue="r", access_key=KEY))
    watches = [(two.watch(queue), 0) for queue in ("q", "r")]
    with connected(two.database.url) as holder:
        # The order of the rows: a read of the whole table finds the first queue last.
        holder.execute("UPDATE queue SET rev = rev WHERE id = (SELECT min(id) FROM queue)")
        holder.execute("BEGIN")
        holder.execute("SELECT 1 FROM queue ORDER BY id LIMIT 1 FOR UPDATE")

        def look() -> None:
            two.one.run(lambda connection: read_watched(connection, two.one.rows, DATABASE_CLOCK, watches))

        thread = _started(look, holder, 1)
        assert holder.execute("SELECT 1 FROM queue ORDER BY id OFFSET 1 FOR UPDATE NOWAIT").fetchall()
        holder.execute("ROLLBACK")
    thread.join()
