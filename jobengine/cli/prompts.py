"""Reads the key for a queue from a file or standard input, or makes a key; prompts for confirmations."""

import secrets
import sys
from pathlib import Path

import click

from jobengine.client import BadSettings, Secret
from jobengine.client.settings import read_key_file
from jobengine.daemon.secret_file import SHORT

from .session import current

#: The option for a key: other users could see a key that is an argument.
KEY_FILE = click.option(
    "--key-file",
    metavar="FILE",
    help="Read the key from this file; - is standard input. By default a new key is generated.",
)
#: The most bytes of a key; a longer key would not fit in a header.
_LONGEST = 1 << 16


def key_from(path: str | None) -> tuple[Secret, bool]:
    """The key, and whether this function generated it; warns about a short key. Raises BadSettings."""
    if path is None:
        return Secret(secrets.token_urlsafe(32)), True
    key = _from_standard_input() if path == "-" else read_key_file(Path(path))
    if (length := len(key.reveal())) < SHORT:
        characters = "1 character" if length == 1 else f"{length} characters"
        current().output.note(
            f"Warning: the key has only {characters} and can be guessed; use {SHORT} or more, or let this "
            "command make one."
        )
    return key, False


def _from_standard_input() -> Secret:
    try:
        return Secret(sys.stdin.buffer.read(_LONGEST).decode().removesuffix("\n").removesuffix("\r"))
    except UnicodeDecodeError:
        raise BadSettings("The key on standard input is not UTF-8.") from None


def confirm(question: str, *, yes: bool) -> None:
    """Prompt for a confirmation, unless `yes`. End the command if the user declines, or if there is no terminal."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError(f"{question} There is no terminal for a confirmation: add --yes.")
    if not click.confirm(question, err=True):
        raise click.exceptions.Exit(1)
