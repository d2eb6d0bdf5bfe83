"""
The access log: a line for each request.

Those of one turn of the reactor are one event of Twisted's log; one event each would cost 3 us more.
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from json import dumps
from typing import Final

from attrs import define, field, frozen
from msgspec import Struct
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

__all__ = ["Line", "Lines", "Notes", "Recorder", "host_of"]

#: What a handler says of its request: a word for each thing, and what it is.
Notes = Mapping[str, str | int]

_log: Final = Logger(namespace="jobengine.web")
#: Characters of anything a client has sent that are shown; a line is bounded, whoever sends what.
_SHOWN: Final = 100
#: More of them than are shown, and all that is looked at.
_MANY: Final = _SHOWN + 1
#: Notes that need no quotes, if none of them has a space in it.
_PLAIN: Final = re.compile(r"[ !#-\[\]-~]{0,300}")
#: What is shown as an escape: all but printable ASCII, and what quotes and escapes are made of.
_ESCAPED: Final = re.compile(rb"[^!#-\[\]-~]")


class Line(Struct, frozen=True, gc=False):
    """A request that has ended; str() is its line, and nothing in it is secret."""

    #: As in the header X-Request-Id; "-" if it was refused before it was whole.
    id: str
    #: Where it came from: an IP address, or "-" if it came through a Unix socket.
    address: str
    #: As they were sent, or nothing if they did not come so far.
    sent_method: bytes
    sent_path: bytes
    #: That of the answer, or 499 if the client had gone before there was one.
    status: int
    #: Milliseconds to the end of the answer.
    ms: float
    #: Seconds since the epoch at which it ended.
    time: float
    #: What its handler has said of it.
    notes: Notes
    #: Whether the client has asked to be kept waiting.
    waits: bool = False

    def __str__(self) -> str:
        what = _what(self.sent_method[:_MANY], self.sent_path[:_MANY])
        return f"{self.id} {self.address} {what} {self.status} {self.ms:.1f}ms{_told(self.notes)}"

    @property
    def method(self) -> str:
        """In printable ASCII, and not too long."""
        return _printable(self.sent_method)

    @property
    def path(self) -> str:
        """In printable ASCII, and not too long."""
        return _printable(self.sent_path)

    def told(self) -> dict[str, str | int]:
        """The notes, none of them too long."""
        return {name: value if isinstance(value, int) else _cut(value) for name, value in self.notes.items()}


@frozen
class Lines:
    """Some of them, oldest first; as they are shown by an observer that does not know them."""

    each: Sequence[Line]

    def __str__(self) -> str:
        return "\n".join(map(str, self.each))


@define(eq=False)
class Recorder:
    """
    Logs requests at the end of the reactor's turn in which they ended.

    So whatever else is logged in that turn stands before them, with a later time. If the process is killed the lines of
    the last turn are lost.
    """

    _clock: IReactorTime
    #: Requests with a lower status are not logged.
    _least_status: int = 0
    _lines: list[Line] = field(factory=list)

    def add(self, line: Line) -> None:
        """A request has ended."""
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


def _told(notes: Notes) -> str:
    """The notes as they stand in a line, a space before each."""
    told = "".join([f" {name}={value}" for name, value in notes.items()])
    # All are looked at in one go, which takes a third of the time.
    if told.count(" ") == len(notes) and _PLAIN.fullmatch(told):
        return told
    return "".join([f" {name}={_quoted(value)}" for name, value in notes.items()])


def _quoted(value: str | int) -> str:
    """A number as it is, a text in quotes with JSON's escapes."""
    return str(value) if isinstance(value, int) else dumps(_cut(value)).replace("\x7f", "\\u007f")


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


@lru_cache(maxsize=1_000)
def _what(method: bytes, path: bytes) -> str:
    """Method and path of a request, of each no more than `_MANY` bytes, as they stand in its line."""
    return f"{_printable(method)} {_printable(path)}"


def _printable(sent: bytes) -> str:
    """What was sent, with escapes for what would end the line or move the cursor of a terminal; "-" for nothing."""
    shown = _ESCAPED.sub(lambda found: b"\\x%02x" % found[0][0], sent[:_SHOWN]).decode("ascii")
    return (shown + "..." if len(sent) > _SHOWN else shown) or "-"
