"""Reads the key for a queue from a file or standard input, or makes one. A key is never an argument."""

import secrets
import sys
from pathlib import Path

import click

from jobengine.client import BadSettings, Secret
from jobengine.client.settings import read_key_file

__all__ = ["KEY_FILE", "key_from"]

KEY_FILE = click.option(
    "--key-file", metavar="FILE", help="Read the key from this file; - is standard input. By default one is made."
)
#: The most bytes of a key: a longer one fits in no header.
_LONGEST = 1 << 16


def key_from(path: str | None) -> tuple[Secret, bool]:
    """The key, and whether it was made here; raises BadSettings."""
    if path is None:
        return Secret(secrets.token_urlsafe(32)), True
    if path != "-":
        return read_key_file(Path(path)), False
    try:
        return Secret(sys.stdin.buffer.read(_LONGEST).decode().removesuffix("\n").removesuffix("\r")), False
    except UnicodeDecodeError:
        raise BadSettings("The key on standard input is not UTF-8.") from None
