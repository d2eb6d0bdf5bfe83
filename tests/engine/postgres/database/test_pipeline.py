"""Round trips, compared with the driver's own way: one statement after the other."""

from collections.abc import Iterator
from typing import Any, Final

import psycopg
import pytest
from psycopg.errors import DivisionByZero, InFailedSqlTransaction
from psycopg.pq import PipelineStatus

from jobengine.engine.postgres.database.arrays import bigints, byteas, texts
from jobengine.engine.postgres.database.pipeline import Row, Statement, Trips
from tests.integration.daemons import until
from tests.postgres import Database

pytestmark = pytest.mark.slow

_LOCKED: Final = "SELECT FROM pg_locks WHERE locktype = 'advisory'"
#: A parameter of which a few have more bytes than both ends of a connection keep.
LONG = b"\0" * 4_000_000


@pytest.fixture
def connection(database: Database) -> Iterator["psycopg.Connection[Row]"]:
    with psycopg.connect(database.url, autocommit=True) as connection:
        yield connection


@pytest.fixture(params=[True, False], ids=["prepared", "not prepared"])
def trips(connection: "psycopg.Connection[Row]", request: pytest.FixtureRequest) -> Trips:
    trips = Trips(connection)
    trips.prepares = request.param
    return trips


def _driver(connection: "psycopg.Connection[Row]", text: Any, values: list[object]) -> list[Row]:
    cursor = connection.execute(text, values, binary=True)
    return cursor.fetchall() if cursor.description else []


def test_the_pipeline_returns_the_same_rows_as_the_driver(connection: "psycopg.Connection[Row]", trips: Trips) -> None:
    plain: list[tuple[Any, list[Any]]] = [
        ("SELECT %s + 1, 'ä' || %s, %s || '\\x00'::bytea, NULL, true", [-5, "ö%", b"\xff"]),
        ("CREATE TEMPORARY TABLE things (a bigint, b text, c bytea)", []),
        ("SELECT a, b FROM things WHERE a > %s", [1 << 62]),
        ("SELECT 1 WHERE false", []),
        ("SELECT a, a::smallint FROM unnest(%s::bigint[]) AS a", [[1, 2]]),
        ("DROP TABLE things", []),
    ]
    for _ in range(2):
        packed = [[bigints(one) if isinstance(one, list) else one for one in values] for _, values in plain]
        sent = [Statement(text, values) for (text, _), values in zip(plain, packed, strict=True)]
        assert trips.make(sent) == [_driver(connection, text, values) for text, values in plain]


def test_packed_arrays_reach_the_database_unchanged(trips: Trips) -> None:
    columns = [bigints([1, None, -(1 << 63)]), texts(["a", "", "ö"]), byteas([b"", None, b"\xff"])]
    (rows,) = trips.make([Statement("SELECT * FROM unnest(%s, %s, %s)", columns)])
    assert rows == [(1, "a", b""), (None, "", None), (-(1 << 63), "ö", b"\xff")]


def test_the_first_error_of_a_pipeline_is_raised_and_the_connection_stays_usable(
    connection: "psycopg.Connection[Row]", trips: Trips
) -> None:
    fails = [Statement("BEGIN"), Statement("SELECT 1 / %s", [0]), Statement("SELECT %s", ["not reached"])]
    with pytest.raises(DivisionByZero):
        trips.make(fails)
    with pytest.raises(InFailedSqlTransaction):
        trips.make([Statement("SELECT %s", ["not reached"])])
    assert trips.make([Statement("ROLLBACK")]) == [[]]
    assert trips.make([Statement("SELECT 1 / %s", [1]), Statement("SELECT %s", ["reached"])]) == [
        [(1,)],
        [("reached",)],
    ]
    assert connection.pgconn.pipeline_status == PipelineStatus.OFF


