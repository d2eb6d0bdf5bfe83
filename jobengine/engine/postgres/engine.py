"""The engine on PostgreSQL. Any number of servers, which store nothing themselves, share one database."""

from collections.abc import AsyncGenerator, Callable, Sequence
from functools import partial
from threading import Lock
from typing import Any, Final, LiteralString, TypeVar, cast

from attrs import define, field
from msgspec.structs import replace
from psycopg import Connection
from twisted.internet.defer import Deferred, FirstError, gatherResults
from twisted.internet.interfaces import IReactorFDSet, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ...core import commands as c
from ...core.errors import DomainError, QueueNotFound
from ...core.model import Defaults, Job, Queue
from ...core.schedules import Edge
from ...core.tables import NewId
from ...core.wall_time import shown
from ...timetable import TIMETABLE
from ..claimers import ClaimLog
from ..door import Figure, NotOffered, Readiness, Starting, Unavailable, Watched
from ..sweeps import move_matching, sweep, update_matching
from ..threads import Thread
from ..waiting_line import Done, Outcome
from ..waits import Waits
from .batch.begin import ClockSteps, Machine, begin_clock, check_usable
from .batch.claim_start import ClaimStarts
from .batch.decide import Result
from .batch.give_flow import wait_for_others
from .batch.lane import Lane, Shared
from .batch.plan import Task, overlaps
from .batch.session import Session
from .batch.session_connection import Reach
from .claimers import SharedClaims
from .closing import end_threads
from .database.connection import connected, start_failures
from .database.pipeline import Row
from .database.rows import Rows, has_flow
from .database.schema import opened
from .history import HistoryKeeper
from .line_moves import LineMoves
from .queue_scan import read_part, scan_queue
from .sql import DATABASE_CLOCK
from .stats import ServerActivity, figures_of
from .sweeper import Sweeper
from .wake.event_log import Watches, begin_watch
from .wake.news import listen
from .wake.notifications import Notifications
from .wake.openings import Openings
from .wake.poller import Poller
from .wake.waiters import Waiters, jobs_in

A = TypeVar("A")
R = TypeVar("R")
#: The number of lanes for batched commands; one more lane is for long commands.
_LANES: Final = 4
#: Commands whose answers depend on the claims of all servers.
_OF_ALL_SERVERS: Final = frozenset({c.ExplainJob, c.ListClaimers, c.ListQueues, c.ReadStats})
#: Seconds until a sweep follows up the ends that a batch has left.
_LATER: Final = 0.1
#: The most schedules that are fired in one transaction.
_FIRED_TOGETHER: Final = 50


