"""Names that a client got wrong, and what it may have meant."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Final

__all__ = ["meant", "shown"]

#: More of a name than this is neither shown nor compared: it comes from a client, and may be of any length.
_LONGEST: Final = 64
#: From here on two names are alike; "delay" and "delay_seconds" are, at 0.59.
_ALIKE: Final = 0.5


def shown(name: str) -> str:
    """A name, for an error text: in quotes, and not too long."""
    return repr(name if len(name) <= _LONGEST else name[:_LONGEST] + "…")


def meant(name: str, known: Iterable[str]) -> str:
    """A sentence for an error text: which known name is nearest to `name` or, if none is near, what is known."""
    by_letters = {_letters(each): each for each in known}
    if not by_letters:
        return "There are none here."
    nearest = get_close_matches(_letters(name[:_LONGEST]), by_letters, n=1, cutoff=_ALIKE)
    if nearest:
        return f"Did you mean {by_letters[nearest[0]]!r}?"
    return f"Known are {', '.join(sorted(by_letters.values()))}."


def _letters(name: str) -> str:
    """A name as it sounds: dryRun and dry_run are one."""
    return name.replace("_", "").replace("-", "").lower()
