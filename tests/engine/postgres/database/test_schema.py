"""A database of an older version is brought to the newest one."""

from collections.abc import Callable
from typing import Any, Final

import psycopg
import pytest
from psycopg.errors import UndefinedColumn, UndefinedTable

from jobengine.core import commands as c
from jobengine.core.failures import FailureGroup
from jobengine.core.flow import Limits
from jobengine.core.model import Defaults, State
from jobengine.engine.postgres.batch import queries as statements
from jobengine.engine.postgres.batch.decide import EventRecord, read_events
from jobengine.engine.postgres.database import schema
from jobengine.engine.postgres.database.connection import connected, together
from jobengine.engine.postgres.database.rows import NO_CLAIM_START
from jobengine.engine.postgres.sql import named
from jobengine.engine.waiting_line import Refused
from jobengine.storage.errors import StorageError
from jobengine.tools.postgres import migrate, recount_database
from tests.contract.asking import KEY, Asker
from tests.contract.group_reports import bulk
from tests.doubles import QUICK_KDF, SECRET
from tests.engine.postgres.world import PostgresWorld, session_on
from tests.postgres import Database

pytestmark = pytest.mark.slow


def make_old(database: Database, version: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Recreate the tables as an older version had them."""
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


def test_migrating_version_1_adds_claim_starts_and_old_servers_can_no_longer_change_anything(old: str) -> None:
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


def test_a_database_migrated_from_version_3_keeps_its_counts_with_no_retrying_or_cancelled_jobs(
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


@pytest.mark.parametrize("work", [migrate, recount_database])
def test_a_read_only_database_is_reported_in_one_line(database: Database, work: Callable[..., object]) -> None:
    session = session_on(database.url)
    session.carry_out([c.CreateQueue(queue="read", access_key=KEY)])
    session.close()
    read_only = database.url + " options='-c default_transaction_read_only=on'"
    with pytest.raises(StorageError, match=r"read-only; nothing was changed\. Use the primary"):
        work(environment={"DATABASE_URL": read_only, "SECRET": SECRET.decode()})


#: Removes from a database what versions from 7 on have added.
_WITHOUT_GROUPS: Final = (
    "ALTER TABLE lane_commit RENAME TO last_batch",
    "ALTER TABLE queue DROP COLUMN moving",
    "DROP TABLE dependency, ended, batch_tally",
    "DROP INDEX item_over",
    "ALTER TABLE item DROP COLUMN over",
    "DROP INDEX job_kept",
    "ALTER TABLE job DROP COLUMN awaited, DROP COLUMN batch, DROP COLUMN kept",
    "DROP INDEX item_fires",
    "ALTER TABLE item DROP COLUMN fires, DROP COLUMN failing",
    "DROP INDEX job_group",
    "ALTER TABLE job DROP COLUMN grp",
    "DROP TABLE grp",
    "DROP TABLE failure",
)
_COLUMNS: Final = (
    "SELECT table_name, column_name, data_type, column_default FROM information_schema.columns "
    "WHERE table_schema = 'jobengine' AND table_name <> 'pretended' UNION ALL "
    "SELECT tablename, indexname, indexdef, NULL FROM pg_indexes WHERE schemaname = 'jobengine' ORDER BY 1, 2"
)


def _columns(database: Database) -> list[Any]:
    with connected(database.url) as connection:
        return connection.execute(_COLUMNS).fetchall()


def _as_version_6(database: Database) -> None:
    """Reduce the tables to those of version 6; no job may have a group."""
    with connected(database.url) as connection, connection.transaction():
        for statement in (*_WITHOUT_GROUPS, "UPDATE meta SET version = 6"):
            connection.execute(statement)


def test_events_stored_by_version_6_have_no_group() -> None:
    assert read_events(b'[["u",null,"queued"]]') == [EventRecord("u", None, State.QUEUED)]


def test_jobs_stored_by_version_6_are_claimed_together_with_jobs_in_groups(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_old(database, 6, monkeypatch)
    version_6 = _columns(database)
    make_old(database, schema.VERSION, monkeypatch)
    world = PostgresWorld(database.url)
    ask = Asker(world)
    ask.create()
    old = [ask.add() for _ in range(4)]
    ask.update(ask.hold(), State.COMPLETE)
    held = ask.hold()

    def downgrade() -> None:
        _as_version_6(database)
        assert _columns(database) == version_6
        with connected(database.url) as connection:
            assert schema.migrate(connection, SECRET, QUICK_KDF) == 6

    world.reopen(downgrade)
    assert ask.read(held) == held
    ask.reconfigure(limits=Limits(in_progress=3), group_limits=Limits(in_progress=1))
    new = [ask.add(group="a", priority=1) for _ in range(2)]
    assert [job.spec for job in bulk(ask)] == [new[0].spec, old[2].spec]
    assert ask.ask(c.ReadStats).held == 2
    ask.update(held, State.COMPLETE)
    assert [job.spec for job in bulk(ask)] == [old[3].spec]
    world.close()


def test_the_groups_of_a_database_of_version_8_are_counted_in_the_tally(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_old(database, 8, monkeypatch)
    with connected(database.url) as connection:
        connection.execute("INSERT INTO tally VALUES (7, 1, 0, 9), (7, 1, 1, 5), (7, 1, 2, 3)")
        connection.execute(
            "INSERT INTO grp (queue_id, key, gate, sealed, ready, delayed, running) "
            "VALUES (7, '', '', '', 7, 5, 1), (7, 'g', '', '', 7, 5, 1)"
        )
        assert schema.migrate(connection, SECRET, QUICK_KDF) == 8
        read = named("read_flow")(queue_id=7, gate=b"")
        assert together(connection, read)[0][0][:6] == (9, 5, 3, 7, 5, 1)
        found = connection.execute("SELECT ready, rev FROM grp ORDER BY key").fetchall()
        assert found == [(0, 0), (7, 0)]
        with pytest.raises(UndefinedColumn):
            connection.execute("UPDATE grp SET created = 1")


@pytest.mark.parametrize(("version", "table"), [(9, "last_batch"), (10, "lane_batch")])
def test_servers_of_an_older_version_make_no_changes_after_a_migration(
    database: Database, monkeypatch: pytest.MonkeyPatch, version: int, table: str
) -> None:
    make_old(database, version, monkeypatch)
    with connected(database.url) as connection:
        connection.execute(f"INSERT INTO {table} VALUES (1, 2, 3)")
        assert schema.migrate(connection, SECRET, QUICK_KDF) == version
        with pytest.raises(UndefinedTable):
            connection.execute(f"INSERT INTO {table} VALUES (1, 3, 4)")
        assert connection.execute("SELECT id, batch, at FROM lane_commit").fetchall() == [(1, 2, 3)]


#: Removes from a database what version 11 has added.
_WITHOUT_FAILURES: Final = (
    "DROP TABLE failure",
    "ALTER TABLE queue DROP COLUMN moving",
    "ALTER TABLE lane_commit RENAME TO lane_batch",
    "UPDATE meta SET version = 10",
)


def _failures(ask: Asker) -> list[FailureGroup]:
    return list(ask.ask(c.ListFailures, limit=100).failures)


def test_jobs_that_failed_in_version_10_are_grouped_after_the_step_to_version_11(database: Database) -> None:
    database.clear()
    world = PostgresWorld(database.url)
    ask = Asker(world)
    ask.create()
    for attempts, error in ((1, "no answer from 10.0.0.7"), (2, "no answer from 10.0.0.9"), (1, None), (1, "lost")):
        ask.add(max_attempts=attempts, retry_delay_seconds=3600)
        ask.update(ask.hold(), State.FAILED, error=error)
        world.advance(1)
    ask.update(ask.add(), cancel=True)
    ask.add()
    damaged = ask.update(ask.hold(), State.FAILED, error="never seen again")
    ask.add()
    with connected(database.url) as connection:
        connection.execute("UPDATE job SET said = 'damaged' WHERE uid = %s", [damaged.spec.uid])
        connection.execute("DELETE FROM failure WHERE uid = %s", [damaged.spec.uid])
    wanted = _failures(ask)
    assert [(group.error, group.count) for group in wanted if group.count > 1] == [("no answer from 10.0.0.9", 2)]
    assert len(wanted) == 3

    def upgrade() -> None:
        with connected(database.url) as connection, connection.transaction():
            for statement in _WITHOUT_FAILURES:
                connection.execute(statement)
            assert schema.migrate(connection, SECRET, QUICK_KDF) == 10

    world.reopen(upgrade)
    assert _failures(ask) == wanted
    world.close()
