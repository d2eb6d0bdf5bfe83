"""Reads secrets: from environment variables, from files that these name, or from the key file beside a database."""

import os
from collections.abc import Mapping
from typing import Final

from ..storage.errors import WrongSecret

#: A secret or a key with fewer characters gets a warning.
SHORT: Final = 16
#: The most bytes of a secret: a longer file is the wrong one, or an endless device.
_MOST: Final = 64 << 10


class BlankSecret(ValueError):
    """The file has no secret; str() completes "the file …"."""


class BadSecret(ValueError):
    """The setting of a secret is invalid; str() is a sentence that names the variable."""


def secret_from(variable: str, environment: Mapping[str, str], file: str | None = None) -> bytes | None:
    """
    The secret from `file`, from the file named by the variable `variable`_FILE, or from `variable`; None if all are
    unset. Raises BadSecret.
    """
    value, path = environment.get(variable), environment.get(f"{variable}_FILE")
    if file is not None:
        return _read_named(variable, file)
    if value and path:
        raise BadSecret(f"{variable} and {variable}_FILE are both set; keep only one")
    if path:
        return _read_named(variable, path)
    # The exact bytes of the variable, which may not be UTF-8.
    secret = os.fsencode(value) if value else None
    if secret is not None and _is_blank(secret):
        raise BadSecret(f"{variable} is only white space")
    return secret


def weakness(secret: bytes | None) -> str:
    """Why a secret can be guessed, as in "has fewer than 16 characters"; empty for a strong secret and for None."""
    characters = "" if secret is None else secret.decode(errors="surrogateescape")
    if 0 < len(characters) < SHORT:
        return f"has fewer than {SHORT} characters"
    return "is one repeated character" if len(set(characters)) == 1 else ""


def _read_named(variable: str, path: str) -> bytes:
    try:
        return read_secret_file(path)
    except BlankSecret as error:
        raise BadSecret(f"{variable}_FILE {path!r} {error}") from None
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL in it
        raise BadSecret(f"{variable}_FILE can't be read: {error}") from None


def read_key_file(path: str) -> bytes:
    """The SECRET in the key file beside a database; raises WrongSecret if the file has none, and OSError."""
    try:
        return read_secret_file(path)
    except BlankSecret as error:
        raise WrongSecret(
            f"the key file {path} {error}; restore your copy of it, or set the SECRET. If there is no "
            "database yet, remove the file and start again: the server makes a new one"
        ) from None


def read_secret_file(path: str) -> bytes:
    """
    The secret in a file, without one newline at its end.

    Raises BlankSecret if the file has only white space or is too long for a secret. Raises OSError, or ValueError
    for an invalid path.
    """
    with open(path, "rb") as file:
        content = file.read(_MOST + 1)
    if len(content) > _MOST:
        raise BlankSecret(f"is longer than {_MOST} bytes, too long for a secret")
    if not content:
        raise BlankSecret("is empty")
    if _is_blank(content):
        raise BlankSecret("is only white space")
    return content.removesuffix(b"\n")


def _is_blank(secret: bytes) -> bool:
    """Whether a secret is only white space, or zeros, which a power cut may leave."""
    return not secret.strip(b"\0 \t\r\n\v\f")
