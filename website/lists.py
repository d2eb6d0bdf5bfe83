"""
Converts lists for Python-Markdown, which wants each paragraph of an item indented by four spaces, and a blank line
after an item of several paragraphs. The pages follow CommonMark, where a paragraph is indented as far as the text of
its item.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final

_ITEM: Final = re.compile(r"([-*]|\d+\.) +(?=\S)")
_FENCE: Final = re.compile(r"(```+)")
_INDENT: Final = 4


def rewritten(markdown: str) -> str:
    """The same text with deeper indentation in lists."""
    return "\n".join(_lines(markdown.split("\n")))


def _lines(lines: Sequence[str]) -> Iterator[str]:
    at, fence = 0, ""
    while at < len(lines):
        found = _FENCE.match(lines[at])
        if found:
            fence = found[1] if not fence else "" if lines[at].startswith(fence) else fence
        item = None if fence or found else _ITEM.match(lines[at])
        if item is None:
            yield lines[at]
            at += 1
            continue
        width = item.end()
        end = _end(lines, at + 1, width)
        inside = [line[width:] if line.startswith(" " * width) else line.lstrip() for line in lines[at + 1 : end]]
        yield lines[at]
        yield from (f"{' ' * _INDENT}{line}" if line else "" for line in _lines(inside))
        if "" in inside:
            yield ""
        at = end


def _end(lines: Sequence[str], at: int, width: int) -> int:
    """The index after the last line that belongs to an item whose text begins at `width`."""
    while at < len(lines) and (not lines[at] or lines[at].startswith(" " * width)):
        at += 1
    while not lines[at - 1]:
        at -= 1
    return at
