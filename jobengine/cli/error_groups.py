"""
Groups jobs by their errors.

The rules are those of the dashboard: `errorLine` in web/dashboard/format.js, `grouped` in errors-part.js.
"""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

from jobengine.client import Job

#: The main line of a Python exception group, which begins with a margin.
_GROUP: Final = re.compile(r"\s*\|\s?(\S.* \(\d+ sub-exceptions?\))")
_FRAME: Final = re.compile(r'[\s+|]*Traceback \(most recent call last\):|\s+File ".+", line \d+')
#: The parts of an error that are ignored when errors are compared: uids, hexadecimal and other numbers.
_VARYING: Final = re.compile(
    r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}|0x[0-9a-f]+|\b(?=[a-f]*\d)[0-9a-f]{8,}\b|\d+",
    re.ASCII | re.IGNORECASE,
)
#: The number of characters of a line that are compared.
_COMPARED: Final = 300
_NONE: Final = "no error was given"


def error_line(error: str | None) -> str:
    """
    The line that names an error: after a Python traceback, the exception; of any other text, the first line. A worker
    cuts off the beginning of a long traceback, so the word Traceback may be missing.
    """
    lines = [line.rstrip() for line in (error or "").split("\n") if line.strip()]
    if not lines:
        return ""
    if group := next(filter(None, map(_GROUP.fullmatch, lines)), None):
        return group[1].strip()
    frames = [number for number, line in enumerate(lines) if _FRAME.match(line)]
    if not frames:
        return lines[0].strip()
    return next((line for line in lines[frames[-1] + 1 :] if not line[0].isspace()), lines[-1]).strip()


class ErrorGroup:
    """Jobs with similar errors."""

    def __init__(self, latest: Job) -> None:
        #: The job whose error is the newest.
        self.latest: Final = latest
        #: The line that names the newest error, shortened; empty without an error.
        self.line: Final = error_line(latest.error)[:_COMPARED]
        self._all_alike = True
        #: How many of the jobs have failed, and in the next line how many will be retried.
        self.failed = 0
        self.retrying = 0

    def add(self, job: Job) -> None:
        """Count a job of the group."""
        if job.state == "failed":
            self.failed += 1
        else:
            self.retrying += 1
        self._all_alike = self._all_alike and error_line(job.error)[:_COMPARED] == self.line

    @property
    def name(self) -> str:
        """The line that names the newest error, or a text for jobs without an error."""
        return self.line or _NONE

    @property
    def filter(self) -> str:
        """A text that occurs in the errors of all jobs of the group, for `--error`."""
        if self._all_alike:
            return self.line
        return max((piece.strip() for piece in _VARYING.split(self.line)), key=len)

    @property
    def last(self) -> datetime:
        """The time of the newest error."""
        return self.latest.last_updated.astimezone(UTC)

    @property
    def raw(self) -> dict[str, Any]:
        """The group as a JSON object."""
        return {
            "failed": self.failed,
            "retrying": self.retrying,
            "error": self.line or None,
            "filter": self.filter or None,
            "last": self.latest.raw["last_updated"],
            "last_uid": self.latest.uid,
            "last_error": self.latest.error,
        }


def grouped(jobs: Iterable[Job]) -> list[ErrorGroup]:
    """Group jobs by similar errors, the largest group first. Pass the newest jobs first."""
    groups: dict[str, ErrorGroup] = {}
    for job in jobs:
        key = _VARYING.sub("…", error_line(job.error)[:_COMPARED])
        if key not in groups:
            groups[key] = ErrorGroup(job)
        groups[key].add(job)
    return sorted(groups.values(), key=lambda group: -group.failed - group.retrying)
