"""Schedules heartbeats. Pure: the caller passes in the time."""

from heapq import heapify, heappop, heappush
from typing import Final, Generic, TypeVar

T = TypeVar("T")
#: The heap may have this many more entries of stopped holders than of active ones before it is rebuilt, which takes
#: time.
_FEW: Final = 1_000


class Beats(Generic[T]):
    """Schedules the heartbeats of several lease holders, each at its own interval."""

    def __init__(self) -> None:
        #: For each beat: the time at which it is due, the number of the entry, the holder, and the seconds between its
        #: beats.
        self._heap: list[tuple[float, int, T, float]] = []
        self._number = 0
        #: The active holders, and the numbers of their entries in the heap.
        self._going: dict[T, int] = {}

    def __len__(self) -> int:
        return len(self._going)

    def add(self, holder: T, now: float, interval: float) -> None:
        """Add a holder, whose first heartbeat is due one interval from now."""
        self._number += 1
        self._going[holder] = self._number
        heappush(self._heap, (now + interval, self._number, holder, interval))

    def remove(self, holder: T) -> None:
        """Stop a holder, if it was not stopped before."""
        self._going.pop(holder, None)
        if len(self._heap) > 2 * len(self._going) + _FEW:
            self._heap = [entry for entry in self._heap if self._is_going(entry)]
            heapify(self._heap)

    def next_at(self) -> float | None:
        """When the next beat is due, or None."""
        self._forget_ended()
        return self._heap[0][0] if self._heap else None

    def due(self, now: float) -> list[T]:
        """The holders whose beat is due; the next beat of each is one interval from now."""
        holders = []
        while (at := self.next_at()) is not None and at <= now:
            _, _, holder, interval = heappop(self._heap)
            holders.append(holder)
            self.add(holder, now, interval)
        return holders

    def _forget_ended(self) -> None:
        while self._heap and not self._is_going(self._heap[0]):
            heappop(self._heap)

    def _is_going(self, entry: tuple[float, int, T, float]) -> bool:
        return self._going.get(entry[2]) == entry[1]
