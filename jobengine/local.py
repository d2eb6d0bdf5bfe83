"""
The engine on one machine: core for what is true, storage for keeping it.

Between reading the clock and submitting the facts there is no await: that unbroken stretch is what serialises all
changes on the reactor thread.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from attrs import define, field, frozen
from twisted.application.service import Service
from twisted.internet.defer import inlineCallbacks
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from .compaction import Compaction, encoded_snapshot
from .core.commands import (
    AddJob,
    Claim,
    Command,
    CreateQueue,
    DeleteJob,
    DeleteQueue,
    ListJobs,
    Page,
    Peek,
    ReadJob,
    UpdateJob,
)
from .core.events import Fact, UnknownRecord, decode, encode
from .core.model import DomainError, Job, State
from .core.rules import NewId, decide, expire
from .core.state import Before, Tables
from .engine import Busy, Full, OutcomeUnknown, Readiness, Stats
from .storage.committer import Backlog, Committer, Hooks, Phase, Run
from .storage.errors import NewerFormat, NoRoom, StorageError
from .storage.journal import Journal

__all__ = ["LocalEngine", "Thread"]

#: Jobs that time moves on in one commit.
_EXPIRY_SLICE: Final = 1_000
#: The timer is never set further ahead than this many seconds.
_LONGEST_WAIT: Final = 86_400.0


class Thread(Run, Protocol):
    """The thread that owns the journal; see jobengine.storage.thread.WriterThread."""

    def start(self) -> None:
        """Begin to run calls."""

    def stop(self) -> None:
        """Run what was given, then end."""


@frozen
class _Change:
    """Facts that were applied and are not on disk yet, and what they replaced."""

    facts: Sequence[Fact]
    befores: list[Before]


@define(kw_only=True, eq=False)
class LocalEngine(Service):
    """The Engine (see jobengine.engine) that keeps its jobs in memory and in one encrypted file."""

    #: The file.
    journal: Journal
    #: Gives the SECRET when the file is opened; it is not kept.
    secret: Callable[[], bytes]
    #: Where the journal is written.
    thread: Thread
    #: Timers and the end of a reactor turn.
    clock: IReactorTime
    #: Milliseconds since the epoch.
    now: Callable[[], int]
    #: See NewId.
    new_id: NewId
    #: Told once when storage has failed for good: the process should end.
    on_failure: Callable[[StorageError], None]
    #: Seconds between syncs, or 0 for a sync at every commit.
    sync_interval: float = 0
    #: Bytes of records that may wait for a write.
    max_backlog: int = 64 << 20
    _tables: Tables = field(factory=Tables, init=False)
    _committer: Committer[_Change] = field(init=False)
    _compaction: Compaction = field(init=False)
    _timer: IDelayedCall | None = field(default=None, init=False)
    _totals: Counter[str] = field(factory=Counter, init=False)
    _log: Logger = field(factory=Logger, init=False)

    def __attrs_post_init__(self) -> None:
        self._compaction = Compaction(
            tables=self._tables,
            journal=self.journal,
            run=self.thread,
            poke=lambda: self._committer.poke(),
            broken=lambda failure: self._committer.give_up(failure),
        )
        self._committer = Committer(
            writer=self.journal,
            run=self.thread,
            clock=self.clock,
            max_backlog=self.max_backlog,
            sync_interval=self.sync_interval,
            hooks=Hooks(
                stalled=self._take_back,
                resumed=self._make_true_again,
                failed=self.on_failure,
                next_slice=self._compaction.next_slice,
                written=self._written,
            ),
        )

    # Service

    def startService(self) -> None:
        """Read the database back, blocking until it is done; raises StorageError or OSError."""
        try:
            self._recover()
        except BaseException:
            self.journal.close(orderly=False)
            raise
        self.thread.start()
        super().startService()
        if self.sync_interval:
            self._log.warn("DURABILITY=interval: the last {ms} ms can be lost in a power cut", ms=self._interval_ms())
        self._wake()

    def abandon(self) -> None:
        """Close the file of an engine that was started, before the reactor runs: the start is not to be."""
        self.journal.close(orderly=True)

    @inlineCallbacks
    def stopService(self) -> "Any":
        """Make the last commit and close the file; a Deferred."""
        super().stopService()
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        yield self._committer.drain()
        orderly = self._committer.phase is Phase.IDLE
        self._committer.close()
        try:
            yield self.thread(lambda: self.journal.close(orderly=orderly))
        except (OSError, StorageError):
            self._log.failure("the database was not closed in good order; it is checked at the next start")
        self.thread.stop()

    # Engine

    async def create_queue(self, command: CreateQueue) -> None:
        """See Engine."""
        await self._carry_out(command)

    async def delete_queue(self, command: DeleteQueue) -> None:
        """See Engine."""
        await self._carry_out(command)

    async def list_jobs(self, command: ListJobs) -> Page:
        """See Engine."""
        page: Page = await self._carry_out(command)
        return page

    async def add_job(self, command: AddJob) -> Job:
        """See Engine."""
        job: Job = await self._carry_out(command)
        return job

    async def read_job(self, command: ReadJob) -> Job:
        """See Engine."""
        job: Job = await self._carry_out(command)
        return job

    async def peek(self, command: Peek) -> Job | None:
        """See Engine."""
        job: Job | None = await self._carry_out(command)
        return job

    async def claim(self, command: Claim) -> Job | None:
        """See Engine."""
        job: Job | None = await self._carry_out(command)
        return job

    async def update_job(self, command: UpdateJob) -> Job:
        """See Engine."""
        job: Job = await self._carry_out(command)
        return job

    async def delete_job(self, command: DeleteJob) -> None:
        """See Engine."""
        await self._carry_out(command)

    async def readiness(self) -> Readiness:
        """See Engine."""
        trouble = self._committer.trouble
        durability = f"interval ({self._interval_ms()} ms)" if self.sync_interval else "commit"
        return Readiness(ready=trouble is None, reason=str(trouble or ""), durability=durability)

    async def stats(self) -> Stats:
        """See Engine."""
        queues = self._tables.queues
        return Stats(
            jobs={name: {state: table.counts[state] for state in State} for name, table in queues.items()},
            commits=self._totals["commits"],
            records=self._totals["records"],
            record_bytes=self._totals["bytes"],
            syncs=self.journal.syncs,
            sync_seconds=self.journal.sync_seconds,
            file_bytes=self.journal.size,
            live_bytes=self._tables.live_bytes,
            compactions=self._compaction.done,
            compactions_given_up=self._compaction.given_up,
        )

    # The way of a command

    async def _carry_out(self, command: Command) -> Any:
        """The answer to a command, once nothing that it shows could be taken back by a crash."""
        while True:
            changed, result = self._decide(command)
            try:
                await self._durable()
            except Full:
                if changed:
                    raise
                # A read had seen what found no room and is out of sight now: look again.
                continue
            if isinstance(result, DomainError):
                raise result
            return result

    def _decide(self, command: Command) -> tuple[bool, Any]:
        """Whether the command changed anything, and its answer or its DomainError; raises Unavailable."""
        now = self.now()
        self._expire(now)
        try:
            facts, answer = decide(self._tables, command, now, self.new_id)
        except DomainError as error:
            return False, error
        if facts:
            self._admit()
            self._commit(facts)
        return bool(facts), answer

    async def _durable(self) -> None:
        try:
            waiting = self._committer.durable()
            if waiting is not None:
                await waiting
        except StorageError as error:
            raise _for_client(error) from None

    def _admit(self) -> None:
        try:
            self._committer.admit()
        except StorageError as error:
            raise _for_client(error) from None

    def _commit(self, facts: Sequence[Fact]) -> None:
        # Encoding comes first: if it can fail, it fails before anything is changed.
        records = [encode(fact) for fact in facts]
        change = _Change(facts, [self._tables.apply(fact) for fact in facts])
        self._committer.submit(records, change)
        self._set_timer()

    # Time

    def _expire(self, now: int) -> None:
        """Make true what time alone has brought about."""
        if self._committer.phase is Phase.FAILED:
            return
        while facts := expire(self._tables, now, _EXPIRY_SLICE):
            self._commit(facts)

    def _wake(self) -> None:
        self._timer = None
        self._expire(self.now())
        self._set_timer()

    def _set_timer(self) -> None:
        """Have the timer go off at the earliest deadline, or before."""
        if not self._tables.deadlines or not self.running or self._committer.phase is Phase.FAILED:
            return
        wait = max(0.0, min((self._tables.deadlines[0][0] - self.now()) / 1000, _LONGEST_WAIT))
        if self._timer is None:
            self._timer = self.clock.callLater(wait, self._wake)
        elif self._timer.getTime() > self.clock.seconds() + wait:
            self._timer.reset(wait)

    # Storage

    def _recover(self) -> None:
        for records in self.journal.open(self.secret(), self.now()):
            self._replay(records)
        torn = self.journal.torn
        if torn is not None:
            self._log.warn(
                "a crash had cut the last write short; its {n} bytes are in {path}", n=torn.length, path=torn.copy
            )
        if not self.journal.clean:
            self._log.info("the database was not closed in good order: writing it anew")
            self.journal.rewrite(encoded_snapshot(self._tables))

    def _replay(self, records: Sequence[bytes]) -> None:
        for record in records:
            try:
                self._tables.apply(decode(record))
            except UnknownRecord as error:
                raise NewerFormat(
                    f"{self.journal.path}: {error} is not known to this JobEngine; use a newer one"
                ) from None

    def _take_back(self, changes: list[_Change]) -> None:
        for change in reversed(changes):
            for before in reversed(change.befores):
                self._tables.restore(before)

    def _make_true_again(self, changes: list[_Change]) -> None:
        for change in changes:
            change.befores[:] = [self._tables.apply(fact) for fact in change.facts]
        self._set_timer()

    def _written(self, records: int, size: int) -> None:
        if records:
            self._totals.update(commits=1, records=records, bytes=size)
        self._compaction.after_write()

    def _interval_ms(self) -> int:
        return round(self.sync_interval * 1000)


def _for_client(error: StorageError) -> Exception:
    if isinstance(error, NoRoom):
        return Full(
            "The disk has no room for the change. It was not made now; it may still be made when there is room, so "
            "look before you repeat it. Reads are answered."
        )
    if isinstance(error, Backlog):
        return Busy("More changes are waiting to be written than may wait; this one was not made. Try again.")
    return OutcomeUnknown(
        "Storage has failed and the server is stopping: the change may or may not be there when it is back. Look "
        "before you repeat it."
    )
