"""A server that can't connect to its database logs once why, and once that it can again."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from jobengine.engine.door import Busy
from jobengine.engine.postgres.batch.session_connection import Reach
from jobengine.engine.postgres.database.connection import NotConnected, connected, described
from jobengine.storage.errors import StorageError
from tests.contract.asking import Asker
from tests.engine.postgres.world import PostgresWorld
from tests.postgres import Cluster, Database, Pretended

pytestmark = pytest.mark.slow

ROLE, PASSWORD = "rotated", "hunter2"


@pytest.fixture
def world(cluster: Cluster, database: Database) -> Iterator[PostgresWorld]:
    """An engine that connects with a role of its own, which needs its password."""
    database.clear()
    Pretended(database.url).connection.close()
    rules = cluster.path / "data/pg_hba.conf"
    before = rules.read_text()
    rules.write_text(f"local all {ROLE} scram-sha-256\n{before}")
    with psycopg.connect(database.url, autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {ROLE} LOGIN PASSWORD '{PASSWORD}' IN ROLE jobengine")
        admin.execute("SELECT pg_reload_conf()")
        world = PostgresWorld(database.url, through=make_conninfo(database.url, user=ROLE, password=PASSWORD))
        yield world
        world.close()
        rules.write_text(before)
        admin.execute("SELECT pg_reload_conf()")
        admin.execute(f"DROP ROLE {ROLE}")


def _logged(events: list[Any]) -> list[tuple[str, str]]:
    """Level and text of the log lines about the database, without the driver's details."""
    lines = [(event["log_level"].name, event["log_format"].format(**event)) for event in events]
    return [(level, text.partition(":")[0]) for level, text in lines if text.startswith("the database")]


def _end_connections(world: PostgresWorld) -> None:
    found = world.control.execute(
        "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE usename = %s", [ROLE]
    )
    assert all(has_ended for (has_ended,) in found)


def test_a_refused_password_is_logged_once_with_its_reason_and_the_recovery_is_logged_too(
    world: PostgresWorld, ask: Asker, events: list[Any]
) -> None:
    world.control.execute(f"ALTER ROLE {ROLE} PASSWORD 'another'")
    _end_connections(world)
    for _ in range(3):
        world.advance(1)
        with pytest.raises(Busy, match=r"^The database refuses the login now; nothing was carried out\. Try again\.$"):
            ask.add()
    readiness = ask.get(world.engine.readiness())
    assert readiness.reason == "the database refuses the login; the server's log says why"
    assert _logged(events) == [("error", "the database refuses the login")]
    (why,) = [event["why"] for event in events if "why" in event]
    assert f'password authentication failed for user "{ROLE}"' in why
    assert (PASSWORD in why, "\n" in why) == (False, False)
    world.control.execute(f"ALTER ROLE {ROLE} PASSWORD '{PASSWORD}'")
    # The lane of the add connects again without a task.
    world.advance(1)
    assert ask.get(world.engine.readiness()).ready
    assert _logged(events)[1:] == [("info", "the database is reached again")]
    ask.add()


def test_too_few_connections_for_lists_are_logged_once_although_the_server_is_ready(
    world: PostgresWorld, ask: Asker, events: list[Any]
) -> None:
    world.control.execute(f"ALTER ROLE {ROLE} CONNECTION LIMIT 2")
    _end_connections(world)
    for _ in range(3):
        world.advance(1)
        ask.add()
        with pytest.raises(Busy, match="The database has too many connections now"):
            ask.jobs()
    assert ask.get(world.engine.readiness()).ready
    assert _logged(events) == [("error", "the database has too many connections")]
    world.control.execute(f"ALTER ROLE {ROLE} CONNECTION LIMIT -1")
    world.advance(1)
    assert _logged(events)[1:] == [("info", "the database is reached again")]
    assert len(ask.jobs()) == 3


def test_each_new_reason_is_logged_but_the_recovery_only_when_all_sessions_are_connected(events: list[Any]) -> None:
    reach, one, other = Reach(), object(), object()
    reach.succeeded(one)
    for session, kind in (
        (one, "the database is away"),
        (other, "the database is away"),
        (one, "the database refuses"),
    ):
        reach.failed(session, kind, "why")
    reach.succeeded(one)
    assert _logged(events) == [("error", "the database is away"), ("error", "the database refuses")]
    reach.succeeded(other)
    reach.failed(one, "the database is away", "why")
    assert [level for level, _ in _logged(events)[2:]] == ["info", "error"]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ('FATAL: password authentication failed for user "jobengine"', "refuses the login"),
        ('FATAL: no pg_hba.conf entry for host "192.0.2.7"', "refuses the login"),
        ('FATAL: role "jobengine" is not permitted to log in', "refuses the login"),
        ("FATAL: sorry, too many clients already", "has too many connections"),
        (
            "FATAL: remaining connection slots are reserved for roles with the SUPERUSER attribute",
            "has too many connections",
        ),
        ('FATAL: too many connections for role "jobengine"', "has too many connections"),
        ("FATAL: no more connections allowed (max_client_conn)", "has too many connections"),
        ('connection to server at "authentication.example.org" failed: Connection refused', "can't be reached"),
        ("FATAL: the database system is starting up", "can't be reached"),
        ('FATAL: database "nodb" does not exist', "can't be reached"),
    ],
)
def test_a_failed_connection_is_classified_by_the_error_text_of_the_database(text: str, kind: str) -> None:
    error = NotConnected(text)
    assert (error.kind, error.why) == (f"the database {kind}", text)
    assert str(error) == f"the database {kind}; check DATABASE_URL: {text}"


def test_the_error_for_a_missing_root_certificate_says_that_it_must_exist_and_be_readable() -> None:
    error = NotConnected('root certificate file "/etc/jobengine/ca.pem" does not exist')
    assert "; check DATABASE_URL, whose sslrootcert must exist and be readable for this user: root" in str(error)


@pytest.mark.parametrize("password", ["a/b", "a@b"])
def test_the_error_for_a_url_with_an_unescaped_password_shows_the_escapes(password: str) -> None:
    with pytest.raises(StorageError, match=r"where / and @ of a password are written %2F and %40"):
        connected(f"postgresql://jobengine:{password}@none.invalid/jobengine")


@pytest.mark.parametrize(
    ("url", "text"),
    [
        (f"postgresql://{ROLE}:{PASSWORD}@a,b/jobs?sslmode=require", "the PostgreSQL database jobs at a,b"),
        (f"hostaddr=192.0.2.5 user={ROLE} password={PASSWORD}", "the PostgreSQL database at 192.0.2.5"),
        ("dbname=jobs", "the PostgreSQL database jobs"),
        (f"postgres//{PASSWORD}", "a PostgreSQL database"),
    ],
)
def test_a_database_is_described_without_user_and_password(url: str, text: str) -> None:
    assert described(url) == text
