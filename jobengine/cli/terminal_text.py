"""Texts for a terminal: server texts without control characters, counts and times."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any


def plain(text: str) -> str:
    """The text on one line; characters that can't be printed or would control a terminal are escaped."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text)


def plain_lines(text: str) -> str:
    """Like `plain`, but line ends are kept."""
    return "\n".join(map(plain, text.split("\n")))


def json_text(value: Any) -> str:
    """JSON on one line; in strings, characters that could control a terminal are escaped."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else json.dumps(one)[1:-1] for one in text)


def counted(number: int, noun: str) -> str:
    """A number of things: 1 job, or 3,000 jobs."""
    return f"1 {noun}" if number == 1 else f"{number:,} {noun}s"


def moment(time: datetime | None) -> str:
    """A time, in UTC."""
    return "" if time is None else time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def duration(span: timedelta | None) -> str:
    """A time span in one or two words: 0.2s, 42s, 5m 10s, 3h 5m, 2d 4h."""
    if span is None:
        return ""
    seconds = span.total_seconds()
    if seconds < 10:
        return f"{seconds:.1f}s"
    for name, size, part, part_size in (("d", 86400, "h", 3600), ("h", 3600, "m", 60), ("m", 60, "s", 1)):
        if seconds >= size:
            more = int(seconds % size // part_size)
            return f"{int(seconds // size)}{name}" + (f" {more}{part}" if more else "")
    return f"{int(seconds)}s"
