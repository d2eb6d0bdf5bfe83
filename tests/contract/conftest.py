from collections.abc import Iterator

import pytest

from tests.postgres import Database

# So that failed assertions in them show their values.
pytest.register_assert_rewrite(
    *(
        f"tests.contract.{name}"
        for name in ("access", "asking", "events", "history", "many", "sorted_lists", "suite", "waiting")
    )
)

from tests.contract.postgres_world import PostgresWorld  # noqa: E402  # it imports some of these


@pytest.fixture
def world(database: Database) -> Iterator[PostgresWorld]:
    """An engine alone on its PostgreSQL, for modules that have no world of their own."""
    database.clear()
    world = PostgresWorld(database.url)
    yield world
    world.close()
