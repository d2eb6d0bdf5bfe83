"""Checks values of bodies that are kept as JSON, and lists."""

from typing import Final

from msgspec import Raw

from .request_head import BadInput

#: The most bytes of `meta`.
META_LENGTH: Final = 4096


def bounded(raw: Raw, place: str, most: int) -> bytes:
    """A JSON value as bytes; raises BadInput if it has more than `most`."""
    text = bytes(raw)
    if len(text) > most:
        raise BadInput(f"{place} is longer than {most} bytes.")
    return text


def json_object(raw: Raw, place: str, most: int) -> bytes:
    """A JSON object as bytes; raises BadInput for another value, or if it has more than `most`."""
    text = bytes(raw)
    if not text.startswith(b"{") or len(text) > most:
        bounded(raw, place, most)
        raise BadInput(f"{place} must be a JSON object.")
    return text


def unique(tags: tuple[str, ...] | None) -> tuple[str, ...]:
    """The tags without repetitions."""
    return tuple(dict.fromkeys(tags)) if tags else ()
