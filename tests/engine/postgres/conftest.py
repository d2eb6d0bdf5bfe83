from collections.abc import Iterator

import pytest

from jobengine.engine.postgres.batch.session import Session
from tests.contract.asking import Asker
from tests.engine.postgres.world import PostgresWorld, session_on, world  # noqa: F401  # pytest finds it by name
from tests.postgres import Database


@pytest.fixture
def ask(world: PostgresWorld) -> Asker:  # noqa: F811  # that is how pytest names a fixture
    """Asks a server about the queue `q`, which is empty."""
    asker = Asker(world)
    asker.create()
    return asker


@pytest.fixture
def other(database: Database, ask: Asker) -> Iterator[Asker]:
    """Asks another server on the same database."""
    another = PostgresWorld(database.url)
    yield Asker(another)
    another.close()


@pytest.fixture
def session(database: Database) -> Iterator[Session]:
    database.clear()
    session = session_on(database.url)
    yield session
    session.close()