def test_a_statement_is_prepared_once_for_each_combination_of_types(connection: "psycopg.Connection[Row]") -> None:
    trips = Trips(connection)
    for value in (1, 2, "text", 3, "text"):
        trips.make([Statement("SELECT %s", [value]), Statement("SELECT %s", [value])])
    ((prepared,),) = connection.execute("SELECT count(*) FROM pg_prepared_statements").fetchall()
    assert prepared == 2


def test_long_parameters_and_long_answers_do_not_block_each_other(trips: Trips) -> None:
    answers = trips.make([Statement("SELECT %s", [LONG])] * 5)
    assert answers == [[(LONG,)]] * 5


def test_a_large_statement_is_executed_before_the_next_statement_is_built(database: Database, trips: Trips) -> None:
    def made() -> Iterator[Statement]:
        yield Statement("BEGIN")
        yield Statement("SELECT length(%s), pg_advisory_xact_lock(1)", [bytes(100_000)])
        with psycopg.connect(database.url, autocommit=True) as other:
            until("the lock is taken", lambda: bool(other.execute(_LOCKED).fetchall()))
        yield Statement("ROLLBACK")

    seen: list[str] = []
    assert trips.make(made(), lambda: seen.append("sent")) == [[], [(100_000, b"")], []]
    assert seen == ["sent"]


def test_a_statement_can_be_executed_before_its_answer_is_read(database: Database, trips: Trips) -> None:
    with psycopg.connect(database.url, autocommit=True) as other:
        for _ in range(2):
            trips.begin(Statement("SELECT pg_advisory_lock(7)"))
            until("the lock is taken", lambda: bool(other.execute(_LOCKED).fetchall()))
            (rows,) = trips.make([Statement("SELECT pg_advisory_unlock(7)")])
            assert rows == [(True,)]


def test_the_error_of_a_statement_sent_in_advance_is_raised_by_the_next_round_trip(
    connection: "psycopg.Connection[Row]", trips: Trips
) -> None:
    for settle in (trips.settle, lambda: trips.make([Statement("SELECT 1")])):
        trips.begin(Statement("SELECT 1 / %s", [0]))
        with pytest.raises(DivisionByZero):
            settle()
        assert connection.pgconn.pipeline_status == PipelineStatus.OFF
    assert trips.make([Statement("SELECT 2")]) == [[(2,)]]


def test_an_exception_while_building_statements_commits_nothing(database: Database, trips: Trips) -> None:
    def made() -> Iterator[Statement]:
        yield Statement("BEGIN")
        yield Statement("INSERT INTO jobengine.gone VALUES (%s, %s)", [1, 1])
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        trips.make(made())
    with pytest.raises(psycopg.OperationalError):
        trips.make([Statement("COMMIT")])
    with psycopg.connect(database.url) as other:
        assert other.execute("SELECT * FROM jobengine.gone").fetchall() == []


def test_a_lost_connection_is_an_error_of_the_driver(database: Database, trips: Trips) -> None:
    ((backend,),), *_ = trips.make([Statement("SELECT pg_backend_pid()")])
    with psycopg.connect(database.url) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [backend])
    for _ in range(2):
        with pytest.raises(psycopg.OperationalError):
            trips.make([Statement("SELECT 1")])


def test_unread_notifications_are_dropped(connection: "psycopg.Connection[Row]", trips: Trips) -> None:
    trips.make([Statement("LISTEN things"), Statement("NOTIFY things")])
    assert trips.make([Statement("SELECT 1")]) == [[(1,)]]
    assert connection.pgconn.notifies() is None


def test_statements_prepared_before_an_error_are_not_prepared_again(connection: "psycopg.Connection[Row]") -> None:
    trips = Trips(connection)
    for _ in range(3):
        with pytest.raises(DivisionByZero):
            trips.make([Statement("BEGIN"), Statement("SELECT 1 / %s", [0]), Statement("SELECT 7")])
        trips.make([Statement("ROLLBACK")])
    (prepared,) = _driver(connection, "SELECT count(*) FROM pg_prepared_statements WHERE statement <> 'SELECT 7'", [])
    assert prepared == (3,)
