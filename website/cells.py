"""Texts for tables in Markdown."""

import re


def cell(markdown: str) -> str:
    """Markdown in one line, whose pipes do not end the cell: mkdocs wants them escaped outside code only."""
    return _outside_code(" ".join(str(markdown).split()), r"\|")


def escaped(text: str) -> str:
    """Plain text, in which only pieces of code between backquotes are Markdown."""
    return _outside_code(text, r"[*_<>\[\]]")


def _outside_code(text: str, characters: str) -> str:
    parts = text.split("`")
    parts[::2] = [re.sub(characters, _escape, part) for part in parts[::2]]
    return "`".join(parts)


def _escape(character: re.Match[str]) -> str:
    """A backslash before it; but Python-Markdown knows none before `<`."""
    return "&lt;" if character[0] == "<" else f"\\{character[0]}"
