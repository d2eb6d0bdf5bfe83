"""A server is ready as long as it can use all tables."""

from contextlib import nullcontext
from typing import Any

import pytest

from jobengine.engine.door import Busy
from jobengine.engine.postgres.batch.begin import check_usable
from jobengine.engine.postgres.database.arrays import texts
from jobengine.engine.postgres.database.connection import connected, together
from jobengine.engine.postgres.sql import named
from jobengine.storage.errors import StorageError
from tests.contract.asking import Asker
from tests.engine.postgres.world import Held, PostgresWorld
from tests.postgres import Database

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "table", ["job", "queue", "tag", "tally", "lane_commit", "gone", "event", "unique_key", "item", "meta"]
)
def test_a_server_is_not_ready_while_a_table_is_missing(
    world: PostgresWorld, ask: Asker, table: str, events: list[Any]
) -> None:
    world.control.execute(f"ALTER TABLE {table} RENAME TO away")
    world.advance(1)
    world.advance(1)
    readiness = ask.get(world.engine.readiness())
    assert (readiness.ready, table in readiness.reason) == (False, True)
    assert "restore what is missing from a dump" in readiness.reason
    assert world.figure("accepts_changes") == 0
    with pytest.raises(Busy) if table not in ("gone", "event", "item") else nullcontext():
        ask.add(tags=("t",), unique_key="k")
    world.control.execute(f"ALTER TABLE away RENAME TO {table}")
    world.advance(1)
    assert ask.get(world.engine.readiness()).ready
    ask.add(tags=("t",), unique_key="k")
    told = [event["log_level"].name for event in events if "usable" in event.get("log_format", "")]
    assert told == ["error", "info"]
    assert [event for event in events if "log_failure" in event] == []


def test_a_server_is_not_ready_while_the_database_does_not_answer(database: Database) -> None:
    lane = Held()
    world = PostgresWorld(database.url, thread=lambda _name: lane)
    ask = Asker(world)
    lane.holds = True
    world.advance(1)
    world.advance(15)
    assert ask.get(world.engine.readiness()).ready
    world.advance(1)
    assert ask.get(world.engine.readiness()).reason == "the database does not answer"
    assert world.figure("accepts_changes") == 0
    lane.let_go()
    assert ask.get(world.engine.readiness()).ready
    world.close()


def test_a_server_is_not_ready_while_meta_is_empty(world: PostgresWorld, ask: Asker) -> None:
    world.control.execute("CREATE TABLE kept AS SELECT * FROM meta")
    world.control.execute("DELETE FROM meta")
    world.advance(1)
    assert ask.get(world.engine.readiness()).reason == "the table meta is empty; restore it from a dump"
    with pytest.raises(Busy, match="meta is empty"):
        ask.add()
    world.control.execute("INSERT INTO meta SELECT * FROM kept")
    world.control.execute("DROP TABLE kept")
    world.advance(1)
    assert ask.get(world.engine.readiness()).ready
    ask.add()


def _set_read_only(world: PostgresWorld, value: str) -> None:
    """Set default_transaction_read_only to `value`, and end all other sessions: they would keep the old value."""
    ((database,),) = world.control.execute("SELECT current_database()").fetchall()
    world.control.execute(f'ALTER DATABASE "{database}" SET default_transaction_read_only = {value}')
    ended = world.control.execute(
        "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    assert all(has_ended for (has_ended,) in ended)


def test_a_server_is_not_ready_while_the_database_is_read_only(world: PostgresWorld, ask: Asker) -> None:
    try:
        _set_read_only(world, "on")
        world.advance(1)
        assert ask.get(world.engine.readiness()).reason == "the database is read-only"
        with pytest.raises(Busy, match="is read-only"):
            ask.add()
    finally:
        _set_read_only(world, "off")
    world.advance(1)
    assert ask.get(world.engine.readiness()).ready
    ask.add()


def test_missing_rights_to_tables_and_sequences_are_found(world: PostgresWorld) -> None:
    ((role,),) = world.control.execute("SELECT 'of ' || current_database()").fetchall()
    world.control.execute(f'CREATE ROLE "{role}"')
    try:
        world.control.execute(f'GRANT USAGE ON SCHEMA jobengine TO "{role}"')
        world.control.execute(f'GRANT ALL ON ALL TABLES IN SCHEMA jobengine TO "{role}"')
        world.control.execute(f'REVOKE INSERT ON job FROM "{role}"')
        world.control.execute(f'REVOKE UPDATE ON tally FROM "{role}"')
        with connected(world.url, interval=False) as connection:
            connection.execute(f'SET ROLE "{role}"')
            find = named("find_lack")(names=texts(["batch", "job", "meta", "tally", "item", "none"]))
            assert together(connection, find) == [[("batch", True), ("job", False), ("none", None), ("tally", False)]]
            with pytest.raises(StorageError, match=r"not usable: the role needs .* on: .*tally; and USAGE on the seq"):
                check_usable(connection)
            connection.execute("SET default_transaction_read_only = on")
            check_usable(connection)  # a standby may take over
            connection.execute("SET default_transaction_read_only = off")
            world.control.execute(f'GRANT USAGE ON SEQUENCE batch TO "{role}"')
            assert together(connection, find) == [[("job", False), ("none", None), ("tally", False)]]
    finally:
        world.control.execute(f'DROP OWNED BY "{role}"')
        world.control.execute(f'DROP ROLE "{role}"')
