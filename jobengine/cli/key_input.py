"""Keys that are given to a queue: from a file, from standard input, or a new one. Never an argument."""

import secrets
import sys
from pathlib import Path

import click

from jobengine.client import BadSettings, Secret
from jobengine.client.settings import read_key_file

__all__ = ["KEY_FILE", "key_from"]

KEY_FILE = click.option(
    "--key-file", metavar="FILE", help="Take the key from this file, or with - from standard input; otherwise make one."
)
#: The longest key that is read, in bytes: longer ones fit in no header.
_LONGEST = 1 << 16


def key_from(path: str | None) -> tuple[Secret, bool]:
    """The key, and whether it is a new one; raises BadSettings."""
    if path is None:
        return Secret(secrets.token_urlsafe(32)), True
    if path != "-":
        return read_key_file(Path(path)), False
    try:
        return Secret(sys.stdin.buffer.read(_LONGEST).decode().removesuffix("\n").removesuffix("\r")), False
    except UnicodeDecodeError:
        raise BadSettings("The key on standard input is not UTF-8.") from None
