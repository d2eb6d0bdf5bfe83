"""
Finds the line of an error text that names the error.

The rules are those of the dashboard: `errorLine` in web/dashboard/format.js.
"""

import re
from typing import Final

#: The main line of a Python exception group, which begins with a margin.
_GROUP: Final = re.compile(r"\s*\|\s?(\S.* \(\d+ sub-exceptions?\))")
_FRAME: Final = re.compile(r'[\s+|]*Traceback \(most recent call last\):|\s+File ".+", line \d+')


def error_line(error: str | None) -> str:
    """
    The line of a text that names the error: the exception of a Python traceback, otherwise the first line. A worker
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
