"""The SECRET of a database, found as the server finds it."""

import os
from collections.abc import Mapping

from ..daemon.secret_file import read_key_file, secret_from
from ..storage.errors import WrongSecret

__all__ = ["find_secret"]


def find_secret(*databases: str, environment: Mapping[str, str] = os.environ) -> bytes:
    """
    The SECRET from SECRET or SECRET_FILE, or else from the key file beside the first of `databases` that has one.

    Raises BadSecret, WrongSecret if there is none, and OSError.
    """
    secret = secret_from("SECRET", environment)
    if secret is not None:
        return secret
    key_files = [path + ".key" for path in databases]
    for key_file in key_files:
        if os.path.lexists(key_file):
            return read_key_file(key_file)
    raise WrongSecret(
        f"no SECRET is set and there is no {' nor '.join(key_files)}; set the SECRET that {databases[0]} was made with"
    )
