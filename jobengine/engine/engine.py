"""The engine on one machine: tables in memory, and a journal in one file."""

from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final, TypeVar, cast

from attrs import define, field
from msgspec.structs import replace
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from ..core import commands as c
from ..core.errors import QueueNotFound
from ..core.failures import failure_of
from ..core.flow import Flow
from ..core.model import Job, Queue, Rank
from ..core.wall_time import shown
from ..storage.backup_reader import BackupReader
from ..storage.errors import FileChanged, StorageError
from ..storage.journal import Journal
from .door import Busy, Figure, Readiness, Watched
from .event_feed import Feed
from .executor import Executor
from .index_builder import IndexBuilder
from .line_mover import LineMover
from .stats import figures_of
from .sweeps import move_matching, sweep, update_matching
from .tables.queue_scan import QueueScan
from .tables.queue_table import QueueTable
from .tables.state import Tables
from .tables.turns import FOUND_AT_ONCE
from .threads import Thread
from .waiting_line import NO_JOBS, Done, Outcome
from .waits import Waits

A = TypeVar("A")
#: How many reads of whole queues may run at the same time. Each keeps up to eight bytes a job, and the ranks of removed
#: jobs.
_MOST_SCANS: Final = 32
#: How many backups may run at the same time.
_MOST_BACKUPS: Final = 4
#: How many jobs are indexed by group at a time, which takes one or two milliseconds.
_PREPARED_AT_ONCE: Final = 500


