"""A batch is loaded before the time is known; a key that has run out by then is refused all the same."""

from collections.abc import Iterator

import pytest

from jobengine.core.errors import AccessDenied
from tests.contract.asking import KEY, Asker
from tests.contract.postgres_world import PostgresWorld
from tests.postgres import Database

pytestmark = pytest.mark.slow


@pytest.fixture
def world(database: Database) -> Iterator[PostgresWorld]:
    database.clear()
    world = PostgresWorld(database.url)
    yield world
    world.close()


def test_an_old_key_opens_a_queue_that_is_known_until_its_time_has_passed(world: PostgresWorld) -> None:
    ask = Asker(world)
    ask.create()
    ask.reconfigure(new_access_key=b"new", old_key_seconds=60)
    # The second finds the queue as the first has left it, and loads by that.
    for _ in range(2):
        ask.add(key=KEY)
    world.advance(61)
    for _ in range(2):
        with pytest.raises(AccessDenied):
            ask.add(key=KEY)
        ask.add(key=b"new")
