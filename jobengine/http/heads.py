"""
Heads of requests that are as nearly all are, read in one go.

Twisted reads a head line by line, with a dozen calls for each. What is read here is the plain case alone; of anything
else it is said that it is not plain, and it is Twisted's to read or to refuse.
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

from msgspec import Struct

__all__ = ["Head", "origin_form", "plain_head"]

#: RFC 9110, 5.6.2: what the name of a header is made of.
_TOKEN: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
#: A request line that is read here: a method in capitals, and a path with no bytes in it but printable ASCII.
_LINE: Final = re.compile(rb"([A-Z]+) (/[!-~]*) HTTP/1\.1")
#: Headers that say how the rest is to be read or sent, or ask for something before it, or are read by Twisted.
_NOT_PLAIN: Final = frozenset({b"transfer-encoding", b"expect", b"upgrade", b"cookie"})
#: Digits of a Content-Length that is read here; no body may be that long.
_DIGITS: Final = 12


#: The part of a request line that a target in absolute form (RFC 9112, 3.2.2) has before its path.
_ABSOLUTE: Final = re.compile(rb"([^ ]+ )https?://[^ /?#]+", re.IGNORECASE)


class Head(Struct, frozen=True, gc=False):
    """A request line and headers; see `plain_head`."""

    method: bytes
    uri: bytes
    #: The values of each header in their order, with nothing around them, by its name in lower case.
    headers: Mapping[bytes, Sequence[bytes]]
    #: How many headers there are.
    count: int
    #: Bytes of the head itself, to where the body begins.
    end: int
    #: Bytes of the body.
    length: int

    def __repr__(self) -> str:
        # There may be secrets in the others.
        return f"Head(count={self.count}, end={self.end}, length={self.length})"


def origin_form(line: bytes) -> bytes:
    """A request line with its target in origin form: the server answers to any name, so which was asked is dropped."""
    found = _ABSOLUTE.match(line)
    if found is None:
        return line
    rest = line[found.end() :]
    return found[1] + (rest if rest.startswith(b"/") else b"/" + rest)


def plain_head(data: bytes, limit: int) -> Head | None:
    """
    The head that the data begin with; None if it is not plain, is longer than the limit, or not whole yet.

    Plain is: a path and HTTP/1.1 in the request line; all lines end in CRLF, with no CR, LF or NUL in them; each header
    has a token for its name, at once followed by a colon; there is at most one Content-Length, all digits; nothing else
    says how to read the rest.
    """
    end = data.find(b"\r\n\r\n", 0, limit)
    if end < 0:
        return None
    head = data[:end]
    first, *lines = head.split(b"\r\n")
    line = _LINE.fullmatch(first)
    if line is None or len(head.translate(None, b"\x00\r\n")) != len(head) - 2 * len(lines):
        return None
    headers: dict[bytes, list[bytes]] = {}
    for each in lines:
        raw, colon, value = each.partition(b":")
        name = _plain_name(raw)
        if name is None or not colon:
            return None
        headers.setdefault(name, []).append(value.strip(b" \t"))
    length = _length(headers.get(b"content-length"))
    return None if length is None else Head(line[1], line[2], headers, len(lines), end + 4, length)


def _length(values: list[bytes] | None) -> int | None:
    """What the values of Content-Length say, or None if it is not plain."""
    if values is None:
        return 0
    plain = len(values) == 1 and values[0].isdigit() and len(values[0]) <= _DIGITS
    return int(values[0]) if plain else None


@lru_cache(maxsize=1_000)
def _plain_name(raw: bytes) -> bytes | None:
    """The name of a header in lower case, or None if that header is not plain."""
    name = raw.lower()
    return name if _TOKEN.fullmatch(raw) and name not in _NOT_PLAIN else None
