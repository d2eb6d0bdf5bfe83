"""
Group commit, on the reactor thread: all submissions that arrive during a write go into the next write, as one frame.

The phases, and what happens to a submission in each:

- IDLE: nothing to do; a submission begins a batch.
- COLLECTING: a batch is open until the end of this reactor turn.
- WRITING: one write is in flight; submissions gather in the next batch.
- STALLED: the file can't be written now: the disk is full, or the file was moved. Unwritten changes are kept, and
  written when this is mended. `admit` refuses clients' changes; timed changes are submitted without `admit`, and kept.
- FAILED: it is unknown what is on disk. Nothing more is written, and `admit` refuses changes.
- CLOSED: the last commit was made.
"""

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Final, Generic, Protocol, TypeVar

from attrs import Factory, define, field, frozen
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from .errors import Stalled, StorageBroken, StorageError

#: Seconds between attempts to write while the file can't be written.
RETRY_SECONDS: Final = 0.5

#: Returns those records of a snapshot that the next write appends to the copy. The argument is the size in bytes of the
#: records that this write commits, maybe 0.
NextSlice = Callable[[int], Sequence[bytes]]

M = TypeVar("M")
R = TypeVar("R")


class Backlog(StorageError):
    """The backlog is full: too many bytes wait to be written."""


class Phase(Enum):
    """The committer's phases; see the module's docstring."""

    IDLE = "idle"
    COLLECTING = "collecting"
    WRITING = "writing"
    STALLED = "stalled"
    FAILED = "failed"
    CLOSED = "closed"


#: The phases in which the result of a write is ignored, and nothing more is written.
_OVER: Final = (Phase.FAILED, Phase.CLOSED)


class Writer(Protocol):
    """The methods of the journal that a committer uses; see jobengine.storage.journal.Journal."""

    def append(self, records: Sequence[bytes], slice_: Sequence[bytes] = (), *, sync: bool = True) -> None:
        """Make one commit, and append a slice to the copy in progress."""

    def sync(self) -> None:
        """Return when everything appended is on disk."""


class Run(Protocol):
    """Runs blocking calls on another thread, one at a time, in order."""

    def __call__(self, call: Callable[[], R], /) -> "Deferred[R]":
        """A Deferred of the call's result."""


@define
class _Batch(Generic[M]):
    """The submissions of the next frame."""

    records: list[bytes] = field(factory=list)
    memos: list[M] = field(factory=list)
    waiters: "list[Deferred[None]]" = field(factory=list)
    size: int = 0

    def add(self, records: Sequence[bytes], memo: M) -> None:
        """Add the records of a submission."""
        self.records += records
        self.memos.append(memo)
        self.size += sum(map(len, records))

    def take_in(self, later: "_Batch[M]") -> None:
        """Append the records of a later batch, but not its waiters."""
        self.records += later.records
        self.memos += later.memos
        self.size += later.size

    def wait(self) -> "Deferred[None]":
        """A Deferred for one caller, which fires with the batch. Cancelling the Deferred affects no other caller."""
        waiter: Deferred[None] = Deferred()
        self.waiters.append(waiter)
        return waiter

    def release(self, result: "Failure | None") -> None:
        """Fire the Deferreds of all waiting callers: with None when the batch is on disk, or with a failure."""
        waiters, self.waiters = self.waiters, []
        for waiter in waiters:
            if waiter.called:
                continue
            if result is None:
                waiter.callback(None)
            else:
                waiter.errback(result)


@frozen(kw_only=True)
class Hooks(Generic[M]):
    """Callbacks to the committer's owner. Memos are those of the affected submissions, oldest first."""

    #: Called when the file can't be written now: roll these submissions back.
    stalled: Callable[[list[M]], None]
    #: Called when it can be written again: apply these submissions again. They are written before newer submissions.
    resumed: Callable[[list[M]], None]
    #: Called when nothing more can be written; the process should end.
    failed: Callable[[StorageError], None]
    #: Called after a write, with the number of its records, their size in bytes, and its memos.
    written: Callable[[int, int, list[M]], None]


