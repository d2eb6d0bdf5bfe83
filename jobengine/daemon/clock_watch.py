"""
Detects without polling that the wall clock was set.

On Linux, setting the clock cancels a timer (timerfd_create(2), TFD_TIMER_CANCEL_ON_SET). Other systems report nothing;
there the engine notices a change at the next request or deadline, when it reads the clock.
"""

import ctypes
import os
import sys
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.abstract import FileDescriptor

_CLOCK_REALTIME: Final = 0
_NONBLOCK: Final = os.O_NONBLOCK
_CLOEXEC: Final = os.O_CLOEXEC
#: TFD_TIMER_ABSTIME and TFD_TIMER_CANCEL_ON_SET of <sys/timerfd.h>.
_FLAGS: Final = 1 | 2
#: The timer's expiry in seconds, 35,000 years away: the timer is only there to be cancelled.
_FAR: Final = 1 << 40


class _TimeSpec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _TimerSpec(ctypes.Structure):
    _fields_ = (("interval", _TimeSpec), ("value", _TimeSpec))


class ClockWatch(FileDescriptor):
    """A system timer that becomes readable when the clock is set. Raises OSError if the system has none."""

    def __init__(self, reactor: Any, was_set: Callable[[], None]) -> None:
        """`was_set` is called each time the clock is set."""
        super().__init__(reactor)
        self._was_set = was_set
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._timer = _checked(self._libc.timerfd_create(_CLOCK_REALTIME, _NONBLOCK | _CLOEXEC))
        self._arm()

    def fileno(self) -> int:
        """The timer's file descriptor."""
        return self._timer

    def doRead(self) -> None:
        """The clock was set."""
        try:
            os.read(self._timer, 8)
        except BlockingIOError:
            return
        except OSError:
            # ECANCELED: the clock was set. After any other error `was_set` is called too, which does no harm.
            pass
        self._arm()
        self._was_set()

    def stop(self) -> None:
        """Stop watching."""
        self.stopReading()
        os.close(self._timer)

    def logPrefix(self) -> str:
        """The watch's name in Twisted's log."""
        return "clock"

    def _arm(self) -> None:
        spec = _TimerSpec(_TimeSpec(0, 0), _TimeSpec(_FAR, 0))
        _checked(self._libc.timerfd_settime(self._timer, _FLAGS, ctypes.byref(spec), None))


def watch_clock(reactor: Any, was_set: Callable[[], None]) -> ClockWatch | None:
    """Start watching; None if the system has no such timer."""
    if sys.platform != "linux":
        return None
    watch = ClockWatch(reactor, was_set)
    watch.startReading()
    return watch


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
