"""When a call is tried again: pure, the time is told to it."""

from collections.abc import Callable
from typing import Final

__all__ = ["REPEATED", "UNCERTAIN", "Patience"]

#: Statuses after which a call that is safe to repeat is tried again.
REPEATED: Final = frozenset({408, 502, 503, 504})
#: Those after which the call may have been carried out all the same. A JobEngine says 503 as a rule before it begins.
UNCERTAIN: Final = frozenset({502, 503, 504})
#: Seconds before the second attempt, doubled at each one after it, and at most.
_FIRST: Final = 0.1
_LONGEST: Final = 5.0


class Patience:
    """How long one call is tried again."""

    __slots__ = ("_attempts", "_deadline", "_random", "_seconds")

    def __init__(self, seconds: float, random: Callable[[], float]) -> None:
        self._seconds = seconds
        #: It counts from the first failure: what was asked to wait may have waited long before that.
        self._deadline: float | None = None
        self._random = random
        self._attempts = 0

    def delay(self, now: float, retry_after: float | None = None) -> float | None:
        """
        Seconds to wait before the next attempt, or None if there is no time left for one.

        Half of it is random, so that clients who lost the same server do not come back at the same moment.
        """
        if self._deadline is None:
            self._deadline = now + self._seconds
        longest = min(_FIRST * 2.0 ** min(self._attempts, 16), _LONGEST)
        self._attempts += 1
        jittered = longest * (0.5 + self._random() / 2)
        delay = max(jittered, (retry_after or 0) * (1 + self._random() / 10))
        return delay if now + delay <= self._deadline else None
