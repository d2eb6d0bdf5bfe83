"""The lines of requests in the log. Those of one turn of the reactor are one event; one each would cost 3 us more."""

from collections.abc import Sequence
from time import time
from typing import Final

from attrs import define, field, frozen
from msgspec import Struct
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

__all__ = ["Line", "Lines", "Recorder"]

_log: Final = Logger(namespace="jobengine.web")


class Line(Struct, frozen=True, gc=False):
    """A request that was answered; str() is its line, and nothing in it is secret."""

    #: As they were sent.
    sent_method: bytes
    sent_path: bytes
    status: int
    #: Milliseconds to the answer.
    ms: float
    #: As in the header X-Request-Id.
    id: str
    #: Seconds since the epoch at which it was answered.
    time: float

    def __str__(self) -> str:
        return f"{self.method} {self.path} {self.status} {self.ms:.1f}ms {self.id}"

    @property
    def method(self) -> str:
        """In ASCII."""
        return self.sent_method.decode("ascii", "replace")

    @property
    def path(self) -> str:
        """In ASCII."""
        return self.sent_path.decode("ascii", "backslashreplace")


@frozen
class Lines:
    """Some of them, oldest first; as they are shown by an observer that does not know them."""

    each: Sequence[Line]

    def __str__(self) -> str:
        return "\n".join(map(str, self.each))


@define(eq=False)
class Recorder:
    """
    Logs requests at the end of the reactor's turn in which they were answered.

    So whatever else is logged in that turn stands before them, with a later time. If the process is killed the lines of
    the last turn are lost.
    """

    _clock: IReactorTime
    _lines: list[Line] = field(factory=list)

    def add(self, method: bytes, path: bytes, status: int, seconds: float, request_id: str) -> None:
        """A request was answered, after so many seconds."""
        if not self._lines:
            self._clock.callLater(0, self._log_all)
        self._lines.append(Line(method, path, status, seconds * 1000, request_id, time()))

    def _log_all(self) -> None:
        lines, self._lines = self._lines, []
        _log.info("{requests}", requests=Lines(lines))
