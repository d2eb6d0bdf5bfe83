"""The engine's time: elapsed milliseconds that go on steadily, however the wall clock is set."""

from collections.abc import Callable

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

__all__ = ["Timeline"]


@define
class Timeline:
    """Elapsed time, as jobengine.core.model describes it, and how far the wall clock is ahead of it."""

    #: Its seconds come from a monotonic clock.
    clock: IReactorTime
    #: The wall clock, in milliseconds since the Unix epoch.
    wall: Callable[[], int]
    _origin: int = field(default=0, init=False)

    def start(self, ahead: int, latest: int) -> None:
        """
        Begin where the wall clock, so far ahead as it was last known to be, says that elapsed time is.

        It never begins before `latest`, the newest time that was recorded: if the wall clock was set back while nothing
        ran, no time has gone by as far as anybody can tell.
        """
        self._origin = max(self.wall() - ahead, latest) - self._steady()

    def elapsed(self) -> int:
        """The time now."""
        return self._steady() + self._origin

    def ahead(self) -> int:
        """How far the wall clock is ahead of it."""
        return self.wall() - self.elapsed()

    def _steady(self) -> int:
        return int(self.clock.seconds() * 1000)
