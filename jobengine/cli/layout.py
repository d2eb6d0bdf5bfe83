"""Tables for a terminal. It is imported only at a terminal, because rich is slow to load."""

from collections.abc import Sequence
from typing import Any, Final, TypeVar

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from .columns import Column
from .terminal_text import plain

T = TypeVar("T")

#: The most characters of a cell.
_SHOWN: Final = 400
#: Spaces between columns.
_GAP: Final = 2


def table_of(columns: Sequence[Column[T]], items: Sequence[T], width: int) -> Table:
    """A table with a row for each item. Optional columns are left out first, so that no number is cut."""
    columns = _in_order(columns)
    texts = {column: [plain(column.of(item))[:_SHOWN] for item in items] for column in columns}
    widths = _widths({column: texts[column] for column in columns if any(texts[column])}, width)
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold")
    for column, wide in widths.items():
        table.add_column(column.heading, justify="right" if column.number else "left", width=wide, no_wrap=True)
    for number in range(len(items)):
        table.add_row(*[_cell(column, texts[column][number]) for column in widths])
    return table


def _in_order(columns: Sequence[Column[T]]) -> list[Column[T]]:
    """The columns in their order at a terminal."""
    ordered = [column for column in columns if not column.shown_after]
    for column in columns:
        if column.shown_after:
            headings = [one.heading for one in ordered]
            ordered.insert(headings.index(column.shown_after) + 1, column)
    return ordered


def _cell(column: Column[Any], text: str) -> Text:
    return Text(text, style=column.style(text), no_wrap=True, overflow="ellipsis")


def _widths(texts: dict[Column[Any], list[str]], width: int) -> dict[Column[Any], int]:
    """The columns that fit into the terminal, with their widths."""
    longest = {column: max(cell_len(text) for text in [column.heading, *texts[column]]) for column in texts}
    needed = {column: min(wide, column.least) if column.cut else wide for column, wide in longest.items()}
    while needed and _total(needed) > width:
        spare = max(needed, key=lambda column: column.spare)
        if not spare.spare:
            break
        del needed[spare]
    for column in sorted(needed, key=lambda column: not column.first_to_grow):
        needed[column] += max(min(longest[column] - needed[column], width - _total(needed)), 0)
    return needed


def _total(widths: dict[Column[Any], int]) -> int:
    return sum(widths.values()) + _GAP * (len(widths) - 1)


def line_of(parts: Sequence[tuple[str, str]]) -> Text:
    """A line of texts with their styles."""
    return Text.assemble(*parts)


def grid_of(rows: Sequence[tuple[str, str]]) -> Table:
    """A table of names and values."""
    table = Table.grid(padding=(0, 2))
    for name, value in rows:
        table.add_row(Text(name, style="bold"), Text(value))
    return table
