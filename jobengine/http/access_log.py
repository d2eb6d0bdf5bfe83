"""
The access log: one line for each request.

All lines of one reactor turn make one event of Twisted's log. An event for each line would add a tenth to the time of a
request to a server in memory (benchmarks/lab-book.md).
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from json import dumps
from types import MappingProxyType
from typing import Final

from attrs import define, field, frozen
from msgspec import Struct
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

#: Names and values that a handler adds to the log line of its request.
Notes = Mapping[str, str | int]
NO_NOTES: Final[Notes] = MappingProxyType({})
#: The method and the path of a request, or empty.
Known = tuple[bytes, bytes]

_log: Final = Logger(namespace="jobengine.web")
#: The most characters shown of any text from a client, so that each line is bounded.
_SHOWN: Final = 100
#: Text is cut to this length before it is escaped: one more than is shown, so that a cut can be detected.
_MANY: Final = _SHOWN + 1
#: The text of all notes, if no value needs quotes; whether a value contains a space or a = is checked apart.
_PLAIN: Final = re.compile(r"[ !#-\[\]-~]{0,300}")
#: A value that needs no quotes.
_WORD: Final = re.compile(rf"[!#-<>-\[\]-~]{{0,{_SHOWN}}}")
#: Characters shown as escapes: quotes, backslashes, and all that are not printable ASCII.
_ESCAPED: Final = re.compile(rb"[^!#-\[\]-~]")


class Line(Struct, frozen=True, gc=False):
    """A log entry for a request that has ended; str() is the line of text, without secrets."""

    #: The id in the header X-Request-Id; "-" for a request that was refused before it was complete.
    id: str
    #: The client's IP address, or "-" for a Unix socket.
    address: str
    #: Method and path as they were sent; empty if they did not arrive.
    sent_method: bytes
    sent_path: bytes
    #: The status of the answer, or 499 if the client disconnected before the answer.
    status: int
    #: Milliseconds until the end of the answer.
    ms: float
    #: Seconds since the epoch at which the request ended.
    time: float
    #: The details that the request's handler added.
    notes: Notes
    #: Whether the request is a long poll.
    waits: bool = False

    def __str__(self) -> str:
        what, notes = _request_line(self.sent_method[:_MANY], self.sent_path[:_MANY]), self.notes
        text = "".join([f" {name}={value}" for name, value in notes.items()])
        # One check of all values together takes a third of the time of a check for each.
        if text.count(" ") != len(notes) or text.count("=") != len(notes) or not _PLAIN.fullmatch(text):
            text = "".join([f" {name}={_quoted(value)}" for name, value in notes.items()])
        return f"{self.id} {self.address} {what} {self.status} {self.ms:.1f}ms{text}"

    @property
    def method(self) -> str:
        """The method in printable ASCII, shortened if it is long."""
        return _printable(self.sent_method)

    @property
    def path(self) -> str:
        """The path in printable ASCII, shortened if it is long."""
        return _printable(self.sent_path)

    def shortened_notes(self) -> dict[str, str | int]:
        """The notes, shortened if they are long."""
        return {name: value if isinstance(value, int) else _cut(value) for name, value in self.notes.items()}


@frozen
class Lines:
    """Several lines, oldest first; str() is for observers that do not know Line."""

    each: Sequence[Line]

    def __str__(self) -> str:
        return "\n".join(map(str, self.each))


@define(eq=False)
class Recorder:
    """
    Logs requests at the end of the reactor turn in which they ended.

    Other log lines of the same turn therefore come first, with later times. A kill of the process loses the request
    lines of its last turn.
    """

    _clock: IReactorTime
    #: Requests with a lower status are not logged.
    _least_status: int = 0
    _lines: list[Line] = field(factory=list)

    def add(self, line: Line) -> None:
        """Log a request that has ended."""
        if line.status < self._least_status:
            return
        if not self._lines:
            self._clock.callLater(0, self._log_all)
        self._lines.append(line)

    def _log_all(self) -> None:
        lines, self._lines = self._lines, []
        _log.info("{requests}", requests=Lines(lines))


def host_of(address: object) -> str:
    """The IP address of a client."""
    return str(getattr(address, "host", None) or "-")


def _quoted(value: str | int) -> str:
    """The value for the log line: a number or plain word unchanged, other text in quotes with JSON's escapes."""
    if isinstance(value, int) or _WORD.fullmatch(value):
        return str(value)
    return dumps(_cut(value)).replace("\x7f", "\\u007f")


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


@lru_cache(maxsize=1_000)
def _request_line(method: bytes, path: bytes) -> str:
    """Method and path for a log line; the caller has cut each to `_MANY` bytes."""
    return f"{_printable(method)} {_printable(path)}"


def _printable(sent: bytes) -> str:
    """The bytes as ASCII text. Bytes that would end the line or control a terminal are escaped; no bytes give "-"."""
    shown = _ESCAPED.sub(lambda found: b"\\x%02x" % found[0][0], sent[:_SHOWN]).decode("ascii")
    return (shown + "..." if len(sent) > _SHOWN else shown) or "-"
