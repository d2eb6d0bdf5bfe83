"""The engine on one machine: the ledger for what is true and kept, and those who wait for something to become so."""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Protocol

from attrs import define, field
from msgspec.structs import replace
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, inlineCallbacks
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from ..core import commands as c
from ..core.access import authorise
from ..core.errors import DomainError, JobNotFound
from ..core.facts import JobChanged
from ..core.model import FINISHED, AccessKey, Job, JobEvent, Queue, QueueStats, Standing, State
from ..core.rules import NewId
from ..core.state import JobSwap
from ..storage.committer import Phase, Run
from ..storage.errors import StorageError
from ..storage.journal import Journal
from .door import Readiness, Stats, Unavailable
from .executor import Ledger
from .waiters import ClaimWaiter, ClaimWaiters, FinishWaiters, in_time

__all__ = ["LocalEngine", "Thread"]


class Thread(Run, Protocol):
    """The thread that owns the journal; see jobengine.storage.thread.WriterThread."""

    def start(self) -> None:
        """Begin to run calls."""

    def stop(self) -> None:
        """Run what was given, then end."""


@define(kw_only=True, eq=False)
class LocalEngine(Service):
    """The Engine (see jobengine.engine.door) that keeps its jobs in memory and in one encrypted file."""

    #: The file.
    journal: Journal
    #: Gives the SECRET when the file is opened; it is not kept.
    secret: Callable[[], bytes]
    #: Where the journal is written.
    thread: Thread
    #: Timers and the end of a reactor turn. Its seconds must go on steadily, whatever is done to the time of day.
    clock: IReactorTime
    #: The time of day, in milliseconds since the epoch.
    now: Callable[[], int]
    #: See NewId.
    new_id: NewId
    #: Told once when storage has failed for good: the process should end.
    on_failure: Callable[[StorageError], None]
    #: Seconds between syncs, or 0 for a sync at every commit.
    sync_interval: float = 0
    #: Bytes of records that may wait for a write.
    max_backlog: int = 64 << 20
    _ledger: Ledger = field(init=False)
    _claimers: ClaimWaiters = field(factory=ClaimWaiters, init=False)
    _awaiters: FinishWaiters = field(factory=FinishWaiters, init=False)
    #: Queues in which there may be something new for those who wait, and those that were set up otherwise or are gone.
    _stirred: dict[str, None] = field(factory=dict, init=False)
    _set_up: dict[str, None] = field(factory=dict, init=False)
    #: Jobs that are finished, or gone (None), of which those who wait for them are still to hear.
    _ended: list[tuple[str, str, Job | None]] = field(factory=list, init=False)
    #: Those who wait are being served; what that brings about is for the same round.
    _serving: bool = field(default=False, init=False)
    #: Nobody may wait any more.
    _released: bool = field(default=False, init=False)
    _log: Logger = field(factory=Logger, init=False)

    def __attrs_post_init__(self) -> None:
        self._ledger = Ledger(
            journal=self.journal,
            thread=self.thread,
            clock=self.clock,
            now=self.now,
            new_id=self.new_id,
            on_failure=self.on_failure,
            observer=self,
            sync_interval=self.sync_interval,
            max_backlog=self.max_backlog,
        )

    # Service

    def startService(self) -> None:
        """Read the database back, blocking until it is done; raises StorageError or OSError."""
        began = self.clock.seconds()
        try:
            self._ledger.recover(self.secret)
        except BaseException:
            self.journal.close(orderly=False)
            raise
        queues = self._ledger.tables.queues
        self._log.info(
            "{database} has {jobs} jobs in {queues} queues; it was read back in {seconds:.2f} s",
            database=self.journal.path,
            jobs=sum(len(table.jobs) for table in queues.values()),
            queues=len(queues),
            seconds=self.clock.seconds() - began,
        )
        self.thread.start()
        super().startService()
        if self.sync_interval:
            self._log.warn("DURABILITY=interval: the last {ms} ms can be lost in a power cut", ms=self._interval_ms())
        self._ledger.start()

    def wall_clock_was_set(self) -> None:
        """Let all come about that a wall clock which was set brings about."""
        self._ledger.wall_clock_was_set()

    def abandon(self) -> None:
        """Close the file of an engine that was started, before the reactor runs: the start is not to be."""
        self.journal.close(orderly=True)

    def release(self) -> None:
        """
        Let all go who wait for something that may be long in coming, now or later: their time is over.

        A request that is under way may come to its waiting only after this.
        """
        self._released = True
        self._claimers.end()
        self._awaiters.end()
        self._ledger.feed.end()

    @inlineCallbacks
    def stopService(self) -> "Any":
        """Make the last commit and close the file; a Deferred."""
        super().stopService()
        self.release()
        yield self._ledger.stop()
        committer = self._ledger.committer
        orderly = committer.phase is Phase.IDLE
        committer.close()
        try:
            yield self.thread(lambda: self.journal.close(orderly=orderly))
        except (OSError, StorageError):
            self._log.failure("the database was not closed in good order; it is checked at the next start")
        self.thread.stop()

    # Queues

    async def create_queue(self, command: c.CreateQueue) -> None:
        """See Engine."""
        await self._ledger.carry_out(command)

    async def delete_queue(self, command: c.DeleteQueue) -> None:
        """See Engine."""
        await self._ledger.carry_out(command)

    async def change_queue(self, command: c.ChangeQueue) -> Queue:
        """See Engine."""
        queue: Queue = await self._ledger.carry_out(command)
        return queue

    async def add_key(self, command: c.AddKey) -> AccessKey:
        """See Engine."""
        key: AccessKey = await self._ledger.carry_out(command)
        return key

    async def revoke_key(self, command: c.RevokeKey) -> None:
        """See Engine."""
        await self._ledger.carry_out(command)

    async def list_keys(self, command: c.ListKeys) -> Sequence[AccessKey]:
        """See Engine."""
        queue: Queue = await self._ledger.carry_out(command)
        return queue.keys

    async def read_stats(self, command: c.ReadStats) -> QueueStats:
        """See Engine."""

        def read() -> tuple[bool, QueueStats]:
            self._ledger.decide(command)
            return False, self._ledger.stats_of(command.queue)

        return await self._ledger.settle(read, [command.queue])

    async def list_queues(self) -> Sequence[QueueStats]:
        """See Engine."""

        def read() -> tuple[bool, list[QueueStats]]:
            self._ledger.tick()
            return False, [self._ledger.stats_of(name) for name in sorted(self._ledger.tables.queues)]

        return await self._ledger.settle(read)

    # Jobs

    async def add_jobs(self, command: c.AddJobs) -> Sequence[c.Added]:
        """See Engine."""
        added: Sequence[c.Added] = await self._ledger.carry_out(command)
        return added

    async def read_job(self, command: c.ReadJob) -> Job:
        """See Engine."""
        until = self.clock.seconds() + command.wait
        while True:
            job = await self._read(command, until - self.clock.seconds())
            if job.state in FINISHED or self._released or self.clock.seconds() >= until:
                return job

    async def list_jobs(self, command: c.ListJobs) -> c.Page:
        """See Engine."""
        page: c.Page = await self._ledger.carry_out(command)
        return page

    async def peek(self, command: c.Peek) -> Job | None:
        """See Engine."""
        job: Job | None = await self._ledger.carry_out(command)
        return job

    async def claim(self, command: c.Claims) -> Sequence[c.Claimed]:
        """See Engine."""
        claimed: list[c.Claimed] = []
        waiting: list[Deferred[list[c.Claimed]]] = []

        def attempt() -> tuple[bool, None]:
            if not waiting:
                claimed[:] = self._claim_now(command)
            # To wait begins where nothing was found: what comes while others' changes are written is not missed.
            if not claimed and not waiting and command.wait and not self._released:
                nothing: list[c.Claimed] = []
                waiting.append(in_time(self.clock, self._claimers.add(command), command.wait, nothing))
            return bool(claimed), None

        try:
            await self._ledger.settle(attempt, command.queues)
            if waiting:
                claimed += await waiting[0]
                await self._ledger.settle(lambda: (bool(claimed), None))
        except Exception as error:  # whatever it is, nobody waits any more; it is raised again
            for deferred in waiting:
                deferred.addCallbacks(self._put_back, lambda _: None)
                deferred.cancel()
            if isinstance(error, CancelledError):
                # Whoever asked has gone: nobody would work on them.
                self._put_back(claimed)
            raise
        return claimed

    async def update_job(self, command: c.UpdateJob) -> Job:
        """See Engine."""
        job: Job = await self._ledger.carry_out(command)
        return job

    async def update_jobs(self, command: c.UpdateJobs) -> Sequence[Job | DomainError]:
        """See Engine."""
        outcomes: Sequence[Job | DomainError] = await self._ledger.carry_out(command)
        return outcomes

    async def delete_job(self, command: c.DeleteJob) -> None:
        """See Engine."""
        await self._ledger.carry_out(command)

    async def update_matching(self, command: c.UpdateMatching) -> int:
        """See Engine."""
        if command.changes.priority is None or command.dry_run:
            return await self._sweep(command)
        # More keys may list than may change: this is about the latter, even if nothing matches.
        matched = await self._sweep(replace(command, uids=()))
        uids = await self._matching(command)
        for start in range(0, len(uids), command.limit):
            matched += await self._sweep(replace(command, uids=tuple(uids[start : start + command.limit])))
            await deferLater(self.clock, 0)
        return matched

    async def delete_matching(self, command: c.DeleteMatching) -> int:
        """See Engine."""
        return await self._sweep(command)

    async def explain(self, command: c.ExplainJob) -> c.Explanation:
        """See Engine."""
        explanation: c.Explanation = await self._ledger.carry_out(command)
        return explanation

    async def watch(self, command: c.Subscribe) -> AsyncIterator[Sequence[JobEvent] | None]:
        """See Engine."""
        await self._ledger.carry_out(command)
        return self._events(command)

    # The engine

    async def readiness(self) -> Readiness:
        """See Engine."""
        trouble = self._ledger.committer.trouble
        durability = f"interval ({self._interval_ms()} ms)" if self.sync_interval else "commit"
        return Readiness(ready=trouble is None, reason=str(trouble or ""), durability=durability)

    async def stats(self) -> Stats:
        """See Engine."""
        ledger = self._ledger
        queues = ledger.tables.queues
        return Stats(
            jobs={name: {state: table.count(state) for state in State} for name, table in queues.items()},
            commits=ledger.totals["commits"],
            records=ledger.totals["records"],
            record_bytes=ledger.totals["bytes"],
            syncs=self.journal.syncs,
            sync_seconds=self.journal.sync_seconds,
            file_bytes=self.journal.size,
            live_bytes=ledger.tables.live_bytes,
            compactions=ledger.compaction.done,
            compactions_given_up=ledger.compaction.given_up,
        )

    # Observer of the ledger

    def jobs_changed(self, swaps: Sequence[JobSwap]) -> None:
        """Note who of those who wait is concerned."""
        claimed, awaited = bool(self._claimers), bool(self._awaiters)
        if not claimed and not awaited:
            return
        for swap in swaps:
            old, new = swap.old, swap.new
            if claimed and new is not None and new.ready and not (old is not None and old.ready):
                self._stirred[swap.queue] = None
            if awaited and (new is None or new.state in FINISHED):
                self._ended.append((swap.queue, swap.uid, new))

    def queue_changed(self, queue: str, exists: bool) -> None:
        """A queue may give out jobs again, or never more."""
        self._stirred[queue] = self._set_up[queue] = None

    def changes_made(self) -> None:
        """Serve those who wait, in a step of its own after the change: what they do may change more."""
        if self._serving:
            return
        self._serving = True
        try:
            while self._stirred or self._ended:
                self._tell_of_ends()
                self._serve()
        finally:
            self._serving = False

    # Claiming

    def _claim_now(self, claims: c.Claims) -> list[c.Claimed]:
        """What can be claimed at once; raises before anything is claimed."""
        if len(claims.queues) > 1:
            for name in claims.queues:
                self._ledger.decide(claims.of(name, 0))
        claimed: list[c.Claimed] = []
        for name in claims.queues:
            _, jobs = self._ledger.decide(claims.of(name, claims.count - len(claimed)), admitted=bool(claimed))
            claimed += [c.Claimed(name, job) for job in jobs]
        return claimed

    def _tell_of_ends(self) -> None:
        """Tell those who wait for jobs that they are finished or gone."""
        ended, self._ended = self._ended, []
        for queue, uid, job in ended:
            self._awaiters.tell(queue, uid, job)
        gone = {name for name in self._set_up if self._ledger.table(name) is None}
        self._awaiters.end(gone.__contains__)

    def _serve(self) -> None:
        """Offer jobs to those who wait for the queues that were stirred, in the order in which they came."""
        stirred, self._stirred = self._stirred, {}
        set_up, self._set_up = self._set_up, {}
        for waiter in self._claimers.of(stirred):
            named = [name for name in waiter.claims.queues if name in stirred]
            if any(self._gives(name, waiter.claims.tags) for name in named):
                self._offer(waiter)
            elif not set_up.keys().isdisjoint(named):
                # It may not be opened by the same key any more, or be gone.
                self._offer(waiter, 0)
            elif not set_up and not any(map(self._gives, stirred)):
                break

    def _gives(self, name: str, tags: tuple[str, ...] = ()) -> bool:
        """Whether there are jobs to be claimed."""
        table = self._ledger.table(name)
        return table is not None and not table.queue.paused and next(table.ready_jobs(tags), None) is not None

    def _offer(self, waiter: ClaimWaiter, count: int | None = None) -> None:
        """Give one who waits what there is, be it jobs, at most `count` if it is given, or an error."""
        claims = waiter.claims if count is None else replace(waiter.claims, count=count)
        try:
            claimed = self._claim_now(claims)
        except (DomainError, Unavailable) as error:
            self._claimers.remove(waiter)
            waiter.done.errback(error)
            return
        if claimed:
            self._claimers.remove(waiter)
            waiter.done.callback(claimed)

    def _put_back(self, claimed: Sequence[c.Claimed] | None) -> None:
        """Undo claims: the jobs are queued at their old places, as if nobody had had them."""
        if not claimed or self._ledger.committer.trouble is not None:
            return
        now = self._ledger.tick()
        facts = []
        for one in claimed:
            table = self._ledger.table(one.queue)
            job = None if table is None else table.jobs.get(one.job.spec.uid)
            if job is not None and job.state is State.INPROGRESS and job.standing.lease == one.job.standing.lease:
                attempts = job.standing.attempts - 1
                back = Standing(state=State.QUEUED, updated=now, attempts=attempts, notes=job.standing.notes)
                facts.append(JobChanged(one.queue, job.spec.uid, back))
        self._ledger.commit(facts, now)

    # The rest

    async def _read(self, command: c.ReadJob, seconds: float) -> Job:
        """The job as it is, or when it is finished if that is within so many seconds."""
        waiting: list[Deferred[Job | None]] = []

        def look() -> tuple[bool, Job]:
            _, job = self._ledger.decide(command)
            if seconds > 0 and job.state not in FINISHED and not waiting and not self._released:
                waiting.append(in_time(self.clock, self._awaiters.add(command.queue, command.uid), seconds, None))
            return False, job

        try:
            job = await self._ledger.settle(look, [command.queue])
            finished = await waiting[0] if waiting else None
        except Exception:  # whatever it is, nobody waits any more; it is raised again
            for deferred in waiting:
                deferred.addErrback(lambda _: None)
                deferred.cancel()
            raise
        if finished is not None:
            return await self._ledger.settle(lambda: self._finished(command, finished))
        if waiting:
            job = await self._ledger.carry_out(command)
        return job

    def _finished(self, command: c.ReadJob, finished: Job) -> tuple[bool, Job]:
        """The job as it is now, or as it was when it was finished if it is gone since."""
        try:
            job: Job = self._ledger.decide(command)[1]
        except JobNotFound:
            return False, finished
        return False, job

    async def _sweep(self, command: c.UpdateMatching | c.DeleteMatching) -> int:
        matched = 0
        while True:
            swept: c.Swept = await self._ledger.carry_out(command)
            matched += swept.matched
            if swept.following is None:
                return matched
            command = replace(command, after=swept.following)
            await deferLater(self.clock, 0)

    async def _matching(self, command: c.UpdateMatching) -> list[str]:
        """The uids of the jobs that match now."""
        listing = c.ListJobs(
            queue=command.queue,
            access_key=command.access_key,
            admin=command.admin,
            filter=command.filter,
            limit=command.limit,
        )
        uids: list[str] = []
        while True:
            page = await self.list_jobs(listing)
            uids += [job.spec.uid for job in page.jobs]
            if page.following is None:
                return uids
            listing = replace(listing, after=page.following)
            await deferLater(self.clock, 0)

    async def _events(self, command: c.Subscribe) -> AsyncIterator[Sequence[JobEvent] | None]:
        feed = self._ledger.feed
        if self._released:
            return
        watcher = feed.watch(command.queue, command.after)
        try:
            if watcher.gone:
                yield None
            while (events := await watcher.next()) is not None and self._may_watch(command):
                yield [
                    JobEvent(id=event.id, uid=event.uid, before=event.before, state=event.state, at=event.at)
                    for event in events
                ]
        finally:
            feed.leave(watcher)

    def _may_watch(self, command: c.Subscribe) -> bool:
        """Whether its key still opens the queue; it may have been revoked since the watch began."""
        table = self._ledger.table(command.queue)
        try:
            return table is not None and authorise(table.queue, command) is not None
        except DomainError:
            return False

    def _interval_ms(self) -> int:
        return round(self.sync_interval * 1000)
