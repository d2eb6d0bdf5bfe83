"""Runs plain functions in threads, and hands what comes of them to the loop, of many at once if many have ended."""

import threading
from asyncio import AbstractEventLoop
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

__all__ = ["Threads"]

K = TypeVar("K")


class Threads(Generic[K]):
    """
    Threads that are made as they are needed. They do not keep the process from ending.

    Why no ThreadPoolExecutor: its threads are waited for when the process ends, also one that never comes back; and it
    wakes the loop for each call, where many short ones are cheaper together. Of threads that sleep one is woken, and it
    wakes the next one if there is more to do: short calls are over before that, and threads that find nothing to do
    only cost time.
    """

    def __init__(self, loop: AbstractEventLoop, done: Callable[[list[tuple[K, Any]]], object]) -> None:
        self._loop = loop
        self._done = done
        self._calls: deque[tuple[K, Callable[[], Any]]] = deque()
        #: Wakes a thread: True to look for calls, False to end.
        self._wakes: SimpleQueue[bool] = SimpleQueue()
        self._waking = False
        self._ended: deque[tuple[K, Any]] = deque()
        self._announced = False
        self._running = 0
        self._threads = 0

    def start(self, key: K, call: Callable[[], Any]) -> None:
        """
        Call it in a thread; it must not raise.

        In the loop `done` is called with the keys of all calls that have ended by then, and what each returned.
        """
        self._running += 1
        self._calls.append((key, call))
        self._wake()
        if self._running > self._threads:
            self._threads += 1
            threading.Thread(target=self._run, name=f"jobengine worker {self._threads}", daemon=True).start()

    def close(self) -> None:
        """Let each thread end when it has nothing more to do."""
        for _ in range(self._threads):
            self._wakes.put(False)

    def _wake(self) -> None:
        if not self._waking:
            self._waking = True
            self._wakes.put(True)

    def _run(self) -> None:
        while self._wakes.get():
            self._waking = False  # first, so that what is added from here on wakes another thread
            while (item := self._next()) is not None:
                key, call = item
                self._ended.append((key, call()))
                self._announce()

    def _next(self) -> tuple[K, Callable[[], Any]] | None:
        try:
            item = self._calls.popleft()
        except IndexError:  # others were faster
            return None
        if self._calls:
            self._wake()
        return item

    def _announce(self) -> None:
        """Tell the loop that a call has ended, unless it was told and has not come yet."""
        if not self._announced:
            self._announced = True
            with suppress(RuntimeError):  # the loop is closed: nobody wants to know any more
                self._loop.call_soon_threadsafe(self._collect)

    def _collect(self) -> None:
        self._announced = False  # first, so that what ends from here on is announced
        ended = []
        while self._ended:
            ended.append(self._ended.popleft())
        self._running -= len(ended)
        self._done(ended)
