"""Claiming ahead: how many jobs to claim, and the jobs whose handlers have not started. Pure."""

from collections import deque
from collections.abc import Callable
from typing import Final

from .actions import Hold

#: The seconds of work for which jobs are claimed ahead.
_AHEAD: Final = 0.1
#: The most jobs to claim ahead, enough for 20,000 jobs per second: more than a worker in Python can run.
_MOST: Final = 2_000
#: Seconds over which the pace is averaged.
_REMEMBERED: Final = 0.1
#: No jobs are claimed ahead until this many seconds of work were measured.
_LEAST: Final = 0.001
#: Seconds that are added to the measured time, so that a few fast jobs are no reason to claim many ahead.
_DOUBT: Final = 0.01
#: A job that was claimed ahead is released if its handler does not start within this many seconds.
_PATIENCE: Final = 0.5


class Pace:
    """
    Measures how fast jobs end while handlers run. Time without a running handler does not count: the worker then waits
    for jobs. So even a worker that starts with single jobs soon claims as many as it can run.
    """

    def __init__(self) -> None:
        self._now = float("-inf")
        self._ended = 0
        #: The number of recently ended jobs.
        self._jobs = 0.0
        #: The seconds that these jobs took.
        self._seconds = 0.0

    @property
    def ahead(self) -> int:
        """How many jobs will be started within 100 ms at this pace."""
        if self._seconds < _LEAST:
            return 0
        return min(int(self._jobs / (self._seconds + _DOUBT) * _AHEAD), _MOST)

    def count(self) -> None:
        """Count a job that has ended."""
        self._ended += 1

    def measure(self, now: float, *, busy: bool) -> None:
        """Measure the pace since the last call; `busy` is whether handlers have run since then."""
        seconds = now - self._now
        kept = max(1 - seconds / _REMEMBERED, 0)
        self._jobs = self._jobs * kept + self._ended
        self._seconds = self._seconds * kept + (seconds if busy else 0)
        self._now, self._ended = now, 0


class Backlog:
    """Jobs that are held but not started, in the order of their claims."""

    def __init__(self) -> None:
        self._holds: deque[Hold] = deque()

    def __len__(self) -> int:
        return len(self._holds)

    def add(self, now: float, hold: Hold) -> None:
        """Add a job that was claimed."""
        hold.start_by = now + _PATIENCE
        self._holds.append(hold)

    def take(self) -> Hold:
        """Take the next job to start."""
        return self._holds.popleft()

    def next_at(self) -> float | None:
        """The time at which the first job must have started; None without jobs."""
        return self._holds[0].start_by if self._holds else None

    def take_late(self, now: float) -> list[Hold]:
        """Take the jobs that have waited too long, to release them: another worker may be free."""
        late = []
        while self._holds and self._holds[0].start_by <= now:
            late.append(self.take())
        return late

    def take_if(self, unwanted: Callable[[Hold], bool]) -> list[Hold]:
        """Take the jobs that are `unwanted`."""
        taken = [hold for hold in self._holds if unwanted(hold)]
        if taken:
            self._holds = deque(hold for hold in self._holds if not unwanted(hold))
        return taken

    def take_all(self) -> list[Hold]:
        """Take all jobs."""
        return self.take_late(float("inf"))
