"""Prints tables to a terminal, lines with tabs to a pipe, or JSON; messages go to standard error."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any, Protocol, TypeVar

import click

from .columns import Column, rows_of
from .terminal_text import json_text, plain, plain_lines

T = TypeVar("T", bound="Shown")

#: A table is laid out and printed in portions of this many rows, so that the first rows of a long list appear early.
_ROWS = 500


class Shown(Protocol):
    """A value that can be printed."""

    @property
    def raw(self) -> Any:
        """The value as JSON data."""
        ...


class Output:
    """The outputs of one command."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json

    @property
    def at_terminal(self) -> bool:
        """Whether standard output is a terminal."""
        return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"

    def note(self, message: str) -> None:
        """Print a message for a person, on standard error."""
        click.echo(plain_lines(message), err=True)

    def value(self, text: str, **more: Any) -> None:
        """Print `text` on a line of its own or, with --json, `more` as an object."""
        click.echo(json_text(more) if self.as_json else plain(text))

    def json(self, value: Any) -> None:
        """Print JSON on one line."""
        click.echo(json_text(value))

    def list(self, columns: Sequence[Column[T]], items: Iterable[T]) -> None:
        """Print a list."""
        if self.as_json:
            for item in items:
                self.json(item.raw)
        elif self.at_terminal:
            from .layout import table_of  # only for a terminal

            console = _console()
            for some in _portions(items):
                console.print(table_of(columns, some, console.width))
        else:
            for item in items:
                click.echo("\t".join(plain(column.of(item)) for column in columns))

    def first(
        self, columns: Sequence[Column[T]], read: Callable[..., Iterable[T]], limit: int | None, otherwise: str = ""
    ) -> None:
        """
        Print the first `limit` items, or all if it is None.

        A note says if there are more items: one more than `limit` is read. `otherwise` is the note for an empty list.
        """
        if limit is None:
            self.list(columns, read())
            return
        rest = iter(read(limit=limit + 1))
        head = list(islice(rest, 1))
        self.list(columns, chain(head, islice(rest, limit - 1)))
        if next(rest, None) is not None:
            self.note(f"There are more than {limit}: a greater --limit or --all shows them.")
        elif not head and otherwise:
            self.note(otherwise)

    def record(self, raw: Any) -> None:
        """Print an object from the server."""
        if self.as_json:
            self.json(raw)
        else:
            self.rows(list(rows_of(raw, plain_lines if self.at_terminal else plain)))

    def rows(self, rows: Sequence[tuple[str, str]]) -> None:
        """Print names and values, without control characters."""
        if self.at_terminal:
            from .layout import grid_of  # only for a terminal

            _console().print(grid_of(rows))
        else:
            for name, value in rows:
                click.echo(f"{name}\t{value}")

    def lines(self, lines: Sequence[Sequence[tuple[str, str]]]) -> None:
        """Print lines at a terminal, each of texts with their styles."""
        from .layout import line_of  # only for a terminal

        console = _console()
        for line in lines:
            console.print(line_of(line), soft_wrap=True)


def _console() -> Any:
    from rich.console import Console  # only for a terminal

    return Console(file=sys.stdout, highlight=False)


def _portions(items: Iterable[T]) -> Iterator[list[T]]:
    rest = iter(items)
    while some := list(islice(rest, _ROWS)):
        yield some
