"""Corrects the counts of jobs in a PostgreSQL."""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from .database_secret import find_set_secret
from .postgres import database, driver
from .source import Progress, no_progress

if TYPE_CHECKING:
    from ..engine.postgres.recount import Recount


def recount_database(progress: Progress = no_progress, *, environment: Mapping[str, str] = os.environ) -> "Recount":
    """
    Count the jobs of all queues, and correct wrong counts; servers may work meanwhile. `progress` counts jobs.

    Raises BadSecret for settings that are missing or malformed, WrongSecret, and other StorageErrors.
    """
    with database(environment) as connection, driver():
        from ..engine.postgres import recount
        from ..engine.postgres.database import rows, schema

        return recount.recount(connection, rows.Rows(schema.opened(connection, find_set_secret(environment))), progress)
