"""Decides when to retry a call. Pure: the caller passes in the time."""

import re
from collections.abc import Callable
from typing import Final

#: Statuses after which a call that is safe to repeat is retried.
REPEATED: Final = frozenset({408, 502, 503, 504})
#: Statuses after which the call may have succeeded, unless the answer is that of a JobEngine that starts or recovers.
_UNCERTAIN: Final = frozenset({502, 503, 504})
_STARTING: Final = re.compile(rb"The server is (?:starting|recovering)[^;]*; nothing was carried out")
#: The part of a server's error text that says that this attempt had no effect; an earlier one may have had.
_NOT_DONE: Final = re.compile(r"; (?:nothing was carried out|this one was not (?:made|started)).*", re.DOTALL)
#: Seconds before the second attempt, doubled for each later attempt.
_FIRST: Final = 0.1
#: The most seconds before an attempt.
_LONGEST: Final = 5.0


def may_have_succeeded(status: int, body: bytes) -> bool:
    """Whether a call may have succeeded although it was answered with an error."""
    return status in _UNCERTAIN and not _STARTING.search(body)


def unknown(detail: str) -> str:
    """The error text for a call whose earlier attempts may have succeeded; `detail` describes the last attempt."""
    what = _NOT_DONE.sub("", detail)
    end = "" if what.endswith((".", "?")) else "."
    return f"{what}{end} It is unknown whether the call was carried out: an attempt may have succeeded."


class Patience:
    """How long one call is retried."""

    __slots__ = ("_attempts", "_deadline", "_random", "_seconds")

    def __init__(self, seconds: float, random: Callable[[], float]) -> None:
        self._seconds = seconds
        #: The time at which retrying ends. It counts from the first failure, not from the call: a call that waits may
        #: take long.
        self._deadline: float | None = None
        self._random = random
        self._attempts = 0

    def delay(self, now: float, retry_after: float | None = None) -> float | None:
        """
        Seconds before the next attempt, or None if there is no time left.

        Half of the delay is random, so that the clients of one server do not all return at the same moment.
        """
        if self._deadline is None:
            self._deadline = now + self._seconds
        longest = min(_FIRST * 2.0 ** min(self._attempts, 16), _LONGEST)
        self._attempts += 1
        jittered = longest * (0.5 + self._random() / 2)
        delay = max(jittered, (retry_after or 0) * (1 + self._random() / 10))
        return delay if now + delay <= self._deadline else None
