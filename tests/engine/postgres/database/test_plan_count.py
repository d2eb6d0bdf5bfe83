"""
PostgreSQL keeps its query plans, on a database as a migration leaves it.

This test has a database of its own: what PostgreSQL chooses depends on what was in the tables before.
"""

from typing import Final

import pytest

from jobengine.core import commands as c
from tests.engine.postgres.world import session_on
from tests.postgres import Database

from .test_cache import WHO, go_through

#: The statements that PostgreSQL goes on to plan at each execution; the first five times it plans every statement.
_MADE_AGAIN: Final = (
    "SELECT left(statement, 50), custom_plans, generic_plans FROM pg_prepared_statements "
    "WHERE custom_plans > generic_plans + 5"
)


@pytest.mark.slow
def test_only_the_first_batches_cause_query_plans_to_be_made(database: Database) -> None:
    session = session_on(database.url)
    session.carry_out([c.CreateQueue(**WHO)])
    for count in (1, 1, 1000, *[1] * 8):
        go_through(session, count)
    found = session.run(lambda connection: connection.execute(_MADE_AGAIN).fetchall())
    assert found == []
    session.close()
