"""Log lines as JSON objects, for those who collect them."""

import json
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from twisted.logger import FileLogObserver, ILogObserver, LogEvent, formatEvent
from twisted.python.logfile import LogFile

__all__ = ["json_line", "json_observer"]

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


def json_observer(twistd: Mapping[str, Any]) -> Callable[[], ILogObserver]:
    """What makes the observer for twistd's own options: to --logfile, or where twistd would write without it."""

    def make() -> ILogObserver:
        path = twistd.get("logfile") or ("-" if twistd.get("nodaemon") else "twistd.log")
        file = sys.stdout if path == "-" else LogFile.fromFullPath(path)
        return FileLogObserver(file, json_line)

    return make
