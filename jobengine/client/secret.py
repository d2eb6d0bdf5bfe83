"""Keys, kept out of whatever shows values."""

import re
from typing import Final

from .errors import BadSettings

__all__ = ["Secret", "as_secret", "secret"]

#: What a header can carry without loss: no control characters, no space at either end (RFC 9110, 5.5).
_HEADER_SAFE: Final = re.compile(r"[^\x00-\x20\x7f](?:[^\x00-\x1f\x7f]*[^\x00-\x20\x7f])?")


class Secret:
    """A key. Its repr does not show it, so a traceback with local variables, or a log of them, does not either."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        if not _HEADER_SAFE.fullmatch(text):
            raise BadSettings(
                "A key must not be empty, and must have no control characters and no space at its beginning or end."
            )
        self._text = text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        return "Secret('…')"

    def reveal(self) -> str:
        """The key itself; to be used at once, and kept in no variable."""
        return self._text


def as_secret(key: str | Secret) -> Secret:
    """A key that was given as text or as a Secret; raises BadSettings."""
    return Secret(key) if isinstance(key, str) else key


def secret(key: str | Secret | None) -> Secret | None:
    """
    The same for a key that may be left out.

    Give the value to the variable that it came from, so that the text is in no variable any more.
    """
    return None if key is None else as_secret(key)
