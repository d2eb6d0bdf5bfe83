"""Where secrets come from: the environment, a file it names, or the key file beside a database."""

import os
from collections.abc import Mapping
from typing import Final

from ..storage.errors import WrongSecret

__all__ = ["BadSecret", "BlankSecret", "read_key_file", "read_secret_file", "secret_from"]

#: Bytes that a secret may have; what is longer is another file, or a device that never ends.
_MOST: Final = 64 << 10


class BlankSecret(ValueError):
    """The file holds no secret; str() completes "the file …"."""


class BadSecret(ValueError):
    """What was set as a secret can't be used; str() is a sentence that names the variable."""


def secret_from(variable: str, environment: Mapping[str, str], file: str | None = None) -> bytes | None:
    """
    The secret in `file`, in the file that `variable`_FILE names, or in `variable`; None if there is none of them.

    Raises BadSecret.
    """
    value, path = environment.get(variable), environment.get(f"{variable}_FILE")
    if file is not None:
        return _read_named(variable, file)
    if value and path:
        raise BadSecret(f"{variable} and {variable}_FILE are both set; keep one of them")
    if path:
        return _read_named(variable, path)
    # Byte for byte as it was set, which need not be UTF-8.
    secret = os.fsencode(value) if value else None
    if secret is not None and _is_blank(secret):
        raise BadSecret(f"{variable} holds nothing but white space")
    return secret


def _read_named(variable: str, path: str) -> bytes:
    try:
        return read_secret_file(path)
    except BlankSecret as error:
        raise BadSecret(f"{variable}_FILE {path!r} {error}") from None
    except (OSError, ValueError) as error:  # a path with a NUL in it is no path
        raise BadSecret(f"{variable}_FILE can't be read: {error}") from None


def read_key_file(path: str) -> bytes:
    """The SECRET in a key file that was made beside a database; raises WrongSecret if it holds none, and OSError."""
    try:
        return read_secret_file(path)
    except BlankSecret as error:
        raise WrongSecret(
            f"the key file {path} {error}; put back the copy that was kept of it, or set the SECRET. If there is no "
            "database yet, remove it and start again: another one is made"
        ) from None


def read_secret_file(path: str) -> bytes:
    """
    The secret in a file, without one newline at its end.

    Raises BlankSecret if there is nothing in it but white space or more than a secret can be, and OSError, or
    ValueError for a path that can be none.
    """
    with open(path, "rb") as file:
        content = file.read(_MOST + 1)
    if len(content) > _MOST:
        raise BlankSecret(f"is longer than {_MOST} bytes, so it holds no secret")
    if not content:
        raise BlankSecret("is empty")
    if _is_blank(content):
        raise BlankSecret("holds nothing but white space")
    return content.removesuffix(b"\n")


def _is_blank(secret: bytes) -> bool:
    """Whether there is nothing in it that could keep a secret: white space, or zeros as a power cut leaves them."""
    return not secret.strip(b"\0 \t\r\n\v\f")
