"""Jobs that are claimed ahead: how many to claim, and those whose handlers have not started yet. Pure."""

from collections import deque
from collections.abc import Callable
from typing import Final

from .orders import Hold

__all__ = ["Backlog", "Pace"]

#: Fast jobs are claimed ahead: as many as will be started within this many seconds.
_AHEAD: Final = 0.1
#: The most jobs to claim ahead.
_MOST: Final = 1_000
#: The least seconds over which the pace is measured.
_MEASURED: Final = 0.01
#: Seconds over which the pace is averaged: jobs end in bursts, because answers bring many of them at a time.
_REMEMBERED: Final = 0.1
#: Seconds within which a job that was claimed ahead must be started.
_PATIENCE: Final = 0.5


class Pace:
    """How fast jobs have ended lately."""

    def __init__(self) -> None:
        self._since = float("-inf")
        self._ended = 0
        #: Jobs in a second.
        self._rate = 0.0

    @property
    def ahead(self) -> int:
        """How many jobs will be started within 100 ms at this pace."""
        return min(int(self._rate * _AHEAD), _MOST)

    def count(self) -> None:
        """Count a job that has ended."""
        self._ended += 1

    def measure(self, now: float) -> None:
        """Measure the pace since the last time, if that was at least 10 ms ago."""
        seconds = now - self._since
        if seconds >= _MEASURED:
            self._rate += (self._ended / seconds - self._rate) * min(seconds / _REMEMBERED, 1)
            self._since, self._ended = now, 0


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
        """When the first of them will have waited too long."""
        return self._holds[0].start_by if self._holds else None

    def take_late(self, now: float) -> list[Hold]:
        """Take the jobs that have waited too long: another worker may be free."""
        late = []
        while self._holds and self._holds[0].start_by <= now:
            late.append(self.take())
        return late

    def take_if(self, unwanted: Callable[[Hold], bool]) -> list[Hold]:
        """Take the jobs that match."""
        taken = [hold for hold in self._holds if unwanted(hold)]
        if taken:
            self._holds = deque(hold for hold in self._holds if not unwanted(hold))
        return taken

    def take_all(self) -> list[Hold]:
        """All of them."""
        return self.take_late(float("inf"))
