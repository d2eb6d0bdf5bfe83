"""Brings the schema of a PostgreSQL up to date."""

import os
from collections.abc import Mapping

from ..storage.frames import Kdf
from .database_secret import find_set_secret
from .postgres import database, driver


def migrate(environment: Mapping[str, str] = os.environ) -> tuple[int, int]:
    """
    Bring it up to date; returns the version that it had, 0 for none, and the one that it has.

    Raises BadSecret for settings that are missing or malformed, WrongSecret, and other StorageErrors.
    """
    with database(environment) as connection, driver():
        from ..engine.postgres.database import schema

        return schema.migrate(connection, find_set_secret(environment), Kdf()), schema.VERSION
