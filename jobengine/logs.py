"""What a line of the log looks like: text as twistd writes it, or JSON for those who collect it."""

import json
import signal
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.logger import FileLogObserver, ILogObserver, LogEvent, formatEvent, formatEventAsClassicLogText, formatTime
from twisted.python.logfile import LogFile
from twisted.python.threadable import isInIOThread
from zope.interface import implementer

from .web.site import ACCESS_FORMAT

__all__ = ["TurnByTurn", "json_line", "observer", "text_line"]

#: What an event may bring into the line beside its message; everything else could hold what must not be in a log.
_FIELDS = ("method", "path", "status", "ms", "id")


def json_line(event: LogEvent) -> str:
    """An event as one line: time (RFC 3339), level, logger, message and what is known of a request."""
    line: dict[str, Any] = {
        "time": datetime.fromtimestamp(event["log_time"], UTC).isoformat(timespec="milliseconds"),
        "level": event["log_level"].name,
        "logger": event["log_namespace"],
        "message": formatEvent(event),
        **{name: event[name] for name in _FIELDS if name in event},
    }
    if "log_failure" in event:
        line["traceback"] = event["log_failure"].getTraceback()
    return json.dumps(line, default=str) + "\n"


def text_line(event: LogEvent) -> str | None:
    """
    An event as twistd's own observer writes it.

    For the line of a request this takes 4 microseconds; Twisted's formatting takes 17, more than all rules together.
    """
    if event.get("log_format") is not ACCESS_FORMAT:
        return formatEventAsClassicLogText(event)
    method, path, status, ms, request_id = (event[name] for name in _FIELDS)
    return f"{_stamp(int(event['log_time']))} [jobengine.web#info] {method} {path} {status} {ms:.1f}ms {request_id}\n"


def observer(twistd: Mapping[str, Any], log_format: str, clock: IReactorTime) -> Callable[[], ILogObserver] | None:
    """
    What makes the observer for twistd's own options, or None where twistd's own will do: for syslog.

    `clock` ends the turns of the reactor.
    """
    path = twistd.get("logfile") or ("-" if twistd.get("nodaemon") else "twistd.log")
    if log_format == "text" and twistd.get("syslog"):
        return None
    line = json_line if log_format == "json" else text_line

    def make() -> ILogObserver:
        return TurnByTurn(sys.stdout if path == "-" else _rotated_file(path), line, clock)

    return make


@implementer(ILogObserver)
class TurnByTurn:
    """
    Writes to a file, and the lines of requests only at the end of the reactor's turn, all at once.

    To write each line by itself is a system call for each, 5 microseconds a request. If the process is killed the lines
    of the last turn are lost. All else is written at once, and what waits before it; the last that twistd writes
    is that the server has shut down.
    """

    def __init__(self, file: Any, line: Callable[[LogEvent], str | None], clock: IReactorTime) -> None:
        """`line` makes the text of an event, if it has any."""
        self._file = file
        self._line = line
        self._clock = clock
        self._write_event = FileLogObserver(file, line)
        #: Lines that wait for the end of the turn.
        self._lines: list[str] = []

    def __call__(self, event: LogEvent) -> None:
        """Write the line of an event, soon or at once."""
        if event.get("log_format") is ACCESS_FORMAT:
            self._keep(self._line(event) or "")
        else:
            # Requests are the reactor's thread's alone, and so are their lines.
            if isInIOThread():
                self._write_lines()
            self._write_event(event)

    def _keep(self, line: str) -> None:
        if not self._lines:
            self._clock.callLater(0, self._write_lines)
        self._lines.append(line)

    def _write_lines(self) -> None:
        lines, self._lines = self._lines, []
        if lines:
            self._file.write("".join(lines))
            self._file.flush()


def _rotated_file(path: str) -> LogFile:
    """A file as twistd's own: a new one is begun at each SIGUSR1, and when one has become long."""
    file = LogFile.fromFullPath(path)

    def rotate(*_: Any) -> None:
        from twisted.internet import reactor

        reactor.callFromThread(file.rotate)  # type: ignore[attr-defined]  # the module stands for the reactor

    if signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL:
        signal.signal(signal.SIGUSR1, rotate)
    return file


@lru_cache(maxsize=1)
def _stamp(second: int) -> str:
    return str(formatTime(second))
