"""Runs plain functions in threads, and delivers their results to the loop in batches."""

import threading
from asyncio import AbstractEventLoop
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

K = TypeVar("K")


class Threads(Generic[K]):
    """
    Daemon threads, made on demand.

    A ThreadPoolExecutor would not do: at its end the process waits for its threads, even for one that hangs, and the
    executor wakes the loop for each call, although one wake-up for several short calls is cheaper. Here one sleeping
    thread is woken at a time, and wakes the next if more calls wait, so that short calls wake few threads.
    """

    def __init__(self, loop: AbstractEventLoop, done: Callable[[list[tuple[K, Any]]], object]) -> None:
        self._loop = loop
        self._done = done
        self._calls: deque[tuple[K, Callable[[], Any]]] = deque()
        #: Wakes a thread: True to run calls, False to end.
        self._wakes: SimpleQueue[bool] = SimpleQueue()
        self._waking = False
        self._ended: deque[tuple[K, Any]] = deque()
        self._announced = False
        self._running = 0
        self._threads = 0

    def start(self, key: K, call: Callable[[], Any]) -> None:
        """
        Run `call` in a thread; it must not raise.

        In the loop, `done` is called with the keys and results of all calls that have ended by then.
        """
        self._running += 1
        self._calls.append((key, call))
        self._wake()
        if self._running > self._threads:
            self._threads += 1
            threading.Thread(target=self._run, name=f"jobengine worker {self._threads}", daemon=True).start()

    def close(self) -> None:
        """End each thread after its last call."""
        for _ in range(self._threads):
            self._wakes.put(False)

    def _wake(self) -> None:
        if not self._waking:
            self._waking = True
            self._wakes.put(True)

    def _run(self) -> None:
        while self._wakes.get():
            self._waking = False  # set before taking a call, so that a call added from now on wakes another thread
            while (item := self._next()) is not None:
                self._carry_out(*item)

    def _next(self) -> tuple[K, Callable[[], Any]] | None:
        try:
            item = self._calls.popleft()
        except IndexError:  # another thread was faster
            return None
        if self._calls:
            self._wake()
        return item

    def _carry_out(self, key: K, call: Callable[[], Any]) -> None:
        self._ended.append((key, call()))
        self._announce()

    def _announce(self) -> None:
        """Wake the loop because a call has ended, unless it was woken already."""
        if not self._announced:
            self._announced = True
            with suppress(RuntimeError):  # the loop is closed, so nobody needs the results
                self._loop.call_soon_threadsafe(self._collect)

    def _collect(self) -> None:
        self._announced = False  # set before collecting, so that a call that ends from now on is announced
        ended = []
        while self._ended:
            ended.append(self._ended.popleft())
        self._running -= len(ended)
        self._done(ended)