@define(kw_only=True, eq=False)
class PostgresEngine:
    """The Door (see jobengine.engine.door) that keeps its jobs in PostgreSQL."""

    #: A connection string or URL; it may hold a password.
    url: str = field(repr=False)
    #: Returns the SECRET. Called when the database is opened; the SECRET is not kept.
    secret: Callable[[], bytes]
    #: Returns a thread with this name.
    thread: Callable[[str], Thread]
    #: Timers, the end of a reactor turn, and the monotonic clock.
    clock: IReactorTime
    #: See NewId.
    new_id: NewId
    #: What is needed to fire schedules: the server's defaults and its calendar.
    edge: Edge = Edge(Defaults(), TIMETABLE)
    #: Whether commits do not wait for the disk.
    interval: bool = False
    #: The reactor's interface for sockets. With None, this server neither sends nor receives notifications.
    readers: IReactorFDSet | None = None
    #: The SQL expression that reads the time.
    time: LiteralString = DATABASE_CLOCK
    #: The clock to compare with the database's. None stands for the monotonic clock, which no other server shares.
    machine: Machine | None = None
    _rows: Rows = field(init=False)
    #: See Session.
    _turn: Lock = field(factory=Lock, init=False)
    _claim_starts: ClaimStarts = field(factory=ClaimStarts, init=False)
    _clock_steps: ClockSteps = field(init=False)
    _reach: Reach = field(factory=Reach, init=False)
    _lanes: list[Lane] = field(factory=list, init=False)
    _shared: Shared = field(factory=Shared, init=False)
    _waiters: Waiters = field(init=False)
    _openings: Openings = field(init=False)
    #: The names of those queues with flow that tasks of this server have used.
    _flows: set[str] = field(factory=set, init=False)
    _watches: Watches = field(factory=Watches, init=False)
    _sweeper: Sweeper = field(init=False)
    _line_moves: LineMoves = field(init=False)
    _activity: ServerActivity = field(init=False)
    _claims: SharedClaims = field(init=False)
    _history: HistoryKeeper = field(init=False)
    #: The milliseconds by which elapsed time was ahead of the monotonic clock at the last batch.
    _offset: int = field(default=0, init=False)
    #: The milliseconds by which the wall clock was ahead of elapsed time at the last batch.
    _ahead: int = field(default=0, init=False)
    _started: bool = field(default=False, init=False)
    _waits: Waits = field(init=False)
    #: Polls for the changes of other servers.
    _poller: Poller = field(init=False)
    #: The lane of the sweeper and the poller, whose tasks are short and must not wait.
    _side: Lane = field(init=False)
    _notifications: Notifications = field(init=False)
    #: Whether schedules are being fired.
    _fires: bool = field(default=False, init=False)
    _log: Logger = field(factory=Logger, init=False)

    def __attrs_post_init__(self) -> None:
        self._clock_steps = ClockSteps(self.machine or Machine(lambda: int(self.clock.seconds() * 1000)))
        self._waiters = Waiters(submit_first=self._submit_first, put_back=self._put_back)
        self._openings = Openings(clock=self.clock, recheck=self._waiters.recheck)
        self._waits = Waits(self.clock, ClaimLog(self._waiters.line), self._waiters.ends, self._elapsed)
        self._activity = ServerActivity()
        self._sweeper = Sweeper(clock=self.clock, sweep=self._sweep)
        self._poller = Poller(
            clock=self.clock,
            waiters=self._waiters,
            watches=self._watches,
            receives=lambda: self._notifications.receives,
        )

    # Start and stop

    def open(self) -> None:
        """Open the database; raises StorageError."""
        connection = connected(self.url, interval=self.interval)
        try:
            with start_failures():
                self._rows = Rows(opened(connection, self.secret()))
                check_usable(connection)
                begin_clock(connection, self.time, self._clock_steps)
        finally:
            connection.close()
        self._shared.lanes = [self._lane(f"lane {number}", self._shared) for number in range(_LANES)]
        self._lanes = [*self._shared.lanes, self._lane("long", Shared()), self._lane("side", Shared())]
        self._side = self._lanes[-1]
        self._make_helpers()

    def _make_helpers(self) -> None:
        self._claims = self._activity.shared = SharedClaims(
            clock=self.clock,
            own=self._waits.log,
            elapsed=self._elapsed,
            time=self.time,
            lane=self._side,
            rows=self._rows,
        )
        self._line_moves = LineMoves(
            engine=self,
            clock=self.clock,
            lane=self._side,
            rows=self._rows,
            time=self.time,
            ready=lambda: self._run(wait_for_others),
        )
        self._history = HistoryKeeper(clock=self.clock, activity=self._activity, lane=self._side)
        self._notifications = Notifications(
            clock=self.clock,
            waiters=self._waiters,
            watches=self._watches,
            poller=self._poller,
            digest=self._rows.name,
            lane=self._side,
        )

    def _lane(self, name: str, shared: Shared) -> Lane:
        session = Session(
            url=self.url,
            interval=self.interval,
            rows=self._rows,
            new_id=self.new_id,
            activity=self._activity,
            steady=self.clock.seconds,
            clock=self.time,
            turn=self._turn,
            claim_starts=self._claim_starts,
            clock_steps=self._clock_steps,
            reach=self._reach,
        )
        return Lane(
            session=session,
            shared=shared,
            thread=self.thread(name),
            clock=self.clock,
            applied=self._applied,
            answered=self._answered,
            dropped=self._put_back,
            waits_behind=self._waits_behind,
        )

    async def start(self) -> None:
        for lane in self._lanes:
            lane.thread.start()
        self._started = True
        self._poller.begin(self._side, self.time)
        if self.readers is not None:
            self._notifications.begin(partial(listen, self.url), self.thread("listener"), self.readers)
        self._sweeper.start()

    def abandon(self) -> None:
        """Do nothing: nothing is open."""

    def wall_clock_was_set(self) -> None:
        # Only the database's time is used, but the database may run on this machine: sweep at once.
        if self._started:
            self._sweeper.hurry()

    def release(self) -> None:
        self._waits.release()
        self._watches.end()

    async def stop(self) -> None:
        self.release()
        self._sweeper.stop()
        self._poller.stop()
        self._openings.stop()
        if self._started:
            self._notifications.stop()
            self._claims.stop()
            threads = [*(lane.thread for lane in self._lanes), *self._notifications.threads]
            await end_threads(threads, self._close(), self.clock)

    async def _close(self) -> None:
        await self._line_moves.stop()
        await self._history.stop()
        await gatherResults([lane.thread(lane.session.close) for lane in self._lanes])

    async def readiness(self) -> Readiness:
        reason = self._reason() if self._started else "starting"
        durability = "interval" if self.interval else "commit"
        return Readiness(ready=not reason, reason=reason, durability=durability, started=self._started)

    async def check_storage(self) -> None: ...  # the sweeper uses the database each second

    async def figures(self) -> Sequence[Figure]:
        self._check_started()
        totals = [lane.session.totals for lane in self._lanes]
        return figures_of(
            totals,
            self._waiters,
            len(self._watches),
            self._notifications,
            damaged_queues=len(self._rows.damaged.numbers()),
            accepts=not self._reason(),
        )

    def _reason(self) -> str:
        """Why changes are refused, or an empty text. The sweeper uses the database even if no request comes."""
        session = self._side.session
        if trouble := session.connection.trouble:
            return f"{trouble}; the server's log says why"
        return "the database does not answer" if self._sweeper.lacks_answer else session.lacking

    # Commands without waiting

    async def ask(self, command: c.Command[A]) -> A:
        if type(command) in _OF_ALL_SERVERS:
            self._check_started()
            await self._claims.refresh()
        answer: A = shown((await self._submit(command)).get(), self._ahead)
        if type(command) is c.ChangeQueue:
            self._line_moves.begin(cast(Queue, answer))
        return answer

    def _submit(self, task: Task) -> "Deferred[Outcome[Any]]":
        self._check_started()
        has_flow = bool(self._flows) and not self._flows.isdisjoint(task.queue_names)
        if overlaps(task, has_flow=has_flow):
            return self._shared.submit(task, self._lane_for(task, 1 if has_flow else 0))
        return self._lane_for(task).submit(task)

    def _check_started(self) -> None:
        if not self._started:
            raise Starting("The server is starting; nothing was carried out. Try again.")

    def _lane_for(self, task: Task, beside: int = 0) -> Lane:
        """
        The lane for a task: tasks on the same queue get the same lane, or the one `beside` places after it; long
        commands have a lane of their own.
        """
        if not task.is_batched:
            return self._lanes[_LANES]
        return self._lanes[(hash(task.queue_names[0]) + beside) % _LANES]

    def _applied(self, result: Result) -> None:
        """Record the changes of a batch, before its callers are answered."""
        self._ahead = result.now.ahead
        self._offset = result.now.elapsed - self._steady()
        self._activity.count(result)
        for name, known in result.now.known.items():
            (self._flows.add if has_flow(known) else self._flows.discard)(name)
        if result.effects:
            self._history.write_later()

    def _steady(self) -> int:
        return int(self.clock.seconds() * 1000)

    def _elapsed(self) -> int:
        """Elapsed time now, in milliseconds, estimated from the last batch."""
        return self._steady() + self._offset

    def _answered(self, result: Result) -> None:
        """Wake waiters and watchers, after the batch's callers were answered: a caller may wait again already."""
        self._waiters.wake(result)
        for name, opens in result.opens.items():
            self._openings.no_later(name, (opens - result.now.elapsed) / 1000)
        self._notifications.announce(result)
        if result.soonest is not None:
            self._sweeper.no_later((result.soonest - result.now.elapsed) / 1000)
        if result.has_left:
            self._sweeper.no_later(_LATER)
        if result.effects:
            self._poller.hurry()

    def _waits_behind(self, task: Task) -> bool:
        """Whether a task is a claim or peek, and waiters wait in line for jobs of the same queue."""
        return isinstance(task, (c.Claims, c.Peek)) and any(map(self._waiters.line.waits_for, task.queue_names))

    def _submit_first(self, tasks: Sequence[Task]) -> "list[Deferred[Outcome[Any]]]":
        """Carry out tasks before all others; tasks on the same lane stay in order."""
        submitted: dict[int, Deferred[Outcome[Any]]] = {}
        for lane in self._lanes:
            its = [index for index, task in enumerate(tasks) if self._lane_for(task) is lane]
            submitted |= zip(its, lane.submit_first([tasks[index] for index in its]), strict=True) if its else {}
        return [submitted[index] for index in range(len(tasks))]

    def _put_back(self, outcome: Outcome[Any]) -> None:
        """Undo a claim whose caller has disconnected."""
        for one in jobs_in(outcome):
            claim = (one.job.spec.uid, one.job.standing.lease or "")
            task = c.ReturnClaims(queue=one.queue, admin=True, claims=(claim,))
            # If this fails, the lease runs out.
            self._lane_for(task).submit(task).addErrback(lambda _: None)

    def _run(self, work: "Callable[[Connection[Row]], R]") -> "Deferred[R]":
        """Run work on the connection for long commands."""
        self._check_started()
        lane = self._lanes[_LANES]
        return lane.thread(lambda: lane.session.run(work))

    def _sweep(self) -> "Deferred[Result]":
        return self._side.thread(self._side.session.sweep).addCallback(self._swept)

    def _swept(self, result: Result) -> Result:
        self._applied(result)
        self._answered(result)
        self._line_moves.look()
        self._reconnect()
        if result.firings and not self._fires:
            self._fires = True
            Deferred.fromCoroutine(self._fire(result.firings)).addErrback(self._firing_failed)
        return result

    def _reconnect(self) -> None:
        """Reconnect lanes that could not connect, even without tasks: so it is logged when all are connected."""
        for lane in self._lanes:
            if lane.session.connection.trouble:
                lane.thread(lane.session.connection.reconnect)

    async def _fire(self, firings: Sequence[tuple[str, str]]) -> None:
        """Fire schedules, at most _FIRED_TOGETHER in a transaction, then start another sweep."""
        try:
            for start in range(0, len(firings), _FIRED_TOGETHER):
                some = firings[start : start + _FIRED_TOGETHER]
                tasks = [c.FireSchedule(queue=queue, name=name, admin=True, edge=self.edge) for queue, name in some]
                await gatherResults([self._submit(task) for task in tasks], consumeErrors=True)
        finally:
            self._fires = False
        self._sweeper.hurry()

    def _firing_failed(self, failure: Failure) -> None:
        """Log an error, unless the next sweep will find the same schedules."""
        first = failure.value.subFailure if isinstance(failure.value, FirstError) else failure
        if not first.check(Unavailable):
            self._log.failure("schedules were not fired", first)

    # Commands that may wait

    async def claim(self, command: c.Claims) -> c.ClaimResult:
        outcome = await self._take(command, 0 if command.updates else command.wait)
        result: c.ClaimResult = shown(outcome.get(), self._ahead)
        return result

    async def peek(self, command: c.Peek) -> Job | None:
        outcome = await self._take(command, command.wait)
        jobs = jobs_in(outcome)
        if jobs:
            return shown(jobs[0].job, self._ahead)
        answer = outcome.get()
        return None if isinstance(answer, c.ClaimResult) else shown(answer, self._ahead)

    async def read_job(self, command: c.ReadJob) -> Job:
        return await self._waits.read_job(self, command, self._finished)

    async def _finished(self, end: "Deferred[Job | None]", until: float) -> Job | None:
        self._poller.later()
        return shown(await self._waits.in_time(end, until, None), self._ahead)

    async def _take(self, command: c.Claims | c.Peek, wait: float) -> Outcome[Any]:
        """Claim or peek, and wait up to `wait` seconds for a job; a claim is undone if its caller has disconnected."""
        until = self._waits.until(wait)
        with self._waiters.pending(command.queue_names if wait else ()) as pending:
            outcome = await self._submit(command)
        if isinstance(outcome, Done) and isinstance(command, c.Claims):
            self._claims.own.record(command, self._elapsed())
            self._claims.write_later()
        if isinstance(outcome, Done) and outcome.passed_over and not wait:
            return await self._submit(command)
        if not (wait and _is_empty(outcome) and self._waits.may_wait(until)):
            return outcome
        # Try again at once: jobs have become ready while the command was carried out.
        if pending.outdated:
            self._poller.soon()
        else:
            self._poller.later()
        return await self._waits.in_line(command, until)

    # Changes in slices

    async def move_matching(self, command: c.MoveMatching) -> c.Moved:
        return await move_matching(self, self.clock, command)

    async def update_matching(self, command: c.UpdateMatching) -> int:
        return await update_matching(self, self.clock, command)

    async def delete_matching(self, command: c.DeleteMatching) -> int:
        return await sweep(self, self.clock, command)

    # Streams

    async def read_queue(self, command: c.ListJobs) -> AsyncGenerator[Sequence[Job], None]:
        await self.ask(replace(command, limit=1, scan=1))
        return self._pages(command)

    async def _pages(self, command: c.ListJobs) -> AsyncGenerator[Sequence[Job], None]:
        scan = await self._run(lambda connection: scan_queue(connection, self._rows, command))
        read = partial(read_part, rows=self._rows, time=self.time, queue_id=scan.queue_id, command=command)
        for uids in scan.parts:
            jobs = await self._run(partial(read, uids=uids))
            if jobs:
                yield shown(jobs, self._ahead)

    async def watch(self, command: c.Subscribe) -> AsyncGenerator[Watched, None]:
        await self.ask(command)
        return self._events(command)

    async def _events(self, command: c.Subscribe) -> AsyncGenerator[Watched, None]:
        if self._waits.released:
            return
        try:
            begun = await self._run(
                lambda connection: begin_watch(connection, self._rows, self.time, command.queue, command.after)
            )
        except QueueNotFound:  # it was deleted since
            return
        watch = self._watches.add(begun)
        self._poller.hurry()
        try:
            if begun.gone:
                yield None
            yield watch.watcher.start
            while (batches := await watch.watcher.next()) is not None and await self._is_open(command):
                yield batches
            if watch.missed:
                yield None
        finally:
            self._watches.leave(watch)

    async def backup(self) -> AsyncGenerator[bytes, None]:
        raise NotOffered("This server keeps its jobs in PostgreSQL: back that up with its own tools, such as pg_dump.")

    async def _is_open(self, command: c.Subscribe) -> bool:
        """Whether the key still opens the queue: it may have been revoked since the stream began."""
        try:
            await self.ask(command)
        except DomainError:
            return False
        return True


def _is_empty(outcome: Outcome[Any]) -> bool:
    return isinstance(outcome, Done) and not jobs_in(outcome) and not isinstance(outcome.answer, Job)
