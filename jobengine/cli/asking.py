"""Asks before something is done that can't be undone."""

import sys

import click

__all__ = ["ask"]


def ask(question: str, *, yes: bool) -> None:
    """Return if the answer is yes; ends the command otherwise. `yes` is the answer of those who said it before."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError(f"{question} Nobody can be asked here: say --yes if so.")
    if not click.confirm(question, err=True):
        raise click.exceptions.Exit(1)
