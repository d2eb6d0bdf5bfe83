"""The engine on PostgreSQL keeps the contract of all engines."""

import psycopg
import pytest
from psycopg import sql

from jobengine.core.commands import ChangeGroup, ChangeQueue, DeleteQueue
from jobengine.core.errors import JobDamaged, QueueDraining, QueueNotFound
from jobengine.core.flow import Limits, Rate
from jobengine.core.model import State
from jobengine.engine.door import Busy
from jobengine.engine.postgres import queue_scan as views
from jobengine.engine.postgres.database.connection import connected
from jobengine.storage.errors import StorageError
from tests.contract.asking import Asker
from tests.contract.named_items import SetItem
from tests.contract.suite import EngineContract
from tests.engine.postgres.world import PostgresWorld
from tests.postgres import TABLES, Database

pytestmark = pytest.mark.slow


class TestPostgresEngine(EngineContract):
    """PostgresEngine, alone on its database."""


def _rows(world: PostgresWorld) -> dict[str, int]:
    """The number of rows in each table about queues."""
    tables = [table for table in TABLES if table not in ("lane_commit", "clock")]
    return {table: len(world.control.execute(f"SELECT 1 FROM {table}").fetchall()) for table in tables}


def test_a_deleted_queue_leaves_no_row(world: PostgresWorld) -> None:
    ask = Asker(world)
    ask.create()
    world.begin(anext(ask.watch()))
    for at in range(5):
        ask.add(tags=("a", "b"), unique_key=str(at))
    ask.ask(SetItem, name="a", value="1")
    assert {**_rows(world), "gone": 0} == {
        "queue": 1,
        "job": 5,
        "tag": 10,
        "unique_key": 6,
        "item": 1,
        "grp": 0,
        "tally": 1,
        "event": 5,
        "gone": 0,
        "claimers": 0,
        "history": 0,
        "dependency": 0,
        "ended": 0,
        "batch_tally": 0,
        "failure": 0,
    }
    ask.ask(DeleteQueue)
    for _ in range(9):
        world.advance(10)
    assert set(_rows(world).values()) == {0}


def test_a_group_whose_rate_window_has_passed_leaves_no_row(world: PostgresWorld) -> None:
    ask = Asker(world)
    ask.create()
    ask.reconfigure(limits=Limits(rate=Rate(9, 60)), group_limits=Limits(rate=Rate(1, 60)))
    for group in "abc":
        ask.add(group=group)
        ask.update(ask.hold(), State.COMPLETE)
    ask.ask(ChangeGroup, group="d", in_progress=1)
    for _ in range(5):
        world.advance(10)
    # Rows: the gates of three groups and of the queue, the settings of one group, and the row for all groups.
    assert {name: number for name, number in _rows(world).items() if name in ("item", "grp")} == {"item": 5, "grp": 5}
    for _ in range(3):
        world.advance(10)
    assert {name: number for name, number in _rows(world).items() if name in ("item", "grp")} == {"item": 1, "grp": 2}


def test_a_slot_that_another_server_frees_goes_to_a_waiter(database: Database) -> None:
    database.clear()
    first, second = PostgresWorld(database.url), PostgresWorld(database.url)
    here, there = Asker(first), Asker(second)
    here.create()
    here.reconfigure(limits=Limits(in_progress=2), group_limits=Limits(in_progress=1))
    jobs = [here.add(group=group) for group in "aab"]
    held = [there.hold(), there.hold()]
    assert [job.spec.uid for job in held] == [jobs[0].spec.uid, jobs[2].spec.uid]
    waiting = here.claiming()
    there.update(held[1], State.COMPLETE)
    first.advance(0.25)
    assert not waiting.answered
    there.update(held[0], State.COMPLETE)
    first.advance(0.25)
    assert [one.job.spec.uid for one in waiting.answer.jobs] == [jobs[1].spec.uid]
    assert there.claim() is None
    first.close()
    second.close()


