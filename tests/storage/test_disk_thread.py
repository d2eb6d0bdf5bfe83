"""A thread for blocking calls."""

import gc
import threading
import weakref
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from jobengine.storage.disk_thread import DiskThread


class _Reactor:
    """A reactor that starts when the test says so; `turn` waits for a call from a thread, and makes it."""

    def __init__(self) -> None:
        self.at_start: list[Callable[[], None]] = []
        self._calls: SimpleQueue[tuple[Callable[..., None], Any]] = SimpleQueue()

    def callWhenRunning(self, call: Callable[[], None]) -> None:
        self.at_start.append(call)

    def callFromThread(self, call: Callable[..., None], value: Any) -> None:
        self._calls.put((call, value))

    def turn(self) -> None:
        call, value = self._calls.get(timeout=5)
        call(value)


@pytest.fixture
def reactor() -> _Reactor:
    return _Reactor()


@pytest.fixture
def thread(reactor: _Reactor) -> Iterator[DiskThread]:
    made = DiskThread(reactor, "disk")
    made.start()
    yield made
    made.stop()


def _start(reactor: _Reactor) -> None:
    for call in reactor.at_start:
        call()


def test_calls_run_on_the_thread_once_the_reactor_runs(reactor: _Reactor, thread: DiskThread) -> None:
    names, results = list[str](), list[None]()
    for _ in range(3):
        thread(lambda: names.append(threading.current_thread().name)).addCallback(results.append)
    assert names == []
    _start(reactor)
    for _ in range(3):
        reactor.turn()
    assert (names, results) == (["disk"] * 3, [None] * 3)


def test_an_error_fails_only_its_own_call(reactor: _Reactor, thread: DiskThread) -> None:
    _start(reactor)
    failures, results = list[Any](), list[int]()
    thread(lambda: 1 // 0).addErrback(failures.append)
    thread(lambda: 7).addCallback(results.append)
    reactor.turn()
    reactor.turn()
    assert failures[0].check(ZeroDivisionError)
    assert results == [7]


def test_a_stop_runs_the_waiting_calls_in_order_and_no_later_ones(reactor: _Reactor) -> None:
    thread, ran = DiskThread(reactor, "disk"), list[int]()
    thread.start()
    for number in range(3):
        thread(lambda number=number: ran.append(number))  # type: ignore[misc]
    _start(reactor)
    thread.stop()
    assert ran == [0, 1, 2]
    thread(lambda: ran.append(3))
    assert ran == [0, 1, 2]


def test_a_thread_that_never_started_can_be_stopped(reactor: _Reactor) -> None:
    DiskThread(reactor, "disk").stop()


def test_a_waiting_thread_keeps_no_result(reactor: _Reactor, thread: DiskThread) -> None:
    class Result:
        """A result that a weak reference can watch."""

    _start(reactor)
    found = list[weakref.ref[Result]]()
    done: Deferred[Result] = thread(Result)
    done.addCallback(lambda result: found.append(weakref.ref(result)))
    # The second call is over only after the first was dropped.
    thread(lambda: None)
    reactor.turn()
    reactor.turn()
    del done
    gc.collect()
    assert found[0]() is None
