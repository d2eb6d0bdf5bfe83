"""Throttles addresses that try many wrong keys. A right key always works."""

from collections import OrderedDict, deque
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from attrs import define, field

from ..http.problem import Problem

#: The failures that throttle an address, and the seconds within which they count.
_FAILURES: Final = 10
_SECONDS: Final = 60
#: The maximum of remembered addresses; the one whose last failure is oldest is forgotten first.
_ADDRESSES: Final = 10_000


@define
class KeyThrottle:
    """Counts failures by address."""

    #: The monotonic clock, in seconds.
    _now: Callable[[], float]
    _failures: OrderedDict[str, deque[float]] = field(factory=OrderedDict)

    def failed(self, address: object, problem: Problem) -> Problem:
        """Count a failure. Returns the problem to answer: the given one, or a 429 after too many."""
        now, host = self._now(), str(getattr(address, "host", address))
        times = self._failures.setdefault(host, deque(maxlen=_FAILURES))
        self._failures.move_to_end(host)
        if len(self._failures) > _ADDRESSES:
            self._failures.popitem(last=False)
        if len(times) == _FAILURES and now - times[0] < _SECONDS:
            wait = int(_SECONDS - (now - times[0])) + 1
            detail = (
                f"{problem.detail} {_FAILURES} keys from this address have failed within a minute: "
                f"further wrong keys are refused for {wait} seconds; a right key works at once."
            )
            return Problem(HTTPStatus.TOO_MANY_REQUESTS, detail, {"Retry-After": str(wait)})
        times.append(now)
        return problem
