"""Checks values of bodies: JSON that is stored, times and lists."""

from typing import Final

from msgspec import Raw

from .request_head import BadInput
from .time_text import time_text

#: The most bytes of `meta`.
META_LENGTH: Final = 4096
#: A Unix second of September 2001. A smaller number is taken for a span of time that was sent by mistake.
_FIRST_TIME: Final = 1_000_000_000
#: Advice for a client whose data are too long for a job.
ELSEWHERE: Final = "keep the data elsewhere, and send their address."


def bounded(raw: Raw, place: str, most: int) -> bytes:
    """A JSON value as bytes; raises BadInput if there are more than `most`."""
    text = bytes(raw)
    if len(text) > most:
        raise BadInput(f"{place} is longer than {most} bytes; {ELSEWHERE}")
    return text


def json_object(raw: Raw, place: str, most: int) -> bytes:
    """A JSON object as bytes; raises BadInput for another value, or if there are more than `most` bytes."""
    text = bytes(raw)
    if not text.startswith(b"{") or len(text) > most:
        bounded(raw, place, most)
        raise BadInput(f"{place} must be a JSON object.")
    return text


def unix_time(seconds: int, place: str) -> int:
    """A time in Unix seconds; raises BadInput for one so small that a span of time must have been meant."""
    if seconds < _FIRST_TIME:
        raise BadInput(
            f"{place} must be a time in Unix seconds; {seconds} is {time_text(seconds)}. For a span of time, send the "
            "present time plus the span."
        )
    return seconds


def unique(tags: tuple[str, ...] | None) -> tuple[str, ...]:
    """The tags without repetitions."""
    return tuple(dict.fromkeys(tags)) if tags else ()
