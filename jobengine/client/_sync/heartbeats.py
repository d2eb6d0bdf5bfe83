"""Extends leases in a separate thread, one for each client; it sleeps while there is no lease to extend."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

from ..leases import Beats


class _Held(Protocol):
    @property
    def beat_seconds(self) -> float | None:
        """The seconds between two heartbeats; None if the lease does not expire."""


H = TypeVar("H", bound=_Held)


class Heartbeats(Generic[H]):
    """Extends the leases of all jobs of a client."""

    def __init__(self, extend: Callable[[Sequence[H]], None]) -> None:
        self._extend = extend
        self._beats: Beats[H] = Beats()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._sleeps_until = 0.0
        self._closed = False

    def add(self, job: H) -> None:
        """Extend the job's lease regularly until it is removed."""
        if job.beat_seconds is None:
            return
        with self._changed:
            self._beats.add(job, time.monotonic(), job.beat_seconds)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="jobengine leases", daemon=True)
                self._thread.start()
            elif (self._beats.next_at() or 0) < self._sleeps_until:
                self._changed.notify()

    def remove(self, job: H) -> None:
        """Stop extending the job's lease."""
        with self._changed:
            self._beats.remove(job)

    def close(self) -> None:
        """Stop extending all leases."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _run(self) -> None:
        while (jobs := self._wait()) is not None:
            self._extend(jobs)

    def _wait(self) -> Sequence[H] | None:
        """Wait until leases must be extended, and return their jobs; None if the thread must end."""
        with self._changed:
            while not self._closed:
                jobs = self._beats.due(time.monotonic())
                if jobs:
                    return jobs
                at = self._beats.next_at()
                self._sleeps_until = float("inf") if at is None else at
                self._changed.wait(None if at is None else at - time.monotonic())
            return None
