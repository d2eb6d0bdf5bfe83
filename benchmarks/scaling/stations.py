"""Simulated time, and the resources that simulated processes wait for."""

import heapq
from collections import deque
from collections.abc import Generator

from attrs import define, field


@define(eq=False)
class Station:
    """Cores, or another resource, which take work in the order of arrival."""

    cores: int = 1
    #: The time of all work so far, including unfinished work.
    _work: float = 0
    _free: list[float] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._free = [0.0] * self.cores

    def done(self, now: float, work: float) -> float:
        """When work that arrives now is done."""
        end = max(now, self._free[0]) + work
        heapq.heapreplace(self._free, end)
        self._work += work
        return end

    def busy(self, now: float) -> float:
        """The total time that all cores have worked until now."""
        return self._work - sum(max(0.0, free - now) for free in self._free)


@define(eq=False)
class Disk:
    """A disk: one sync serves all commits that arrived during the sync before it."""

    sync: float
    _begin: float = -1
    _end: float = 0

    def done(self, now: float) -> float:
        """When a commit that arrives now is on the disk."""
        if now > self._begin:
            self._begin = max(now, self._end)
            self._end = self._begin + self.sync
        return self._end


#: A simulated process: it yields the time at which it continues, or None to wait until it is woken.
Process = Generator[float | None, None, None]


@define(eq=False)
class Clock:
    """The simulated time, and when each process continues."""

    now: float = 0
    _next: list[tuple[float, int, Process]] = field(factory=list)
    _count: int = 0

    def wake(self, process: Process, at: float = 0) -> None:
        """Let a process continue now, or at a later time."""
        self._count += 1
        heapq.heappush(self._next, (max(at, self.now), self._count, process))

    def run(self, until: float) -> None:
        """Let time pass, and run all processes that are due."""
        while self._next and self._next[0][0] <= until:
            self.now, _, process = heapq.heappop(self._next)
            at = next(process)
            if at is not None:
                self.wake(process, at)


@define(eq=False)
class Lock:
    """A lock that one process can hold at a time; waiting processes get it first come first served."""

    clock: Clock
    _held: bool = False
    _waiting: deque[Process] = field(factory=deque)

    def taken(self, process: Process) -> Process:
        """Let a process wait until it holds the lock."""
        if self._held:
            self._waiting.append(process)
            yield None
        self._held = True

    def give_back(self) -> None:
        """Release the lock, so that the next process gets it."""
        if self._waiting:
            self.clock.wake(self._waiting.popleft())
        else:
            self._held = False
