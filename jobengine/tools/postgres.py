"""
Opens the PostgreSQL database of DATABASE_URL, updates its schema, and corrects its job counts. The driver is only
loaded if DATABASE_URL is set.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..daemon.secret_file import BadSecret, secret_from
from ..storage.errors import INSTALL_DRIVER, BadUrl, StorageError
from ..storage.frames import Kdf
from .database_secret import find_set_secret
from .source import Progress, no_progress

if TYPE_CHECKING:
    from psycopg import Connection

    from ..engine.postgres.database.pipeline import Row
    from ..engine.postgres.recount import Recount


def is_set(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether DATABASE_URL or DATABASE_URL_FILE is set."""
    return bool(environment.get("DATABASE_URL") or environment.get("DATABASE_URL_FILE"))


@contextmanager
def driver() -> Iterator[None]:
    """A context for imports of the driver: raises StorageError instead of ImportError if no driver is installed."""
    try:
        yield
    except ImportError as error:
        raise StorageError(f"a driver is missing: {INSTALL_DRIVER} ({error})") from None


@contextmanager
def database(environment: Mapping[str, str]) -> Iterator["Connection[Row]"]:
    """
    A connection to the database of DATABASE_URL or DATABASE_URL_FILE. Raises BadSecret if the URL is missing or
    malformed. Raises StorageError if there is no driver, no connection or no permission, or if the connection is lost.
    """
    url = secret_from("DATABASE_URL", environment)
    if url is None:
        raise BadSecret("DATABASE_URL is not set: set it to the database, such as postgresql://jobengine@db/jobengine")
    with driver():
        from ..engine.postgres.database import connection
    try:
        made = connection.connected(os.fsdecode(url).strip())
    except BadUrl as error:
        raise BadSecret(str(error)) from None
    with connection.storage_failures(), made:
        yield made


def migrate(environment: Mapping[str, str] = os.environ) -> tuple[int, int]:
    """
    Bring the schema up to date; returns its former version, 0 for none, and the present one.

    Raises BadSecret for missing or malformed settings, WrongSecret, and other StorageErrors.
    """
    with database(environment) as connection, driver():
        from ..engine.postgres.database import schema

        return schema.migrate(connection, find_set_secret(environment), Kdf()), schema.VERSION


def recount_database(progress: Progress = no_progress, *, environment: Mapping[str, str] = os.environ) -> "Recount":
    """
    Count the jobs of all queues, and correct wrong counts; servers may work meanwhile. `progress` counts jobs.

    Raises BadSecret for settings that are missing or malformed, WrongSecret, and other StorageErrors.
    """
    with database(environment) as connection, driver():
        from ..engine.postgres import recount
        from ..engine.postgres.database import rows, schema

        return recount.recount(connection, rows.Rows(schema.opened(connection, find_set_secret(environment))), progress)
