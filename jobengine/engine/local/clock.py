"""The engine's time: elapsed milliseconds by the monotonic clock, however the wall clock is set."""

from collections.abc import Callable

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

__all__ = ["Timeline"]


@define
class Timeline:
    """Elapsed time, as jobengine.core.model describes it, and how far the wall clock is ahead of it."""

    #: The monotonic clock, in seconds.
    clock: IReactorTime
    #: The wall clock, in milliseconds since the Unix epoch.
    wall: Callable[[], int]
    _origin: int = field(default=0, init=False)

    def start(self, ahead: int, latest: int) -> None:
        """
        Start at the wall clock's time, minus how far it was last known to be ahead.

        It never starts before `latest`, the newest recorded time: if the wall clock was set back while the server was
        stopped, no time counts as elapsed.
        """
        self._origin = max(self.wall() - ahead, latest) - int(self.clock.seconds() * 1000)

    def elapsed(self) -> int:
        """Elapsed time now."""
        return int(self.clock.seconds() * 1000) + self._origin