def test_a_locked_row_of_a_deleted_queue_is_removed_after_it_is_unlocked(
    world: PostgresWorld, database: Database
) -> None:
    ask = Asker(world)
    ask.create()
    ask.add()
    with connected(database.url) as other:
        other.execute("BEGIN")
        other.execute("SELECT 1 FROM job FOR UPDATE")
        ask.ask(DeleteQueue)
        for _ in range(9):
            world.advance(10)
    for _ in range(3):
        world.advance(10)
    assert set(_rows(world).values()) == {0}


def test_a_cached_job_equals_the_job_that_another_server_reads(database: Database) -> None:
    database.clear()
    first, second = PostgresWorld(database.url), PostgresWorld(database.url)
    here, there = Asker(first), Asker(second)
    here.create()
    jobs = [here.add(content=b'{"a":1}', tags=("a",), unique_key="k", uid=None), here.add()]
    assert [here.read(job) for job in jobs] == [there.read(job) for job in jobs] == jobs
    held = here.hold(worker="w")
    here.update(held, State.FAILED, error="e", result=b"1")
    assert here.read(held) == there.read(held)
    first.close()
    second.close()


def test_a_server_uses_the_present_settings_of_a_queue_that_another_server_changed(database: Database) -> None:
    database.clear()
    first, second = PostgresWorld(database.url), PostgresWorld(database.url)
    here, there = Asker(first), Asker(second)
    here.create()
    for _ in range(3):
        here.add(unique_key="k")
    there.ask(ChangeQueue, draining=True)
    with pytest.raises(QueueDraining):
        here.add()
    there.ask(DeleteQueue)
    with pytest.raises(QueueNotFound):
        here.add()
    there.create()
    here.add(unique_key="k")
    there.ask(DeleteQueue)
    there.create()
    job = there.add(unique_key="k")
    assert here.hold().spec == job.spec
    first.close()
    second.close()


def test_the_row_of_an_unused_unique_key_is_removed(world: PostgresWorld) -> None:
    ask = Asker(world)
    ask.create()
    first, second = ask.add(unique_key="1"), ask.add(unique_key="2")
    ask.update(ask.hold(), State.COMPLETE)
    world.advance(10)
    assert _rows(world)["unique_key"] == 1
    assert ask.add(unique_key="1") != first
    assert ask.add(unique_key="2") == second


def test_a_row_with_the_record_of_another_job_is_refused(world: PostgresWorld) -> None:
    ask = Asker(world)
    ask.create()
    first, second = ask.add(content=b'{"a":1}'), ask.add(content=b'{"a":2}')
    sealed = "SELECT sealed FROM job WHERE uid = %s"
    world.control.execute(f"UPDATE job SET sealed = ({sealed}) WHERE uid = %s", [first.spec.uid, second.spec.uid])
    assert ask.read(first) == first
    with pytest.raises(JobDamaged):
        ask.read(second)


def test_no_client_data_is_in_the_tables_in_plain_text(world: PostgresWorld) -> None:
    ask = Asker(world)
    ask.create()
    world.begin(anext(ask.watch()))
    ask.add(content=b'{"secret":1}', tags=("secret",), unique_key="secret", uid=None)
    job = ask.hold(worker="secret")
    ask.update(job, error="secret", result=b'"secret"')
    for table in TABLES:
        for row in world.control.execute(f"SELECT * FROM {table}"):
            assert all(b"secret" not in value for value in row if isinstance(value, bytes))
            assert all("secret" not in value for value in row if isinstance(value, str))


