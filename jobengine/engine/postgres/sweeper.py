"""
Expires jobs each second, and at the nearest known deadline.

No server leads: every server sweeps, and skips jobs that another has locked. A sweep reads all queues, 2.5 µs each, and
is followed by a rest, so that sweeps usually take at most a tenth of the time. A rest lasts at most a second, so that
jobs expire at most about a second late. With 100,000 queues, where a sweep took 0.26 s, sweeps therefore took a fifth
of the time. While many jobs expire there is no rest.
"""

from collections.abc import Callable
from typing import Final

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..door import Unavailable
from .batch.decide import Result

#: The most seconds between two sweeps: this server does not know the deadlines that other servers have set.
_PAUSE: Final = 1.0
#: After a sweep, the sweeper rests for _REST times the sweep's duration, but at most for _PAUSE. It does not rest after
#: a sweep that expired _MANY jobs or more.
_REST: Final = 9
_MANY: Final = 50
#: Seconds after which the database of a running sweep counts as not answering.
_PATIENCE: Final = 15


@define(kw_only=True, eq=False)
class Sweeper:
    """Schedules the sweeps."""

    clock: IReactorTime
    #: Expires due jobs, and returns when the next is due.
    sweep: "Callable[[], Deferred[Result]]"
    _timer: IDelayedCall | None = field(default=None, init=False)
    _running: bool = field(default=False, init=False)
    #: The nearest deadline reported since the last sweep began, in seconds of the monotonic clock.
    _wanted: float | None = field(default=None, init=False)
    #: When the last sweep began, by the monotonic clock.
    _began: float = field(default=0, init=False)
    #: When the sweeper's rest ends, by the monotonic clock.
    _rests_until: float = field(default=0, init=False)
    _log: Logger = field(factory=Logger, init=False)

    @property
    def lacks_answer(self) -> bool:
        """Whether the running sweep has waited long for the database, as it does if the database's host is frozen."""
        is_running = self._timer is not None and not self._timer.active()
        return is_running and self.clock.seconds() - self._began > _PATIENCE

    def start(self) -> None:
        """Sweep now, and again when jobs are due, until `stop`."""
        self._running = True
        self.hurry()

    def stop(self) -> None:
        """Stop sweeping."""
        self._running = False
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def hurry(self) -> None:
        """Sweep as soon as possible."""
        self.no_later(0)

    def no_later(self, seconds: float) -> None:
        """Sweep within this many seconds, but not before the end of the rest."""
        when = self.clock.seconds() + max(0.0, seconds)
        self._wanted = when if self._wanted is None else min(self._wanted, when)
        self._set()

    def _set(self) -> None:
        """Set the timer to the nearest deadline, unless the timer already fires earlier."""
        if not self._running or self._wanted is None:
            return
        wait = max(0.0, min(max(self._wanted, self._rests_until) - self.clock.seconds(), _PAUSE))
        if self._timer is None:
            self._timer = self.clock.callLater(wait, self._begin)
        elif self._timer.active() and self._timer.getTime() > self.clock.seconds() + wait:
            self._timer.reset(wait)

    def _begin(self) -> None:
        self._wanted = None
        self._began = self.clock.seconds()
        self.sweep().addCallback(self._swept).addErrback(self._failed).addBoth(self._go_on)

    def _swept(self, result: Result) -> None:
        now = self.clock.seconds()
        self._rests_until = now if len(result.effects) >= _MANY else now + _REST * (now - self._began)
        if result.effects:
            # More jobs of the same queues may be due; the sweep does not check that.
            self.hurry()
        elif result.soonest is not None:
            self.no_later((result.soonest - result.now.elapsed) / 1000)

    def _failed(self, failure: Failure) -> None:
        if not failure.check(Unavailable):
            self._log.failure("a sweep has failed", failure)

    def _go_on(self, _: object) -> None:
        self._timer = None
        self.no_later(_PAUSE)
