"""Files that hold a secret: the SECRET itself, the admin key, or the key file beside a database."""

from typing import Final

__all__ = ["BlankSecret", "is_blank", "read_secret_file"]

#: Bytes that a secret may have; what is longer is another file, or a device that never ends.
_MOST: Final = 64 << 10


class BlankSecret(ValueError):
    """The file holds no secret; str() completes "the file …"."""


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
    if is_blank(content):
        raise BlankSecret("holds nothing but white space")
    return content.removesuffix(b"\n")


def is_blank(secret: bytes) -> bool:
    """Whether there is nothing in it that could keep a secret: white space, or zeros as a power cut leaves them."""
    return not secret.strip(b"\0 \t\r\n\v\f")
