"""Detecting that the wall clock was set, by a system timer."""

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
def calls() -> list[str]:
    return []


@pytest.fixture
def reactor() -> _Reactor:
    return _Reactor()


@pytest.fixture
def settable() -> None:
    """Skips the test if the clock can't be set. Request it before `watch`: it sets the clock to find out."""
    require(CLOCK)


@pytest.fixture
def watch(reactor: _Reactor, calls: list[str]) -> Any:
    watch = watch_clock(reactor, lambda: calls.append("set"))
    assert watch is not None
    yield watch
    watch.stop()


def test_the_callback_runs_each_time_the_clock_is_set(
    settable: None, watch: ClockWatch, reactor: _Reactor, calls: list[str]
) -> None:
    assert watch in reactor.readers
    for times in (1, 2):
        assert not readable(watch)
        set_clock()
        assert readable(watch)
        watch.doRead()
        assert calls == ["set"] * times


def test_the_callback_runs_each_time_the_timer_expires(
    reactor: _Reactor, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The machine may refuse to set its clock, so let the timer expire: that wakes the watch like a clock step.
    with monkeypatch.context() as patch:
        patch.setattr(clock_watch, "_FAR", 1)
        watch = watch_clock(reactor, lambda: calls.append("set"))
    assert watch is not None
    assert readable(watch)
    watch.doRead()
    assert calls == ["set"]
    assert not readable(watch), "it is armed again, for a time far away"
    watch.doRead()
    assert calls == ["set"]
    watch.stop()


def test_the_callback_does_not_run_while_nobody_sets_the_clock(watch: ClockWatch, calls: list[str]) -> None:
    watch.doRead()
    assert calls == []


def test_a_stopped_watch_leaves_no_descriptor_open(reactor: _Reactor) -> None:
    watch = watch_clock(reactor, lambda: None)
    assert watch is not None
    watch.stop()
    assert reactor.readers == set()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(watch.fileno())
