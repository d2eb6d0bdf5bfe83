"""Formats the log: text as twistd writes it, or JSON for log collectors."""

import os
import signal
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from json import dumps
from typing import Any

from msgspec.json import encode
from twisted.logger import (
    FileLogObserver,
    ILogObserver,
    LegacyLogObserverWrapper,
    LogEvent,
    formatEvent,
    formatEventAsClassicLogText,
    formatTime,
)
from twisted.python.logfile import LogFile
from twisted.python.syslog import SyslogObserver
from zope.interface import provider

from ..http.access_log import Line

#: The event fields that may be logged beside the message; all others may hold secrets.
_FIELDS = ("id", "database", "jobs", "queues", "seconds")


def json_lines(event: LogEvent) -> str:
    """A line of JSON for an event, or for each of its requests: time (RFC 3339), level, logger, message and fields."""
    if "requests" in event:
        return "".join([_json_of_request(event, line) for line in event["requests"].each])
    known = {name: event[name] for name in _FIELDS if name in event}
    if "log_failure" in event:
        known["traceback"] = event["log_failure"].getTraceback()
    level = event["log_level"].name
    head = {"time": _utc(event["log_time"]), "level": level, "logger": event["log_namespace"]}
    return dumps({**head, "message": formatEvent(event), **known}, default=str) + "\n"


def _json_of_request(event: LogEvent, line: Line) -> str:
    known = {
        "time": _utc(line.time),
        "level": "info",
        "logger": event["log_namespace"],
        "message": f"{line.method} {line.path} {line.status}",
        "id": line.id,
        "address": line.address,
        "method": line.method,
        "path": line.path,
        "status": line.status,
        "ms": round(line.ms, 3),
        **line.shortened_notes(),
    }
    return encode(known).decode() + "\n"


def _utc(time: float) -> str:
    """RFC 3339, with milliseconds."""
    second, ms = divmod(int(time * 1000), 1000)
    return f"{_utc_second(second)}.{ms:03d}+00:00"


@lru_cache(maxsize=1)
def _utc_second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def text_lines(event: LogEvent) -> str | None:
    """
    The text of an event, in the format of twistd's observer; each request in the event gets a line of its own.
    Twisted's formatting would take 17 microseconds per request, more than all work of the core.
    """
    if "requests" not in event:
        return formatEventAsClassicLogText(event)
    return "".join([f"{_stamp(int(line.time))} [jobengine.web#info] {line}\n" for line in event["requests"].each])


def observer(twistd: Mapping[str, Any], log_format: str, file_bytes: int, files: int) -> Callable[[], ILogObserver]:
    """
    A function that makes a log observer according to twistd's options. A log file longer than `file_bytes` is rotated;
    `files` old files are kept.
    """
    path = twistd.get("logfile") or ("-" if twistd.get("nodaemon") else "twistd.log")
    if log_format == "text" and twistd.get("syslog"):
        return lambda: _to_syslog(twistd.get("prefix") or "twisted")
    lines = json_lines if log_format == "json" else text_lines

    def make() -> ILogObserver:
        """An observer that writes to the log file or standard output."""
        file: Any = sys.stdout if path == "-" else _rotated_file(path, file_bytes, files)
        return FileLogObserver(file, lines)

    return make


def _to_syslog(prefix: str) -> ILogObserver:
    """Like twistd's syslog observer, but with one record for each request."""
    emit: Any = SyslogObserver(prefix).emit
    write = LegacyLogObserverWrapper(emit)

    @provider(ILogObserver)
    def observe(event: LogEvent) -> None:
        """Write the lines of an event."""
        if "requests" not in event:
            write(event)
            return
        for line in event["requests"].each:
            write({**event, "log_format": "{line}", "line": line, "log_time": line.time})

    return observe


def _rotated_file(path: str, file_bytes: int, files: int) -> LogFile:
    """
    Open a log file as twistd does; it is also rotated at SIGUSR1, and when it is longer than `file_bytes`. If the file
    is missing at the signal, another program such as logrotate has moved it: then it is only opened again.
    """
    file = LogFile.fromFullPath(path, rotateLength=file_bytes, maxRotatedFiles=files)

    def rotate(*_: Any) -> None:
        """Rotate the file, or open it again if another program has moved it."""
        from twisted.internet import reactor

        renew = file.rotate if os.path.exists(path) else file.reopen
        reactor.callFromThread(renew)  # type: ignore[attr-defined]  # the module stands for the reactor

    if signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL:
        signal.signal(signal.SIGUSR1, rotate)
    return file


@lru_cache(maxsize=1)
def _stamp(second: int) -> str:
    return str(formatTime(second))
