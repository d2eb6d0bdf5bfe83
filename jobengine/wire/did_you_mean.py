"""Suggestions for misspelt names."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Final

#: The most characters of a name that are shown and compared: clients may send names of any length.
_LONGEST: Final = 64
#: The least similarity for a suggestion (see difflib); "delay" and "delay_seconds" have 0.59.
_ALIKE: Final = 0.5


def quoted(name: str) -> str:
    """A name in quotes for an error text, shortened if it is long."""
    return repr(name if len(name) <= _LONGEST else name[:_LONGEST] + "…")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """
    A sentence for an error text, with the known name most similar to `name` or, if none is similar,
    all known names.
    """
    by_letters = {_letters(each): each for each in known}
    if not by_letters:
        return "It accepts no parameters."
    nearest = get_close_matches(_letters(name[:_LONGEST]), by_letters, n=1, cutoff=_ALIKE)
    if nearest:
        return f"Did you mean {by_letters[nearest[0]]!r}?"
    return f"Known are {', '.join(sorted(by_letters.values()))}."


def _letters(name: str) -> str:
    """A name in lower case without separators, so that dryRun equals dry_run."""
    return name.replace("_", "").replace("-", "").lower()
