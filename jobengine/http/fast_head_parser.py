"""
Parses plain request heads in one go; nearly all heads are plain.

Twisted parses a head line by line, with a dozen calls for each line; benchmarks/lab-book.md has the cost. Twisted still
parses, or refuses, all heads that are not plain.
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

from msgspec import Struct

#: A header name (RFC 9110, 5.6.2).
_TOKEN: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
#: A plain request line: a method in capitals, and a path of printable ASCII.
_LINE: Final = re.compile(rb"([A-Z]+) (/[!-~]*) HTTP/1\.1")
#: Headers that change how the request is read or answered, or that Twisted parses itself.
_NOT_PLAIN: Final = frozenset({b"transfer-encoding", b"expect", b"upgrade", b"cookie"})
#: The most digits of a plain Content-Length; no body may be that long.
_DIGITS: Final = 12


#: The scheme and host before the path in a target in absolute form (RFC 9112, 3.2.2).
_ABSOLUTE: Final = re.compile(rb"([^ ]+ )https?://[^ /?#]+", re.IGNORECASE)


class Head(Struct, frozen=True, gc=False):
    """A request line and headers; see `plain_head`."""

    method: bytes
    uri: bytes
    #: The values of each header, in order and stripped, by its name in lower case.
    headers: Mapping[bytes, Sequence[bytes]]
    #: The number of headers.
    count: int
    #: The length of the head in bytes: the offset at which the body begins.
    end: int
    #: The length of the body in bytes.
    length: int

    def __repr__(self) -> str:
        # The other fields may hold secrets.
        return f"Head(count={self.count}, end={self.end}, length={self.length})"


def origin_form(line: bytes) -> bytes:
    """
    The request line with only the path of its target. Scheme and host are dropped: the server
    answers to any name.
    """
    found = _ABSOLUTE.match(line)
    if found is None:
        return line
    rest = line[found.end() :]
    return found[1] + (rest if rest.startswith(b"/") else b"/" + rest)


def plain_head(data: bytes, limit: int) -> Head | None:
    """
    Parse the head at the beginning of the data; None if it is not plain, longer than the limit, or incomplete.

    A plain head has a path and HTTP/1.1 in its request line. Each line ends in CRLF and has no other CR or LF and no
    NUL. Each header name is a token, with a colon right after it. There is one Host, and at most one Content-Length, of
    digits only. No other header changes how the body is read.
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
        if name in headers:
            headers[name].append(value.strip(b" \t"))
        else:
            headers[name] = [value.strip(b" \t")]
    if len(headers.get(b"host", ())) != 1:
        return None
    length = _length(headers.get(b"content-length"))
    return None if length is None else Head(line[1], line[2], headers, len(lines), end + 4, length)


def _length(values: list[bytes] | None) -> int | None:
    """The length in the values of Content-Length, or None if they are not plain."""
    if values is None:
        return 0
    plain = len(values) == 1 and values[0].isdigit() and len(values[0]) <= _DIGITS
    return int(values[0]) if plain else None


@lru_cache(maxsize=1_000)
def _plain_name(raw: bytes) -> bytes | None:
    """The name of a header in lower case, or None if it is not plain."""
    name = raw.lower()
    return name if _TOKEN.fullmatch(raw) and name not in _NOT_PLAIN else None
