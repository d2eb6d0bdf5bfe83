"""How an end that works knows when it is warm, and when it is done."""

from collections.abc import Callable
from itertools import count

from attrs import define, field


@define
class Count:
    """Counts the jobs of all threads. Calling it is true at the last one."""

    warm: int
    jobs: int
    say: Callable[[str], object]
    #: One step of it can't be interrupted by another thread.
    _steps: "count[int]" = field(factory=lambda: count(1))

    def __call__(self) -> bool:
        """One more."""
        number = next(self._steps)
        if number == self.warm:
            self.say("warm")
        return number == self.warm + self.jobs

    def to_the_end(self) -> None:
        """One more; the last one says that the work is done, for libraries that can't be told to return."""
        if self():
            self.say("done")
