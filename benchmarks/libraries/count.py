"""Counts finished jobs, so that the working process knows when it is warm and when it is done."""

from collections.abc import Callable
from itertools import count

from attrs import define, field


@define
class Count:
    """Counts the jobs of all threads. Calling it counts one more, and is true for the last one."""

    warm: int
    jobs: int
    say: Callable[[str], object]
    #: next() on it is atomic, so threads need no lock.
    _steps: "count[int]" = field(factory=lambda: count(1))

    def __call__(self) -> bool:
        """Count one more job; returns whether it was the last."""
        number = next(self._steps)
        if number == self.warm:
            self.say("warm")
        return number == self.warm + self.jobs

    def to_the_end(self) -> None:
        """Count one more job; prints "done" at the last one, for libraries that can't be stopped."""
        if self():
            self.say("done")