@define(kw_only=True, eq=False)
class Engine:
    """The Door (see jobengine.engine.door) that keeps its jobs in memory and in one encrypted file."""

    #: Carries out the commands.
    executor: Executor
    #: Returns the SECRET when the file is opened; the SECRET is not kept.
    secret: Callable[[], bytes]
    #: The thread that reads backups: a slow read delays no commit.
    reader: Thread
    journal: Journal = field(init=False)
    _thread: Thread = field(init=False)
    _clock: IReactorTime = field(init=False)
    _tables: Tables = field(init=False)
    _feed: Feed = field(init=False)
    _waits: Waits = field(init=False)
    _index_builder: IndexBuilder = field(init=False)
    _line_mover: LineMover = field(init=False)
    #: How many reads of whole queues are running.
    _scans: int = field(default=0, init=False)
    #: How many backups are running.
    _backups: int = field(default=0, init=False)
    #: Fires when reading the database has ended: with success, with an error, or because the engine is stopped.
    _start_over: "Deferred[None]" = field(factory=lambda: succeed(None), init=False)
    #: Whether to stop reading the database.
    _stopping: bool = field(default=False, init=False)
    _log: Logger = field(factory=Logger, init=False)

    def __attrs_post_init__(self) -> None:
        executor = self.executor
        self.journal, self._thread, self._clock = executor.journal, executor.thread, executor.clock
        self._tables, self._feed, self._waits = executor.tables, executor.feed, executor.waits
        self._index_builder = IndexBuilder(self._clock)
        self._line_mover = LineMover(self, self._clock)

    # Start and stop

    def open(self) -> None:
        """Raises StorageError or OSError. Makes no file: `start` does, once the rest of the server has started."""
        if self.journal.exists and not self._open():
            # The file was removed just now.
            self.journal.close(orderly=False)

    def _open(self) -> bool:
        """Lock the file, and open it if it exists; returns whether it does."""
        try:
            if there := self.journal.lock():
                self.journal.open(self.secret())
        except BaseException:
            self.journal.close(orderly=False)
            raise
        return there

    def start(self) -> "Deferred[None]":
        """Raises StorageError or OSError. A new file is made at once."""
        self._start_over = Deferred()
        return Deferred.fromCoroutine(self._start())

    async def _start(self) -> None:
        self._thread.start()
        self.reader.start()
        try:
            if self.journal.opened or self._open():
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
        """Read the database file back, a part in each reactor turn, and sync it; stop if the engine is stopped."""
        began = logged = self._clock.seconds()
        for _ in self.executor.read_back():
            await deferLater(self._clock, 0)
            if self._stopping:
                return
            if self._clock.seconds() - logged >= 1:
                logged = self._clock.seconds()
                self._log.info("{progress}", progress=self.executor.progress)
        await self._thread(self.journal.confirm)
        queues = self._tables.queues
        self._log.info(
            "{database} was read back in {seconds:.2f} s; jobs: {jobs}, queues: {queues}",
            database=self.journal.path,
            jobs=sum(table.size() for table in queues.values()),
            queues=len(queues),
            seconds=self._clock.seconds() - began,
        )

    def _begin(self) -> None:
        if self.executor.sync_interval:
            self._log.warn("DURABILITY=interval: the last {ms} ms can be lost in a power cut", ms=self._interval_ms())
        self.executor.start()
        for table in [*self._tables.queues.values()]:
            self._line_mover.begin(table.queue)

    def wall_clock_was_set(self) -> None:
        self.executor.wall_clock_was_set()

    def abandon(self) -> None:
        self.journal.close(orderly=False)

    def release(self) -> None:
        self._waits.release()
        self._feed.end()

    def stop(self) -> "Deferred[None]":
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self.release()
        self._index_builder.stop()
        self._line_mover.stop()
        self.reader.stop()
        self._stopping = True
        await self._start_over
        if not self.executor.started:
            self.journal.close(orderly=False)
            self._thread.stop()
            return
        orderly = await self.executor.stop()
        try:
            await self._thread(lambda: self.journal.close(orderly=orderly))
        except (OSError, StorageError):
            self._log.failure("the database was not closed in good order; it is checked at the next start")
        self._thread.stop()

    async def readiness(self) -> Readiness:
        durability = f"interval ({self._interval_ms()} ms)" if self.executor.sync_interval else "commit"
        if not self.executor.started:
            return Readiness(ready=False, reason=self.executor.progress, durability=durability, started=False)
        trouble = self.executor.trouble
        return Readiness(ready=trouble is None, reason=str(trouble or ""), durability=durability)

    async def check_storage(self) -> None:
        checked = self.executor.committer.check() if self.executor.started else None
        if checked is not None:
            with suppress(StorageError):
                await checked

    async def figures(self) -> Sequence[Figure]:
        self.executor.check_started()
        return figures_of(self.executor)

    # Commands without waiting

    async def ask(self, command: c.Command[A]) -> A:
        is_unprepared = _PREPARING.get(type(command), Engine._is_unprepared)
        while True:
            while is_unprepared(self, command):
                await deferLater(self._clock, 0)
            if type(command) is c.ListGroups:
                command = cast(c.Command[A], await self._with_groups(command))
            while self.executor.is_behind(command):
                await deferLater(self._clock, 0)
            outcome = self.executor.execute(command)
            if await self.executor.durable(changed=outcome.changed):
                answer, ahead = outcome.get(), self._tables.ahead
                if type(command) is c.ChangeQueue:
                    self._line_mover.begin(cast(Queue, answer))
                return shown(answer, ahead) if ahead else answer

    async def _with_groups(self, command: c.ListGroups) -> c.ListGroups:
        """The command with the groups that it lists, found in slices if there are many."""
        self.executor.check_started()
        table = self._tables.queues.get(command.queue)
        if table is None or table.turns is None or len(table.turns.groups) <= FOUND_AT_ONCE:
            return command
        if not self.executor.allows(command):
            return command
        found: Sequence[tuple[int, str]] = ()
        steps = table.turns.find(command.sort, command.after, command.limit + 1)
        while (step := next(steps, None)) is not None:
            found = step
            await deferLater(self._clock, 0)
        return replace(command, found=found)

    def _is_unsorted(self, command: c.ListJobs) -> bool:
        """
        Add some jobs to the index that a list sorted by time needs; returns whether jobs are still missing from the
        index.

        Nothing is built for a caller that may not list the queue.
        """
        self.executor.check_started()
        table = self._tables.queues.get(command.queue)
        if command.sort is None or table is None or not self.executor.allows(command):
            return False
        return self._index_builder.build_slice(table, command.sort)

    def _are_failures_unread(self, command: c.ListFailures | c.CountFailures | c.ExplainJob) -> bool:
        """
        Index some failures, unless the command is about a job that has not failed; returns whether the index still
        lacks jobs.
        """
        self.executor.check_started()
        table = self._tables.queues.get(command.queue)
        if table is None or not self.executor.allows(command):
            return False
        if type(command) is c.ExplainJob:
            job = table.job(command.uid)
            if job is None or failure_of(job) is None:
                return False
        return self._index_builder.build_failures(table)

    def _is_unprepared(self, command: c.Command[Any]) -> bool:
        """
        Index some jobs by group if the command changes the order of groups of its queue; returns whether jobs are
        still missing from the index.
        """
        if not isinstance(command, c.QueueCommand):
            return False
        table = self._tables.queues.get(command.queue)
        if table is None or (flow := command.flow_after(table.queue)) is None:
            return False
        return self._are_groups_unread(table, flow, command)

    def _is_target_unprepared(self, command: c.MoveJobs) -> bool:
        """Like `_is_unprepared`, for the queue to which jobs are moved."""
        source, table = (self._tables.queues.get(name) for name in (command.queue, command.to))
        if source is None or table is None or (flow := command.flow_after(source, table.queue)) is None:
            return False
        return self._are_groups_unread(table, flow, command)

    def _are_groups_unread(self, table: QueueTable, flow: Flow, command: c.Command[Any]) -> bool:
        """Index some jobs by group for the flow that the queue will have; returns whether jobs are still missing."""
        is_known = table.turns is not None and table.turns.has_shape(flow)
        if len(table.jobs) <= _PREPARED_AT_ONCE or is_known or not self.executor.allows(command):
            return False
        return table.flow.prepare(flow, _PREPARED_AT_ONCE)

    # Commands that may wait

    def claim(self, command: c.Claims) -> Coroutine[Any, Any, c.ClaimResult]:
        return self._update_and_take(command) if command.updates else self._take(command, command.wait)

    async def _update_and_take(self, command: c.Claims) -> c.ClaimResult:
        """Update and claim, without waiting for jobs."""
        for part in command.update_commands():
            while self._is_unprepared(part):
                await deferLater(self._clock, 0)
        return await self._take(command, 0)

    async def peek(self, command: c.Peek) -> Job | None:
        taken = await self._take(command, command.wait)
        return taken.jobs[0].job if taken.jobs else None

    async def read_job(self, command: c.ReadJob) -> Job:
        return await self._waits.read_job(self, command, self._finished)

    async def _finished(self, end: "Deferred[Job | None]", until: float) -> Job | None:
        job = await self._waits.in_time(end, until, None)
        # A commit has woken this request, so wait until that commit is on disk.
        await self.executor.durable(changed=False)
        return shown(job, self._tables.ahead)

    async def _take(self, command: c.Claims | c.Peek, wait: float) -> c.ClaimResult:
        """Claim or peek at jobs; if there are none, wait up to `wait` seconds for some."""
        until = self._waits.until(wait) if wait else 0
        outcome: Outcome[c.ClaimResult] = NO_JOBS
        try:
            while True:
                while self.executor.is_behind(command):
                    await deferLater(self._clock, 0)
                outcome = self.executor.execute_claim(command)
                if wait and _is_empty(outcome) and self._waits.may_wait(until):
                    outcome = await self._waits.in_line(command, until)
                if await self.executor.durable(changed=outcome.changed):
                    answer, ahead = outcome.get(), self._tables.ahead
                    return shown(answer, ahead) if ahead else answer
        except CancelledError:
            # The caller has disconnected and would not work on these jobs.
            if outcome.changed:
                self.executor.put_back(outcome.get().jobs)
            raise

    # Changes in slices

    async def move_matching(self, command: c.MoveMatching) -> c.Moved:
        return await move_matching(self, self._clock, command)

    async def update_matching(self, command: c.UpdateMatching) -> int:
        return await update_matching(self, self._clock, command)

    async def delete_matching(self, command: c.DeleteMatching) -> int:
        return await sweep(self, self._clock, command)

    # Streams

    async def read_queue(self, command: c.ListJobs) -> AsyncGenerator[Sequence[Job], None]:
        """Raises Busy if too many reads are running."""
        await self.ask(replace(command, limit=1, scan=1))
        return self._pages(command)

    async def _pages(self, command: c.ListJobs) -> AsyncGenerator[Sequence[Job], None]:
        scan = self._scan(command)
        try:
            ranks = scan.take(command.limit)
            while ranks:
                jobs = await self._still_there(command, scan, ranks)
                if jobs:
                    yield jobs
                ranks = scan.take(command.limit)
                if ranks:
                    await deferLater(self._clock, 0)
        finally:
            self._scans -= 1
            scan.close()

    def _scan(self, command: c.ListJobs) -> QueueScan:
        table = self._tables.queues.get(command.queue)
        if table is None:
            raise QueueNotFound(command.queue)
        if self._scans >= _MOST_SCANS:
            raise Busy("Too many reads of whole queues are running; this one was not started. Try again.")
        self._scans += 1
        return QueueScan(table)

    async def _still_there(self, command: c.ListJobs, scan: QueueScan, ranks: Sequence[Rank]) -> list[Job]:
        """The jobs of a scan with these ranks that still exist, as they are on disk."""
        while True:
            while self.executor.is_behind(command):
                await deferLater(self._clock, 0)
            if self._tables.queues.get(command.queue) is not scan.table:
                raise QueueNotFound(command.queue)
            jobs = scan.jobs(ranks)
            if await self.executor.durable(changed=False):
                return shown(jobs, self._tables.ahead)

    async def watch(self, command: c.Subscribe) -> AsyncGenerator[Watched, None]:
        await self.ask(command)
        return self._events(command)

    async def _events(self, command: c.Subscribe) -> AsyncGenerator[Watched, None]:
        # The queue may have been deleted meanwhile: then nothing would end the stream.
        if self._waits.released or not self.executor.allows(command):
            return
        watcher = self._feed.watch(command.queue, command.after)
        try:
            if watcher.gone:
                yield None
            yield watcher.start
            while (batches := await watcher.next()) is not None and self.executor.allows(command):
                yield batches
                if watcher.behind:
                    # There may be many events: let other requests run in between.
                    await deferLater(self._clock, 0)
        finally:
            self._feed.leave(watcher)

    async def backup(self) -> AsyncGenerator[bytes, None]:
        self.executor.check_started()
        if self._backups >= _MOST_BACKUPS:
            raise Busy("Too many backups are running; this one was not started. Try again.")
        return self._pieces()

    async def _pieces(self) -> AsyncGenerator[bytes, None]:
        self._backups += 1
        try:
            try:
                backup_reader = await self._backup_reader()
            except FileChanged as error:
                raise Busy(f"No backup was made: {error}.") from None
            try:
                position = 0
                while piece := await self.reader(partial(backup_reader.read, position)):
                    position += len(piece)
                    yield piece
            finally:
                backup_reader.close()
        finally:
            self._backups -= 1

    def _backup_reader(self) -> "Deferred[BackupReader]":
        """A reader of the file as it is now. If the caller leaves before the reader is made, the reader is closed."""
        waiting: Deferred[BackupReader] = Deferred()

        def made(backup_reader: BackupReader) -> None:
            """Pass the reader on, or close it if the caller has left."""
            if waiting.called:
                backup_reader.close()
            else:
                waiting.callback(backup_reader)

        # On the writer thread: between its calls, no frame is half written.
        self._thread(self.journal.backup_reader).addCallbacks(made, waiting.errback)
        return waiting

    def _interval_ms(self) -> int:
        return round(self.executor.sync_interval * 1000)


def _is_empty(outcome: Outcome[c.ClaimResult]) -> bool:
    return isinstance(outcome, Done) and not outcome.answer.jobs


#: For types of commands that need an index: the function that builds a slice of the index, and returns whether more is
#: missing. For all other types it is Engine._is_unprepared.
_PREPARING: Final[dict[type, Callable[[Engine, Any], bool]]] = {
    c.ListJobs: Engine._is_unsorted,
    c.MoveJobs: Engine._is_target_unprepared,
    **dict.fromkeys((c.ListFailures, c.CountFailures, c.ExplainJob), Engine._are_failures_unread),
}
