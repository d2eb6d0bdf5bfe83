"""The failures of a queue by fingerprint, and the fingerprint of an exception."""

import re
import sys
import sysconfig
from collections.abc import Iterator
from datetime import datetime
from functools import cache
from hashlib import blake2b
from pathlib import Path
from traceback import walk_tb
from types import FrameType
from typing import Final

from .answers import Answer, Field, as_time

#: The characters that a fingerprint may not have, and its greatest length.
_OTHER: Final = re.compile(r"[^A-Za-z0-9._:-]+")
_LENGTH: Final = 64
#: The folders of installed packages.
_PACKAGES: Final = re.compile(r"[\\/](?:site|dist)-packages[\\/]")


class FailureGroup(Answer):
    """Jobs of a queue whose latest failures have the same fingerprint."""

    __slots__ = ()
    _shown = ("fingerprint", "count", "error")

    #: The fingerprint, which selects these jobs in a filter.
    fingerprint = Field[str]("fingerprint")
    #: The line that names the latest error; None if none was given.
    error = Field[str | None]("error")
    #: How many jobs have failed, or are tried again after a failure.
    count = Field[int]("count", default=0)
    #: When the first of these jobs failed.
    first = Field[datetime]("first", as_time)
    #: When the last of these jobs failed.
    last = Field[datetime]("last", as_time)
    #: The uids of the jobs that failed last, the latest first; at most 5.
    uids = Field[tuple[str, ...]]("uids", tuple, ())
    #: How many failed in each of the last 60 minutes, oldest first; the last minute is not over.
    minutes = Field[tuple[int, ...]]("minutes", tuple, ())


def exception_fingerprint(error: BaseException) -> str:
    """
    The fingerprint of an exception: its type, and the innermost function of the program's own code, such as
    `ConnectionError:shop.mail.send`. Code of the standard library and of installed packages is not the program's own.
    """
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    own = next((frame for frame in reversed(frames) if _is_own(frame.f_code.co_filename)), None)
    frame = own or (frames[-1] if frames else None)
    place = "" if frame is None else f":{_module(frame)}.{_function(frame)}"
    return as_fingerprint(f"{type(error).__qualname__}{place}")


def as_fingerprint(name: str) -> str:
    """A name as a fingerprint: characters that are not allowed become a "-", and too long a name becomes a hash."""
    allowed = _OTHER.sub("-", name).strip("-") or "-"
    return allowed if len(allowed) <= _LENGTH else blake2b(allowed.encode(), digest_size=8).hexdigest()


def _module(frame: FrameType) -> str:
    """The module of a frame; for the main program, which may be started in several ways, the name of its file."""
    name = str(frame.f_globals.get("__name__", "__main__"))
    return Path(frame.f_code.co_filename).stem if name in ("__main__", "__mp_main__") else name


def _function(frame: FrameType) -> str:
    return frame.f_code.co_qualname.replace(".<locals>", "").replace("<lambda>", "lambda").strip("<>")


@cache
def _is_own(file: str) -> bool:
    return not (_PACKAGES.search(file) or file.startswith("<frozen ") or any(map(file.startswith, _foreign())))


def _foreign() -> Iterator[str]:
    """The folders of the standard library and of this package."""
    yield sysconfig.get_path("stdlib") or sys.prefix
    yield str(Path(__file__).parent.parent)
