"""Opens the PostgreSQL that the environment names. Without one, no driver is needed, and none is loaded."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..daemon.secret_file import BadSecret, secret_from
from ..storage.errors import StorageError

if TYPE_CHECKING:
    from psycopg import Connection

    from ..engine.postgres.database.connection import Row


def is_set(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether a database is named."""
    return bool(environment.get("DATABASE_URL") or environment.get("DATABASE_URL_FILE"))


@contextmanager
def driver() -> Iterator[None]:
    """For imports of the engine; raises StorageError without a driver."""
    try:
        yield
    except ImportError as error:
        raise StorageError(f"a driver is missing: pip install 'jobengine[postgres]' ({error})") from None


@contextmanager
def database(environment: Mapping[str, str]) -> Iterator["Connection[Row]"]:
    """
    A connection to the database that DATABASE_URL or DATABASE_URL_FILE names.

    Raises BadSecret if it is missing or malformed, and StorageError without a driver, a connection or a right, and if
    the database ends the connection.
    """
    url = secret_from("DATABASE_URL", environment)
    if url is None:
        raise BadSecret("DATABASE_URL is not set: say which database, such as postgresql://jobengine@db/jobengine")
    with driver():
        from ..engine.postgres.database import connection
    try:
        made = connection.connected(os.fsdecode(url).strip())
    except connection.BadUrl as error:
        raise BadSecret(str(error)) from None
    with connection.failures_told(), made:
        yield made
