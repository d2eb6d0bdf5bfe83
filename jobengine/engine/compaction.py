"""
Compaction: copies the live data to a new file, in slices of some facts, when too much of the old file is outdated.

A compaction never delays a commit for long: a small slice is written with each commit, and larger slices are written
alone while no commit waits. docs/database-format.md explains how the two files stay consistent.
"""

from collections.abc import Callable, Sequence
from typing import Final, Protocol, TypeVar

from attrs import define, field
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..core.fact_codec import encode
from ..storage.committer import NextSlice, Run
from ..storage.journal import Journal
from .tables.snapshot import Snapshot
from .tables.state import Tables

R = TypeVar("R")

#: The facts in a slice that is written alone. Such a slice delays requests by a fifth of a millisecond.
_SLICE: Final = 100
#: A slice that is written with a commit has about _SHARE times the commit's bytes. So the commits during a compaction
#: add at most half of the live bytes to the file.
_SHARE: Final = 2
#: In a slice that is written with a commit: the facts encoded in the first step. Each further step doubles them, up to
#: _SLICE.
_FEW: Final = 8
#: Seconds between slices that no commit carries, so that most requests are not delayed.
PAUSE: Final = 0.001
#: Compaction begins when the file is longer than 1.5 times its live bytes plus this. So the file stays well below the
#: promised length: twice its live bytes plus 64 MiB.
SLACK: Final = 32 << 20
#: Seconds after which a compaction that was given up is tried again, even if the file has hardly grown.
RETRY: Final = 300.0


class Carrier(Protocol):
    """The part of a committer that compaction uses; see jobengine.storage.committer.Committer."""

    def carry(self, next_slice: NextSlice | None) -> None:
        """Start, or with None stop, sending slices of a snapshot with the writes."""

    def poke(self) -> None:
        """Make a write soon."""

    def give_up(self, failure: Failure) -> None:
        """Stop writing permanently."""


@define(kw_only=True)
class Compaction:
    """Watches the length of the journal and rewrites it when that is worthwhile."""

    #: The state to write.
    tables: Tables
    #: The file to compact.
    journal: Journal
    #: Runs a call on the writer thread.
    run: Run
    #: Makes the writes that carry slices.
    committer: Carrier
    #: Waits between slices.
    clock: IReactorTime
    #: The wall clock, in milliseconds since the epoch.
    now: Callable[[], int]
    #: See SLACK and PAUSE; with a pause of 0, slices follow each other at once.
    slack: int = SLACK
    pause: float = PAUSE
    #: How many compactions were completed, and how many were given up.
    done: int = field(default=0, init=False)
    given_up: int = field(default=0, init=False)
    #: When the last compaction was completed, by the wall clock, and how many seconds it took; 0 before the first.
    last_done: int = field(default=0, init=False)
    last_seconds: float = field(default=0, init=False)
    _snapshot: Snapshot | None = field(default=None, init=False)
    _waking: bool = field(default=False, init=False)
    _fresh_size: int = field(default=0, init=False)
    _busy: bool = field(default=False, init=False)
    _begun: float = field(default=0, init=False)
    #: When to retry a compaction that was given up, by `clock`; otherwise None.
    _retried_at: float | None = field(default=None, init=False)
    _log: Logger = field(factory=Logger, init=False)

    def _next_slice(self, size: int) -> Sequence[bytes]:
        if self._snapshot is None:
            return ()
        if not self.journal.compacting:
            self._end(done=False)
            return ()
        slice_ = self._take(self._snapshot, size * _SHARE, _FEW if size else _SLICE)
        if not slice_:
            self._snapshot = None
            self._do(self.journal.finish_copy, self._finished)
        return slice_

    def _take(self, snapshot: Snapshot, size: int, at_once: int) -> list[bytes]:
        """The next records of a snapshot, about this many bytes of them; none at the end."""
        records: list[bytes] = []
        taken = 0
        while not records or taken < size:
            facts = snapshot.take(at_once)
            if facts is None:
                break
            encoded = [encode(fact) for fact in facts]
            records += encoded
            taken += sum(map(len, encoded))
            at_once = min(_SLICE, at_once * 2)
        return records

    def after_write(self) -> None:
        """Begin or continue a compaction if needed."""
        if self._snapshot is not None:
            self._go_on()
        elif not self._busy and self._pays(self.journal.size):
            self._busy = True
            self._begun = self.clock.seconds()
            self._do(self.journal.start_copy, self._started)

    def _go_on(self) -> None:
        """Schedule a write for the next slice after a pause. A commit that is written meanwhile carries a slice too."""
        if not self.pause:
            self.committer.poke()
        elif not self._waking:
            self._waking = True
            self.clock.callLater(self.pause, self._wake)

    def _wake(self) -> None:
        self._waking = False
        if self._snapshot is not None:
            self.committer.poke()

    def _pays(self, size: int) -> bool:
        # The estimate of the live bytes may be so low that even a fresh file seems too long: wait until the file has
        # grown.
        grown = size - self._fresh_size > self.slack // 4
        is_retry = self._retried_at is not None and self.clock.seconds() >= self._retried_at
        return (grown or is_retry) and size > self.tables.live_bytes * 3 // 2 + self.slack

    def _do(self, step: Callable[[], R], then: Callable[[R], None]) -> None:
        """Make a call on the writer thread, then call `then` with its result."""
        self.run(step).addCallbacks(then, self._failed).addErrback(self.committer.give_up)

    def _started(self, _: None) -> None:
        self._snapshot = Snapshot(self.tables)
        self.committer.carry(self._next_slice)
        self._log.info("compaction begins: {size} bytes", size=self.journal.size)
        self.committer.poke()

    def _finished(self, done: bool) -> None:
        self._end(done=done)

    def _failed(self, failure: Failure) -> None:
        """Give up this compaction after an OSError; any other error goes to the committer."""
        failure.trap(OSError)
        self._end(done=False)

    def _end(self, *, done: bool) -> None:
        self._snapshot, self._busy = None, False
        self.committer.carry(None)
        self.done += done
        self.given_up += not done
        self._fresh_size = self.journal.size
        self._retried_at = None if done else self.clock.seconds() + RETRY
        if done:
            self.last_done, self.last_seconds = self.now(), self.clock.seconds() - self._begun
            self._log.info("compaction is done: {size} bytes", size=self.journal.size)
        else:
            self._log.warn(
                "compaction was given up ({why}); it is tried again with the first write after {minutes} minutes",
                why=self.journal.copy_error,
                minutes=round(RETRY / 60),
            )