def test_each_of_two_servers_serves_the_changes_made_at_the_other_server(database: Database) -> None:
    database.clear()
    first, second = PostgresWorld(database.url), PostgresWorld(database.url)
    here, there = Asker(first), Asker(second)
    here.create()
    job = here.add()
    waiting, watching = here.claiming(), here.awaiting(job)
    assert [one.job.spec for one in waiting.answer.jobs] == [job.spec]
    waiting, stream = here.claiming(), here.watch()
    event = first.begin(anext(stream))
    there.update(job, State.COMPLETE)
    other = there.add()
    assert not waiting.answered
    first.advance(0.25)
    assert [one.job.spec for one in waiting.answer.jobs] == [other.spec]
    assert watching.answer.state is State.COMPLETE
    assert [one.uid for one in event.answer[0].events] == [job.spec.uid]
    there.ask(ChangeQueue, paused=True)
    late = here.claiming()
    there.ask(DeleteQueue)
    first.advance(0.25)
    with pytest.raises(QueueNotFound):
        assert late.answer
    first.close()
    second.close()


def test_after_a_lost_connection_the_command_is_carried_out_exactly_once(world: PostgresWorld) -> None:
    ask = Asker(world)
    ask.create()
    others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> "
    for count in range(1, 4):
        world.control.execute(f"{others} pg_backend_pid()")
        ask.add()
        assert len(ask.jobs()) == count


def test_a_server_leaves_a_host_that_became_a_standby_and_connects_to_the_primary(world: PostgresWorld) -> None:
    ask = Asker(world)
    ask.create()
    change = "ALTER DATABASE {} {} default_transaction_read_only"
    name = sql.Identifier(world.control.info.dbname)
    world.control.execute(sql.SQL(change + " = on").format(name, sql.SQL("SET")))
    world.control.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
    with pytest.raises(Busy, match="is read-only now; nothing was carried out"):
        ask.add()
    world.control.execute(sql.SQL(change).format(name, sql.SQL("RESET")))
    ask.add()
    assert len(ask.jobs()) == 1


@pytest.mark.parametrize(("more", "seconds"), [("", "10"), (" keepalives_idle=99", "99")])
def test_a_silent_host_is_given_up_after_the_time_out_in_the_url_or_else_the_default(
    database: Database, more: str, seconds: str
) -> None:
    with connected(database.url + more) as connection:
        given = connection.info.get_parameters()
        (idle,) = connection.execute("SHOW idle_in_transaction_session_timeout").fetchone() or ()
    assert (given["keepalives_idle"], given["tcp_user_timeout"], idle) == (seconds, "25000", "1min")


def test_options_in_the_url_are_kept_together_with_the_options_of_jobengine(database: Database) -> None:
    with connected(database.url + " options='-c statement_timeout=12s'") as connection:
        shown = [connection.execute(f"SHOW {name}").fetchone() for name in ("statement_timeout", "search_path")]
    assert shown == [("12s",), ("jobengine",)]


def test_each_part_of_a_streamed_queue_is_no_longer_than_the_byte_limit_of_a_page(
    world: PostgresWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = Asker(world)
    ask.create()
    for length in (1, 1, 30, 1, 1, 1):
        ask.add(content=b'{"a":"%s"}' % (b"x" * length))
    monkeypatch.setattr(views, "PAGE_BYTES", 30)
    assert [len(part) for part in ask.read_queue(limit=2)] == [2, 1, 2, 1]


def test_the_metrics_have_the_oldest_open_snapshot_and_the_round_trips(
    world: PostgresWorld, database: Database
) -> None:
    before = world.figure("round_trips")
    with psycopg.connect(database.url) as other:
        for is_open in (False, True, False):
            # A transaction holds a snapshot from its first statement on.
            other.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            if is_open:
                other.execute("SELECT 1 FROM pg_class LIMIT 1")
            world.advance(10)
            assert (world.figure("oldest_snapshot_seconds") > 0) is is_open
            other.rollback()
    assert world.figure("round_trips") > before


@pytest.mark.parametrize(
    ("name", "value"), [("crdb_version", "CockroachDB CCL v24.1.0"), ("server_version", "15.2-YB-2.25.0.0-b0")]
)
def test_a_database_other_than_postgresql_is_refused(
    database: Database, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setattr(psycopg.ConnectionInfo, "parameter_status", lambda _, one: value if one == name else None)
    with pytest.raises(StorageError, match="use a PostgreSQL server"):
        connected(database.url)
