"""What commands print: tables for a terminal, lines with tabs for a pipe, JSON for a script; messages apart from it."""

import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Protocol, TypeVar

import click

from .columns import Column, plain, rows_of

__all__ = ["Output", "json_text"]

T = TypeVar("T", bound="Shown")

#: Rows that are laid out together: the first ones of a long list are seen while others are read.
_ROWS = 500


def json_text(value: Any) -> str:
    """JSON in one line."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


class Shown(Protocol):
    """What can be printed."""

    @property
    def raw(self) -> Any:
        """As JSON."""
        ...


class Output:
    """Where one command prints."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json

    @property
    def at_terminal(self) -> bool:
        """Whether somebody looks at a terminal."""
        return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"

    def note(self, message: str) -> None:
        """A message for a person, on standard error."""
        click.echo(message, err=True)

    def value(self, text: str, **more: Any) -> None:
        """What was asked for, alone in a line; with --json the object of `more`."""
        click.echo(json_text(more) if self.as_json else text)

    def json(self, value: Any) -> None:
        """JSON in one line."""
        click.echo(json_text(value))

    def list(self, columns: Sequence[Column[T]], items: Iterable[T]) -> None:
        """Many of a kind."""
        if self.as_json:
            for item in items:
                self.json(item.raw)
        elif self.at_terminal:
            from .layout import table_of  # for a terminal only

            console = _console()
            for some in _portions(items):
                console.print(table_of(columns, some, console.width))
        else:
            for item in items:
                click.echo("\t".join(plain(column.of(item)) for column in columns))

    def record(self, raw: Any) -> None:
        """One object of the server."""
        if self.as_json:
            self.json(raw)
        elif self.at_terminal:
            from .layout import grid_of  # for a terminal only

            _console().print(grid_of(list(rows_of(raw))))
        else:
            for name, value in rows_of(raw):
                click.echo(f"{name}\t{value}")


def _console() -> Any:
    from rich.console import Console  # for a terminal only

    return Console(file=sys.stdout, highlight=False)


def _portions(items: Iterable[T]) -> Iterator[list[T]]:
    rest = iter(items)
    while some := list(islice(rest, _ROWS)):
        yield some
