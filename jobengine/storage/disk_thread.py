"""A thread for the disk: runs blocking calls in order."""

from collections.abc import Callable
from functools import partial
from threading import Thread
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

R = TypeVar("R")


class DiskThread:
    """A thread pool with one thread; calling the pool runs a function on the thread."""

    def __init__(self, reactor: Any, name: str, *, daemon: bool = False) -> None:
        """`name` is the name of the thread. With `daemon`, the process may end during a call."""
        self._reactor = reactor
        self._pool = ThreadPool(minthreads=1, maxthreads=1, name=name)
        if daemon:
            # The pool calls this as a function, although it is annotated as the class Thread.
            self._pool.threadFactory = partial(Thread, daemon=True)  # type: ignore[assignment]

    def start(self) -> None:
        """
        Start the thread when the reactor runs, so that a failed start leaves no thread behind. Earlier calls wait for
        the thread.
        """
        self._reactor.callWhenRunning(self._pool.start)

    def stop(self) -> None:
        """Run the waiting calls, then end the thread; returns when the thread has ended."""
        self._pool.stop()

    def __call__(self, call: Callable[[], R], /) -> "Deferred[R]":
        """A Deferred of the call's result on the thread."""
        return deferToThreadPool(self._reactor, self._pool, call)
