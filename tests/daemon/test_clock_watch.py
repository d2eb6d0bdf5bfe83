"""A timer of the system watches the wall clock."""

import os
import select
from typing import Any

import pytest

from jobengine.daemon import clock_watch
from jobengine.daemon.clock_watch import ClockWatch, watch_clock
from tests.machine_allows import CLOCK, require, set_clock


class _Reactor:
    def __init__(self) -> None:
        self.readers: set[Any] = set()
        self.addReader = self.readers.add
        self.removeReader = self.readers.discard


def readable(watch: ClockWatch) -> bool:
    return bool(select.select([watch], [], [], 0)[0])


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def reactor() -> _Reactor:
    return _Reactor()


@pytest.fixture
def settable() -> None:
    """A clock that may be set; to be taken before a watch, since this is tried."""
    require(CLOCK)


@pytest.fixture
def watch(reactor: _Reactor, told: list[str]) -> Any:
    watch = watch_clock(reactor, lambda: told.append("set"))
    assert watch is not None
    yield watch
    watch.stop()


def test_the_callback_runs_each_time_the_clock_is_set(
    settable: None, watch: ClockWatch, reactor: _Reactor, told: list[str]
) -> None:
    assert watch in reactor.readers
    for times in (1, 2):
        assert not readable(watch)
        set_clock()
        assert readable(watch)
        watch.doRead()
        assert told == ["set"] * times


def test_the_callback_runs_at_each_wake_up_of_the_timer(
    reactor: _Reactor, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # A machine may refuse to set its clock, but a timer that has expired wakes the watch as a cancelled one does.
    with monkeypatch.context() as patch:
        patch.setattr(clock_watch, "_FAR", 1)
        watch = watch_clock(reactor, lambda: told.append("set"))
    assert watch is not None
    assert readable(watch)
    watch.doRead()
    assert told == ["set"]
    assert not readable(watch), "it is armed again, for a time far away"
    watch.doRead()
    assert told == ["set"]
    watch.stop()


def test_the_callback_does_not_run_while_the_clock_goes_on(watch: ClockWatch, told: list[str]) -> None:
    watch.doRead()
    assert told == []


def test_it_leaves_no_descriptor_behind(reactor: _Reactor) -> None:
    watch = watch_clock(reactor, lambda: None)
    assert watch is not None
    watch.stop()
    assert reactor.readers == set()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(watch.fileno())
