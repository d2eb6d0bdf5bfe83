"""Keys that don't appear in logs and tracebacks."""

import re
from typing import Final

from .errors import BadSettings

#: Texts that a header carries unchanged: no control characters, no space at either end (RFC 9110, 5.5).
_HEADER_SAFE: Final = re.compile(r"[^\x00-\x20\x7f](?:[^\x00-\x1f\x7f]*[^\x00-\x20\x7f])?")


class Secret:
    """A key. Its repr hides it, also in tracebacks that show local variables."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        if not isinstance(text, str):
            how = "; decode it first, as by key.decode()" if isinstance(text, bytes) else ""
            raise TypeError(f"A key must be a str, not {type(text).__name__}{how}.")
        if not _HEADER_SAFE.fullmatch(text):
            raise BadSettings(
                "A key must not begin or end with a space, or have control characters such as a line end."
                if text
                else "A key must not be empty."
            )
        self._text = text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        return "Secret('…')"

    def reveal(self) -> str:
        """The key as text. Use it at once, and keep it in no variable."""
        return self._text


def as_secret(key: str | Secret) -> Secret:
    """A key given as text or as a Secret; raises BadSettings, and TypeError for anything else."""
    return key if isinstance(key, Secret) else Secret(key)


def secret(key: str | Secret | None) -> Secret | None:
    """
    Like `as_secret`, for an optional key. Assign the result to the variable that held the text, so that the plain text
    is in no variable any more.
    """
    return None if key is None else as_secret(key)
