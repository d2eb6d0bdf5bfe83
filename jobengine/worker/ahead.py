"""Jobs that are claimed ahead: how many that are, and those whose handlers are not begun yet. Pure."""

from collections import deque
from collections.abc import Callable
from typing import Final

from .orders import Hold

__all__ = ["Backlog", "Pace"]

#: Jobs are claimed ahead if they end so fast that they will be begun within so many seconds.
_AHEAD: Final = 0.02
#: The most of them.
_MOST: Final = 1_000
#: Seconds over which the pace is measured at least.
_MEASURED: Final = 0.01
#: Seconds in which a job that was claimed ahead must be begun.
_PATIENCE: Final = 0.5


class Pace:
    """How fast jobs have ended lately."""

    def __init__(self) -> None:
        self._since = float("-inf")
        self._ended = 0
        #: How many jobs will be begun within 20 ms, if it goes on like this.
        self.ahead = 0

    def count(self) -> None:
        """A job has ended."""
        self._ended += 1

    def measure(self, now: float) -> None:
        """Go by what has ended since the last time, if that is 10 ms ago."""
        seconds = now - self._since
        if seconds >= _MEASURED:
            self.ahead = min(int(self._ended / seconds * _AHEAD), _MOST)
            self._since, self._ended = now, 0


class Backlog:
    """Jobs that are held and not begun, in the order in which they were claimed."""

    def __init__(self) -> None:
        self._entries: deque[tuple[float, Hold]] = deque()

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, now: float, hold: Hold) -> None:
        """A job was claimed."""
        self._entries.append((now + _PATIENCE, hold))

    def take(self) -> Hold:
        """The job that is to be begun next."""
        return self._entries.popleft()[1]

    def next_at(self) -> float | None:
        """When the first of them has waited too long."""
        return self._entries[0][0] if self._entries else None

    def take_late(self, now: float) -> list[Hold]:
        """Those that have waited too long: another worker may be free."""
        late = []
        while self._entries and self._entries[0][0] <= now:
            late.append(self.take())
        return late

    def take_if(self, unwanted: Callable[[Hold], bool]) -> list[Hold]:
        """Those that are not to be begun."""
        taken = [hold for _, hold in self._entries if unwanted(hold)]
        if taken:
            self._entries = deque(entry for entry in self._entries if not unwanted(entry[1]))
        return taken

    def take_all(self) -> list[Hold]:
        """All of them."""
        return self.take_late(float("inf"))
