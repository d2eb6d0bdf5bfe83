"""Lets waiters claim when a gate of a queue with flow changes: a hold ends, or a claim leaves the window of a rate."""

from collections.abc import Callable

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime


@define(kw_only=True, eq=False)
class Openings:
    """Timers that let the waiters of a queue claim when its next gate changes; one for each queue."""

    clock: IReactorTime
    #: Lets the waiters of a queue claim.
    recheck: Callable[[str], None]
    _timers: dict[str, IDelayedCall] = field(factory=dict, init=False)

    def no_later(self, name: str, seconds: float) -> None:
        """Let the waiters of a queue claim within this many seconds."""
        seconds = max(0.0, seconds)
        timer = self._timers.get(name)
        if timer is None:
            self._timers[name] = self.clock.callLater(seconds, self._open, name)
        elif timer.getTime() > self.clock.seconds() + seconds:
            timer.reset(seconds)

    def stop(self) -> None:
        """Cancel all timers."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _open(self, name: str) -> None:
        del self._timers[name]
        self.recheck(name)
