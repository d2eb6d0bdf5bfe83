"""Texts for tables in Markdown."""

import re


def cell(markdown: str) -> str:
    """Markdown on one line, for a table cell. Pipes are escaped, except in code, where mkdocs needs no escape."""
    return _outside_code(" ".join(str(markdown).split()), r"\|")


def escaped(text: str) -> str:
    """Plain text as Markdown: all but the code between backquotes is escaped."""
    return _outside_code(text, r"[*_<>\[\]]")


def _outside_code(text: str, characters: str) -> str:
    parts = text.split("`")
    parts[::2] = [re.sub(characters, _escape, part) for part in parts[::2]]
    return "`".join(parts)


def _escape(character: re.Match[str]) -> str:
    """The character, escaped by a backslash; `<` in another way, as Python-Markdown knows no backslash before it."""
    return "&lt;" if character[0] == "<" else f"\\{character[0]}"
