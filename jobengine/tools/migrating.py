"""Brings the schema of a PostgreSQL up to date."""

import os
from collections.abc import Mapping

from ..daemon.secret_file import BadSecret, secret_from
from ..storage.errors import StorageError
from ..storage.frames import Kdf
from .secret import find_set_secret

__all__ = ["migrate"]


def migrate(environment: Mapping[str, str] = os.environ) -> tuple[int, int]:
    """
    Bring it up to date; returns the version that it had, 0 for none, and the one that it has.

    Raises BadSecret for settings that are missing or malformed, WrongSecret, and other StorageErrors.
    """
    url = secret_from("DATABASE_URL", environment)
    if url is None:
        raise BadSecret("DATABASE_URL is not set: say which database, such as postgresql://jobengine@db/jobengine")
    secret = find_set_secret(environment)
    try:
        from ..engine.postgres import connection, schema
    except ImportError as error:
        raise StorageError(f"a driver is missing: pip install 'jobengine[postgres]' ({error})") from None
    try:
        made = connection.connected(os.fsdecode(url).strip())
    except connection.BadUrl as error:
        raise BadSecret(str(error)) from None
    with made as connected:
        return schema.migrate(connected, secret, Kdf()), schema.VERSION
