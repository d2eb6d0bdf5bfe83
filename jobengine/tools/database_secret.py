"""Finds the SECRET of a database in the same places as the server."""

import os
from collections.abc import Mapping, Sequence

from ..daemon.hardening import forbid_dumps
from ..daemon.secret_file import BadSecret, BlankSecret, read_key_file, read_secret_file, secret_from, weakness
from ..storage.errors import WrongSecret
from ..storage.journal import check_beginning


def find_secret(*databases: str) -> bytes:
    """
    The SECRET from SECRET or SECRET_FILE, or from the key file of the first of `databases` that has one.

    Also forbids core dumps of this process. Raises BadSecret, WrongSecret if there is no SECRET, NotADatabase if the
    first of `databases` is another kind of file, and OSError.
    """
    secret = _find(databases)
    if secret is None:
        check_beginning(databases[0])
        raise _missing(
            databases, "set SECRET; for a copy of a database, set SECRET_FILE to the key file of the original"
        )
    return secret


def find_new_secret(database: str) -> bytes:
    """
    The SECRET for a new database, from the same sources as `find_secret`. Raises BadSecret, WrongSecret if there is no
    SECRET, and OSError.
    """
    secret = _find([database])
    if secret is None:
        raise _missing([database], f"set SECRET for the new database {database}")
    return secret


def _find(databases: Sequence[str]) -> bytes | None:
    forbid_dumps()
    secret = secret_from("SECRET", os.environ)
    if secret is not None:
        return secret
    key_file = next(filter(os.path.lexists, _key_files(databases)), None)
    return None if key_file is None else read_key_file(key_file)


def _missing(databases: Sequence[str], what_to_do: str) -> WrongSecret:
    return WrongSecret(f"no SECRET is set and there is no {' nor '.join(_key_files(databases))}; {what_to_do}")


def _key_files(databases: Sequence[str]) -> list[str]:
    return [path + ".key" for path in databases]


def find_set_secret(environment: Mapping[str, str]) -> bytes:
    """
    The SECRET from SECRET or SECRET_FILE, for a database that has no key file.

    Also forbids core dumps of this process. Raises BadSecret.
    """
    forbid_dumps()
    secret = secret_from("SECRET", environment)
    if secret is None:
        raise BadSecret("set SECRET or SECRET_FILE: a database in PostgreSQL has no key file beside it")
    return secret


def find_go_secret(database: str, file: str | None) -> bytes:
    """
    The SECRET of the Go version, from a file named by an option or from GO_SECRET.

    Raises BadSecret, and WrongSecret if there is none.
    """
    if file is not None:
        return read_new_secret(file)
    secret = secret_from("GO_SECRET", os.environ)
    if secret is None:
        raise WrongSecret(
            f"the SECRET of the Go version is missing; set GO_SECRET to the SECRET that encrypts {database}, or "
            "name a file with that SECRET by --go-secret-file"
        )
    return secret


def is_in_key_file() -> bool:
    """Whether the SECRET comes from a key file, not from the environment; raises BadSecret."""
    return secret_from("SECRET", os.environ) is None


def read_new_secret(path: str) -> bytes:
    """The secret in a file that an option names; raises BadSecret."""
    try:
        return read_secret_file(path)
    except BlankSecret as error:
        raise BadSecret(f"{path} {error}") from None
    except (OSError, ValueError) as error:
        raise BadSecret(f"{path} can't be read: {error}") from None


def warning_about(new_secret: bytes) -> str:
    """A warning if a new secret can be guessed, otherwise empty."""
    why = weakness(new_secret)
    return f"The new SECRET {why} and can be guessed." if why else ""
