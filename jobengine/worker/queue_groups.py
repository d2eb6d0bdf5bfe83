"""
The state of a group of queues with the same key: unreported outcomes, requests in flight, pauses
after errors. Pure.
"""

from collections.abc import Callable, Iterable
from typing import Final

from ..client.errors import AccessDenied, BadRequest, Forbidden, JobEngineError, QueueNotFound
from ..client.retrying import Patience
from .actions import Hold

#: The most outcomes in one request, and the most jobs to claim by one request.
MAX_ITEMS: Final = 1_000
#: Errors of a server that refuses the key or the queue.
REFUSALS: Final = (BadRequest, AccessDenied, Forbidden, QueueNotFound)
#: Seconds to wait after a refusal: 10 wrong keys a minute make the server throttle the worker's address.
_REFUSED: Final = 30.0
#: The most seconds between attempts while the server can't be reached, if the worker holds no job.
_LONGEST_PAUSE: Final = 60.0
#: If a job's heartbeats are less than this many seconds apart, its outcome is reported at once: the lease may end soon.
_SHORT: Final = 1.0


class Pauses:
    """Pauses between attempts while the server can't be reached."""

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random
        self._patience = Patience(float("inf"), random)

    def next(self, now: float, error: JobEngineError, holds: Iterable[Hold]) -> float:
        """
        Seconds until the next attempt: few enough to extend these jobs' leases in time, unless the server requests
        more (Retry-After), or has refused the key or queue.
        """
        most = min([hold.beat_seconds for hold in holds], default=_LONGEST_PAUSE)
        least = _REFUSED if isinstance(error, REFUSALS) else error.retry_after or 0
        pause = self._patience.delay(now)
        assert pause is not None  # there is no deadline
        return max(min(pause, most), least * (1 + self._random() / 10))


class QueueGroup:
    """Queues with the same key."""

    def __init__(self, number: int) -> None:
        self.number = number
        #: Jobs with unreported outcomes.
        self.done: list[Hold] = []
        #: The latest time to report the gathered outcomes.
        self.gathers_until: float | None = None
        #: Whether any outcome must be reported at once.
        self.is_urgent = False
        #: The number of reports in flight.
        self.reports = 0
        #: The most jobs that the reports in flight may return.
        self.expected = 0
        #: The most jobs that the claim in flight may return; 0 if no claim is in flight.
        self.asking = 0
        #: The value of Supervisor._endings when the claim in flight was sent.
        self.endings = 0
        #: Whether the claim in flight waits for jobs.
        self.waiting = False
        #: Whether the claim in flight was aborted.
        self.aborting = False
        #: Whether the last claim got fewer jobs than requested.
        self.empty = False
        #: When the last claim was answered.
        self.claimed_at = float("-inf")
        #: Whether the server has ever answered a claim for this group.
        self.known = False
        #: The earliest time of the next request.
        self.not_before = float("-inf")
        self.pauses: Pauses | None = None
        #: The time of the first failed request after the last answer.
        self.failing_since: float | None = None

    def add(self, hold: Hold) -> None:
        """Add an outcome to report."""
        self.done.append(hold)
        self.is_urgent = self.is_urgent or _is_urgent(hold)

    def take(self) -> tuple[Hold, ...]:
        """Take the outcomes for one report."""
        holds, self.done = tuple(self.done[:MAX_ITEMS]), self.done[MAX_ITEMS:]
        self.gathers_until, self.is_urgent = None, any(map(_is_urgent, self.done))
        return holds

    def rest(self, now: float, error: JobEngineError, random: Callable[[], float]) -> float:
        """
        Pause requests after an error, longer each time; see Pauses. Returns for how many seconds all requests have
        failed.
        """
        self.pauses = self.pauses or Pauses(random)
        self.failing_since = now if self.failing_since is None else self.failing_since
        self.not_before = now + self.pauses.next(now, error, self.done)
        return now - self.failing_since

    def begin_claim(self, count: int, endings: int, *, waiting: bool) -> None:
        """Record that a claim was sent."""
        self.asking, self.endings, self.waiting, self.aborting = count, endings, waiting, False

    @property
    def coming(self) -> int:
        """The most jobs that requests in flight may return, not counting a long poll."""
        return self.expected + (0 if self.waiting else self.asking)

    def answered(self) -> None:
        """Record an answer of the server."""
        self.pauses, self.not_before, self.failing_since = None, float("-inf"), None


def _is_urgent(hold: Hold) -> bool:
    """
    Whether to report an outcome at once: the job was released, so another worker may claim it, or
    its lease is short.
    """
    assert hold.changes is not None
    return hold.changes["new_status"] == "queued" or hold.beat_seconds < _SHORT
