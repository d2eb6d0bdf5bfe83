"""Makes text from a server safe to print: its control characters would move the cursor, or change the terminal."""

import json
from typing import Any


def plain(text: str) -> str:
    """The text on one line, with escapes for characters that can't be printed or would control a terminal."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text)


def plain_lines(text: str) -> str:
    """As `plain`, but with its line ends."""
    return "\n".join(map(plain, text.split("\n")))


def json_text(value: Any) -> str:
    """JSON on one line; what a terminal might not print as it is, is escaped in strings."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else json.dumps(one)[1:-1] for one in text)
