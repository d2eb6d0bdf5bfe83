"""Parses server-sent events (HTML Standard, 9.2) from bytes as they arrive."""

from typing import NamedTuple


class SentEvent(NamedTuple):
    """One event of a stream; without data, only the id after which the next event comes."""

    kind: str
    id: str
    data: str


class EventParser:
    """Takes bytes and returns complete events."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[SentEvent]:
        """The events that these bytes complete."""
        blocks = (self._rest + data).replace(b"\r\n", b"\n").split(b"\n\n")
        self._rest = blocks.pop()
        return [event for block in blocks if (event := _event(block.decode("utf-8", "replace"))) is not None]


def _event(block: str) -> SentEvent | None:
    """The event or id in some lines, or None for a comment."""
    fields: dict[str, list[str]] = {}
    for line in block.split("\n"):
        name, _, value = line.partition(":")
        if name:
            fields.setdefault(name, []).append(value.removeprefix(" "))
    if "data" not in fields and "id" not in fields:
        return None
    return SentEvent(
        (fields.get("event") or ["message"])[-1], (fields.get("id") or [""])[-1], "\n".join(fields.get("data", ()))
    )