@define(kw_only=True)
class Committer(Generic[M]):
    """
    Collects submissions and keeps one write in flight.

    Each submission carries a memo, opaque to the committer: if the write stalls, the owner gets the memo back.
    """

    #: Writes the commits, on the thread that `run` uses.
    writer: Writer
    #: Runs a call on that thread.
    run: Run
    #: Schedules the write at the end of a reactor turn, and retries.
    clock: IReactorTime
    #: The callbacks after writes and failures.
    hooks: Hooks[M]
    #: Bytes that may wait before submissions are refused.
    max_backlog: int = 64 << 20
    #: Seconds between syncs; 0 syncs every commit before its waiters are released.
    sync_interval: float = 0
    phase: Phase = field(default=Phase.IDLE, init=False)
    #: Why submissions are refused, or None.
    trouble: StorageError | None = field(default=None, init=False)
    _next_slice: NextSlice | None = field(default=None, init=False)
    _pending: _Batch[M] = field(default=Factory(_Batch), init=False)
    _flying: _Batch[M] | None = field(default=None, init=False)
    _timer: IDelayedCall | None = field(default=None, init=False)
    _unsynced: bool = field(default=False, init=False)
    _idle_waiters: "list[Deferred[None]]" = field(factory=list, init=False)
    _log: Logger = field(factory=Logger, init=False)

    def admit(self) -> None:
        """Return if a submission would be accepted; otherwise raise Stalled, StorageBroken or Backlog."""
        if self.trouble is not None:
            # The same exception is raised many times: drop its traceback, which would grow each time.
            raise self.trouble.with_traceback(None)
        if self._pending.size > self.max_backlog:
            raise Backlog("too many bytes are waiting to be written")

    def submit(self, records: Sequence[bytes], memo: M) -> None:
        """
        Add records to the next commit. Call `admit` before, except for changes made by time alone, such as an expiry.
        In the phase STALLED the records are kept too.
        """
        self._pending.add(records, memo)
        if self.phase is Phase.IDLE:
            self._collect()

    def durable(self) -> "Deferred[None] | None":
        """
        None if all submissions are on disk; otherwise a Deferred that fires when they are.

        The Deferred fails with Stalled or StorageBroken. In the phase STALLED the result is None, since
        unwritten changes were rolled back. Raises StorageBroken after a failure.
        """
        if self.phase is Phase.STALLED:
            return None
        if self.trouble is not None:
            raise self.trouble.with_traceback(None)
        if self._pending.records:
            return self._pending.wait()
        if self._flying is not None and self._flying.records:
            return self._flying.wait()
        return None

    def carry(self, next_slice: NextSlice | None) -> None:
        """Append a slice of a snapshot, which `next_slice` returns, to each following write; None ends this."""
        self._next_slice = next_slice

    def poke(self) -> None:
        """Schedule the write of a slice even without a submission; does nothing while a drain waits."""
        if self.phase is Phase.IDLE and not self._idle_waiters:
            self._collect()

    def check(self) -> "Deferred[None] | None":
        """
        Let the writer check an idle file; the Deferred fails with the StorageError that a change would meet. None
        if a write is in flight or due, or the trouble is known.
        """
        if self.phase is not Phase.IDLE:
            return None
        self._collect()
        return self._pending.wait()

    def drain(self) -> "Deferred[None]":
        """A Deferred that fires, or has fired, when no write is in flight or due, or in the phase STALLED."""
        if self.phase in (Phase.COLLECTING, Phase.WRITING):
            waiter: Deferred[None] = Deferred()
            self._idle_waiters.append(waiter)
            return waiter
        return succeed(None)

    def close(self) -> None:
        """Refuse submissions from now on. Call it after `drain`."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        if self.phase is Phase.STALLED and self._flying is not None:
            n = len(self._flying.memos) + len(self._pending.memos)
            self._log.warn("changes dropped at the stop: {n}; none was acknowledged", n=n)
        self.phase = Phase.CLOSED

    def _collect(self) -> None:
        self.phase = Phase.COLLECTING
        self.clock.callLater(0, self._write)

    def _write(self) -> None:
        if self.phase in _OVER:
            return
        batch, self._pending = self._pending, _Batch()
        self._flying = batch
        self.phase = Phase.WRITING
        self._attempt(batch).addCallbacks(self._wrote, self._write_failed).addErrback(self.give_up)

    def _attempt(self, batch: _Batch[M]) -> "Deferred[None]":
        records, sync = batch.records, not self.sync_interval
        slice_ = () if self._next_slice is None else self._next_slice(batch.size)
        return self.run(lambda: self.writer.append(records, slice_, sync=sync))

    def _wrote(self, _: None) -> None:
        if self.phase in _OVER:
            return
        batch, self._flying = self._flying, None
        assert batch is not None
        if self.sync_interval and batch.records:
            self._sync_later()
        # Become idle before calling the owner's hook, since the hook may request another write.
        self.phase = Phase.IDLE
        self.hooks.written(len(batch.records), batch.size, batch.memos)
        batch.release(None)
        self._go_on()

    def _go_on(self) -> None:
        """Begin the next write at once if there is something to write."""
        if self.phase is Phase.IDLE and self._pending.records:
            self._write()
        elif self.phase is Phase.IDLE:
            self._end_drains()

    def _end_drains(self) -> None:
        waiters, self._idle_waiters = self._idle_waiters, []
        for waiter in waiters:
            waiter.callback(None)

    def _write_failed(self, failure: Failure) -> None:
        error = failure.value
        if not isinstance(error, Stalled) or self.phase in _OVER:
            self.give_up(failure)
            return
        batch, later = self._flying, self._pending
        assert batch is not None
        waiters = batch.waiters + later.waiters
        batch.take_in(later)
        self._pending = _Batch()
        self.phase = Phase.STALLED
        self.trouble = error
        self._log.error("{why}; changes are refused until this is mended", why=error)
        self.hooks.stalled(batch.memos)
        _Batch(waiters=waiters).release(failure)
        self._timer = self.clock.callLater(RETRY_SECONDS, self._retry)
        self._end_drains()

    def _retry(self) -> None:
        if self.phase in _OVER:
            return
        batch = self._flying
        assert batch is not None
        batch.take_in(self._pending)
        self._pending = _Batch()
        self._attempt(batch).addCallbacks(self._can_write, self._still_stalled).addErrback(self.give_up)

    def _still_stalled(self, failure: Failure) -> None:
        error = failure.value
        if not isinstance(error, Stalled) or self.phase in _OVER:
            self.give_up(failure)
            return
        self.trouble = error
        self._timer = self.clock.callLater(RETRY_SECONDS, self._retry)

    def _can_write(self, _: None) -> None:
        if self.phase in _OVER:
            return
        batch = self._flying
        assert batch is not None
        self._log.info("the database can be written again: waiting changes are on disk, new ones are accepted")
        self.trouble = None
        self.phase = Phase.WRITING
        self.hooks.resumed(batch.memos + self._pending.memos)
        self._wrote(None)

    def give_up(self, failure: Failure) -> None:
        """Fail all waiters with an unknown outcome, and call the owner's hook, once."""
        if self.phase in _OVER:
            return
        error = failure.value if isinstance(failure.value, StorageBroken) else StorageBroken(failure.getErrorMessage())
        self._log.failure("the database can no longer be written", failure)
        self.phase, self.trouble = Phase.FAILED, error
        for batch in (self._flying, self._pending):
            if batch is not None:
                batch.release(Failure(error))
        self._end_drains()
        self.hooks.failed(error)

    def _sync_later(self) -> None:
        if not self._unsynced:
            self._unsynced = True
            self.clock.callLater(self.sync_interval, self._sync)

    def _sync(self) -> None:
        self._unsynced = False
        if self.phase not in _OVER:
            self.run(self.writer.sync).addErrback(self.give_up)
