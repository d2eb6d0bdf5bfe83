"""The engine on one machine: tables in memory, and a journal in one file."""

from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from functools import partial
from typing import Any, Final, TypeVar

from attrs import define, field
from msgspec.structs import replace
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from ...core import commands as c
from ...core.access import authorise
from ...core.errors import DomainError, QueueNotFound
from ...core.model import EventBatch, Job, Rank
from ...core.tables import NewId
from ...core.wall_time import shown
from ...storage.committer import Phase
from ...storage.errors import StorageError
from ...storage.journal import Journal
from ...storage.prefix import Prefix
from ..door import Busy, Figure, Readiness
from ..sweeps import sweep, update_matching
from ..threads import Thread
from ..waiting_line import NO_JOBS, Done, Outcome
from ..waits import Waits
from .compaction import PAUSE, SLACK
from .executor import Executor
from .sort_indexes import SortIndexes
from .stats import figures_of
from .tables.queue_scan import View

__all__ = ["LocalEngine"]

A = TypeVar("A")
#: How many queues may be read whole at a time: each keeps up to eight bytes a job, and the places of removed jobs.
_MOST_VIEWS: Final = 32
#: Backups that are made at a time.
_MOST_BACKUPS: Final = 4


@define(kw_only=True, eq=False)
class LocalEngine:
    """The Engine (see jobengine.engine.door) that keeps its jobs in memory and in one encrypted file."""

    #: The file.
    journal: Journal
    #: Gives the SECRET when the file is opened; it is not kept.
    secret: Callable[[], bytes]
    #: The thread that writes the journal.
    thread: Thread
    #: Where backups are read: a slow read keeps no commit waiting.
    reader: Thread
    #: Timers, the end of a reactor turn, and the monotonic clock.
    clock: IReactorTime
    #: The wall clock, in milliseconds since the epoch.
    now: Callable[[], int]
    #: See NewId.
    new_id: NewId
    #: Called once when storage has failed permanently; the process should end.
    on_failure: Callable[[StorageError], None]
    #: Seconds between syncs, or 0 for a sync at every commit.
    sync_interval: float = 0
    #: Bytes of records that may wait for a write.
    max_backlog: int = 64 << 20
    #: See Compaction.
    compaction_slack: int = SLACK
    compaction_pause: float = PAUSE
    #: Carries out the commands; public for the tests of this engine alone.
    executor: Executor = field(init=False)
    _sort_indexes: SortIndexes = field(init=False)
    #: How many queues are being read whole now.
    _views: int = field(default=0, init=False)
    #: How many backups are being made now.
    _backups: int = field(default=0, init=False)
    #: Fires when the database was read, or reading it has failed.
    _start_over: "Deferred[None]" = field(factory=lambda: succeed(None), init=False)
    #: Whether to stop reading the database.
    _stopping: bool = field(default=False, init=False)
    _waits: Waits = field(init=False)
    _log: Logger = field(factory=Logger, init=False)

    def __attrs_post_init__(self) -> None:
        self.executor = Executor(
            journal=self.journal,
            thread=self.thread,
            clock=self.clock,
            now=self.now,
            new_id=self.new_id,
            on_failure=self.on_failure,
            sync_interval=self.sync_interval,
            max_backlog=self.max_backlog,
            compaction_slack=self.compaction_slack,
            compaction_pause=self.compaction_pause,
        )
        self._sort_indexes = SortIndexes(self.clock)
        executor = self.executor
        self._waits = Waits(self.clock, executor.activity.claim_log, executor.waiters.ends, executor.timeline.elapsed)

    # Its life

    def open(self) -> None:
        """See Engine; raises StorageError or OSError."""
        try:
            if self.journal.lock():
                self.journal.open(self.secret())
        except BaseException:
            self.journal.close(orderly=False)
            raise

    def start(self) -> "Deferred[None]":
        """See Engine; raises StorageError or OSError. A new file is made at once."""
        self._start_over = Deferred()
        return Deferred.fromCoroutine(self._start())

    async def _start(self) -> None:
        self.thread.start()
        self.reader.start()
        try:
            if self.journal.opened:
                await self._recover()
            else:
                self.journal.make(self.secret())
                self._log.info("{database} is new", database=self.journal.path)
            if not self._stopping:
                self._begin()
        except BaseException:
            self.journal.close(orderly=False)
            raise
        finally:
            self._start_over.callback(None)

    async def _recover(self) -> None:
        """Read the file back in slices, and confirm it; breaks off if the engine is stopped."""
        began = told = self.clock.seconds()
        for _ in self.executor.read_back():
            await deferLater(self.clock, 0)
            if self._stopping:
                return
            if self.clock.seconds() - told >= 1:
                told = self.clock.seconds()
                self._log.info("{progress}", progress=self.executor.progress)
        await self.thread(self.journal.confirm)
        queues = self.executor.tables.queues
        self._log.info(
            "{database} has {jobs} jobs in {queues} queues; it was read back in {seconds:.2f} s",
            database=self.journal.path,
            jobs=sum(table.size() for table in queues.values()),
            queues=len(queues),
            seconds=self.clock.seconds() - began,
        )

    def _begin(self) -> None:
        if self.sync_interval:
            self._log.warn("DURABILITY=interval: the last {ms} ms can be lost in a power cut", ms=self._interval_ms())
        self.executor.start()

    def wall_clock_was_set(self) -> None:
        """See Engine."""
        self.executor.wall_clock_was_set()

    def abandon(self) -> None:
        """See Engine."""
        self.journal.close(orderly=False)

    def release(self) -> None:
        self._waits.release()
        self.executor.feed.end()

    def stop(self) -> "Deferred[None]":
        """See Engine."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self.release()
        self._sort_indexes.stop()
        self.reader.stop()
        self._stopping = True
        await self._start_over
        if not self.executor.started:
            self.journal.close(orderly=False)
            self.thread.stop()
            return
        await self.executor.stop()
        committer = self.executor.committer
        orderly = committer.phase is Phase.IDLE
        committer.close()
        try:
            await self.thread(lambda: self.journal.close(orderly=orderly))
        except (OSError, StorageError):
            self._log.failure("the database was not closed in good order; it is checked at the next start")
        self.thread.stop()

    async def readiness(self) -> Readiness:
        """See Engine."""
        trouble = self.executor.committer.trouble
        durability = f"interval ({self._interval_ms()} ms)" if self.sync_interval else "commit"
        if not self.executor.started:
            return Readiness(ready=False, reason=self.executor.progress, durability=durability, started=False)
        return Readiness(ready=trouble is None, reason=str(trouble or ""), durability=durability)

    async def figures(self) -> Sequence[Figure]:
        """See Engine."""
        self.executor.check_started()
        return figures_of(self.executor)

    # Plain questions

    async def ask(self, command: c.Command[A]) -> A:
        """See Engine."""
        while True:
            while type(command) is c.ListJobs and self._is_unsorted(command):
                await deferLater(self.clock, 0)
            while self.executor.is_behind(command):
                await deferLater(self.clock, 0)
            outcome = self.executor.execute(command)
            if await self.executor.durable(changed=outcome.changed):
                answer, ahead = outcome.get(), self.executor.tables.ahead
                return shown(answer, ahead) if ahead else answer

    def _is_unsorted(self, command: c.ListJobs) -> bool:
        """
        Build a slice of the index for a list; returns whether it is incomplete.

        A caller that may not list builds none.
        """
        self.executor.check_started()
        table = self.executor.tables.queues.get(command.queue)
        if command.sort is None or table is None or not self._is_open(command):
            return False
        return self._sort_indexes.lack(table, command.sort)

    # What waits

    def claim(self, command: c.Claims) -> Coroutine[Any, Any, c.ClaimResult]:
        """See Engine."""
        return self._take(command, 0 if command.updates else command.wait)

    async def peek(self, command: c.Peek) -> Job | None:
        """See Engine."""
        taken = await self._take(command, command.wait)
        return taken.jobs[0].job if taken.jobs else None

    async def read_job(self, command: c.ReadJob) -> Job:
        """See Engine."""
        return await self._waits.read_job(self, command, self._finished)

    async def _finished(self, end: "Deferred[Job | None]", until: float) -> Job | None:
        job = await self._waits.in_time(end, until, None)
        # Woken by a commit, so go on when that is on disk.
        await self.executor.durable(changed=False)
        return shown(job, self.executor.tables.ahead)

    async def _take(self, command: c.Claims | c.Peek, wait: float) -> c.ClaimResult:
        """Claim or peek at jobs, or wait this many seconds for some."""
        until = self._waits.until(wait)
        outcome: Outcome[c.ClaimResult] = NO_JOBS
        try:
            while True:
                while self.executor.is_behind(command):
                    await deferLater(self.clock, 0)
                outcome = self.executor.take(command)
                if wait and _is_empty(outcome) and self._waits.may_wait(until):
                    outcome = await self._waits.in_line(command, until)
                if await self.executor.durable(changed=outcome.changed):
                    answer, ahead = outcome.get(), self.executor.tables.ahead
                    return shown(answer, ahead) if ahead else answer
        except CancelledError:
            # The caller has disconnected and would not work on these jobs.
            if outcome.changed:
                self.executor.put_back(outcome.get().jobs)
            raise

    # Changes in slices

    async def update_matching(self, command: c.UpdateMatching) -> int:
        """See Engine."""
        return await update_matching(self, self.clock, command)

    async def delete_matching(self, command: c.DeleteMatching) -> int:
        """See Engine."""
        return await sweep(self, self.clock, command)

    # What streams

    async def read_queue(self, command: c.ListJobs) -> AsyncGenerator[Sequence[Job], None]:
        """See Engine; raises Busy if too many are being read."""
        await self.ask(replace(command, limit=1, scan=1))
        return self._pages(command)

    async def _pages(self, command: c.ListJobs) -> AsyncGenerator[Sequence[Job], None]:
        view = self._view(command)
        try:
            ranks = view.take(command.limit)
            while ranks:
                jobs = await self._still_there(command, view, ranks)
                if jobs:
                    yield jobs
                ranks = view.take(command.limit)
                if ranks:
                    await deferLater(self.clock, 0)
        finally:
            self._views -= 1
            view.close()

    def _view(self, command: c.ListJobs) -> View:
        table = self.executor.tables.queues.get(command.queue)
        if table is None:
            raise QueueNotFound(command.queue)
        if self._views >= _MOST_VIEWS:
            raise Busy("As many queues are being read as may be at a time; this one was not begun. Try again.")
        self._views += 1
        return View(table)

    async def _still_there(self, command: c.ListJobs, view: View, ranks: Sequence[Rank]) -> list[Job]:
        """The jobs of a view at these places, as they are on disk."""
        while True:
            while self.executor.is_behind(command):
                await deferLater(self.clock, 0)
            if self.executor.tables.queues.get(command.queue) is not view.table:
                raise QueueNotFound(command.queue)
            jobs = view.jobs(ranks)
            if await self.executor.durable(changed=False):
                return shown(jobs, self.executor.tables.ahead)

    async def watch(self, command: c.Subscribe) -> AsyncGenerator[Sequence[EventBatch] | None, None]:
        """See Engine."""
        await self.ask(command)
        return self._events(command)

    async def _events(self, command: c.Subscribe) -> AsyncGenerator[Sequence[EventBatch] | None, None]:
        feed = self.executor.feed
        # Its queue may have been deleted since: then nothing would end the stream.
        if self._waits.released or not self._is_open(command):
            return
        watcher = feed.watch(command.queue, command.after)
        try:
            if watcher.gone:
                yield None
            while (batches := await watcher.next()) is not None and self._is_open(command):
                yield batches
                if watcher.behind:
                    # There may be many: let others in between.
                    await deferLater(self.clock, 0)
        finally:
            feed.leave(watcher)

    async def backup(self) -> AsyncGenerator[bytes, None]:
        """See Engine: the whole frames that the file has."""
        self.executor.check_started()
        if self._backups >= _MOST_BACKUPS:
            raise Busy("As many backups are being made as may be at a time; this one was not begun. Try again.")
        return self._pieces()

    async def _pieces(self) -> AsyncGenerator[bytes, None]:
        self._backups += 1
        try:
            prefix = await self._prefix()
            try:
                position = 0
                while piece := await self.reader(partial(prefix.read, position)):
                    position += len(piece)
                    yield piece
            finally:
                prefix.close()
        finally:
            self._backups -= 1

    def _prefix(self) -> "Deferred[Prefix]":
        """What the file has now; it is closed if the caller has left before it came."""
        waiting: Deferred[Prefix] = Deferred()

        def made(prefix: Prefix) -> None:
            """Hand it over, or close it."""
            if waiting.called:
                prefix.close()
            else:
                waiting.callback(prefix)

        # On the thread that writes, where no frame is half written.
        self.thread(self.journal.prefix).addCallbacks(made, waiting.errback)
        return waiting

    def _is_open(self, command: c.QueueCommand[A]) -> bool:
        """Whether the key still opens the queue: it may have been revoked since the stream began."""
        table, now = self.executor.tables.queues.get(command.queue), self.executor.timeline.elapsed()
        try:
            return table is not None and authorise(table.queue, command, now) is not None
        except DomainError:
            return False

    def _interval_ms(self) -> int:
        return round(self.sync_interval * 1000)


def _is_empty(outcome: Outcome[c.ClaimResult]) -> bool:
    return isinstance(outcome, Done) and not outcome.answer.jobs
