"""Asks before something is done that can't be undone."""

import sys

import click


def ask(question: str, *, yes: bool) -> None:
    """Return if the answer is yes, or if `yes` says so already; otherwise end the command."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError(f"{question} There is no terminal to ask at: add --yes.")
    if not click.confirm(question, err=True):
        raise click.exceptions.Exit(1)
