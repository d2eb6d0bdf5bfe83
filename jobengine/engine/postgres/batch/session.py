"""A session carries out batches on one connection, and retries them after a conflict or a lost connection."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from itertools import chain
from secrets import randbelow
from threading import Lock
from typing import Final, LiteralString, TypeVar

from attrs import define, evolve, field
from psycopg import Connection, DatabaseError, InterfaceError, OperationalError
from psycopg.errors import (
    DeadlockDetected,
    DiskFull,
    InsufficientPrivilege,
    InvalidSqlStatementName,
    ReadOnlySqlTransaction,
    SerializationFailure,
    UndefinedColumn,
    UndefinedTable,
    UniqueViolation,
)
from twisted.logger import Logger

from ....core import commands as c
from ....core.effects import Effect
from ....core.tables import NewId, RecentActivity
from ...door import Busy, Full, Unavailable
from ..database.connection import sent_as_made, together
from ..database.dependency_rows import Parent
from ..database.group_rows import FlowLock
from ..database.item_rows import Key
from ..database.known_damage import DamageFound, SuspectJob
from ..database.pipeline import Row, Statement
from ..database.rows import Known, Rows, keep
from ..sql import DATABASE_CLOCK, named
from .begin import (
    ClockReading,
    ClockSteps,
    Lacking,
    Machine,
    Now,
    begin,
    begin_sweep,
    corrected,
    lack_of,
)
from .cascade import claims_again, followed, followed_first, moved, with_claimed
from .claim_start import ClaimStarts, advance_claim_start
from .damage import DAMAGED, set_apart
from .dead_letters import locked_to_move, queues_to_move_from
from .decide import Batch, Result
from .ends_first import EndsFirst, EndsWanted
from .flow_changes import FlowWanted
from .follow import FollowUps, taken
from .give_flow import give_flow
from .housekeeping import Housekeeping
from .load import Redo, begin_and_load, load, load_due
from .load_links import KeysWanted
from .loaded import LoadedTables
from .lost_commit import was_made
from .plan import SMALL, Task, changes_jobs, flow_lock_of, names_of, plan
from .session_connection import Reach, SessionConnection
from .totals import Totals

R = TypeVar("R")
#: The most attempts at a batch.
_ATTEMPTS: Final = 5
#: The most jobs of a queue that expire in one transaction.
_SLICE: Final = 200
#: The most transactions that expire jobs, or set damaged ones apart, before a batch is carried out.
_SLICES: Final = 10_000
#: Seconds for which the database's query plans are used. A plan made for a short queue may later read the whole queue
#: for each job, and PostgreSQL replaces a plan only after new statistics, which may take a minute.
_PLANNED: Final = 1
#: The number of slots in the table `tally`. A count of jobs is the sum of its rows in all slots; each connection writes
#: in one slot, so that connections rarely wait for each other.
_SLOTS: Final = 64
_RECORD_BATCH: Final = named("record_batch")
_READ_BATCH: Final = named("read_batch")


@define(kw_only=True, eq=False)
class Session:
    """Carries out tasks on its own connection."""

    url: str = field(repr=False)
    #: Whether commits do not wait for the disk.
    interval: bool
    rows: Rows
    new_id: NewId
    activity: RecentActivity
    #: The monotonic clock, in seconds.
    steady: Callable[[], float]
    #: The SQL expression that reads the time.
    clock: LiteralString = DATABASE_CLOCK
    #: A lock that is held while a large batch is decided, so that one thread decides while another waits for the
    #: database. Without it, the threads would decide side by side, finish together, and then wait for the database
    #: together.
    turn: AbstractContextManager[object] = field(factory=Lock)
    #: Decides when claim starts are advanced, for all sessions of a server.
    claim_starts: ClaimStarts = field(factory=ClaimStarts)
    #: Logs for all sessions of a server.
    reach: Reach = field(factory=Reach)
    #: The server's clock reference, for all its sessions.
    clock_steps: ClockSteps = field()
    totals: Totals = field(factory=Totals, init=False)
    connection: SessionConnection = field(init=False)
    #: The missing tables, columns or permissions, as found by the last sweep or a later task; empty if nothing is
    #: missing.
    lacking: str = field(default="", init=False)
    _logged_lack: str = field(default="", init=False)
    _lane: int = field(factory=lambda: randbelow(1 << 62), init=False)
    _slot: int = field(factory=lambda: randbelow(_SLOTS), init=False)
    _batch: int = field(default=0, init=False)
    #: Whether the running transaction has written its batch number.
    _is_numbered: bool = field(default=False, init=False)
    _housekeeping: Housekeeping = field(init=False)
    #: The names of queues to which the present batch has given flow.
    _given_flow: set[str] = field(factory=set, init=False)
    #: When plans are due to be replaced, by the monotonic clock.
    _plan_at: float = field(default=0, init=False)
    #: The queues as last read, and whether the next batch may guess that they are unchanged.
    _known: dict[str, Known] = field(factory=dict, init=False)
    _guesses: bool = field(default=True, init=False)
    #: The keys of named things that the present batch locks before its jobs, see KeysWanted.
    _keys: set[Key] = field(factory=set, init=False)
    #: The effects of jobs that expired before this batch's tasks.
    _expired: list[Effect] = field(factory=list, init=False)
    #: The ends that the transactions of this call have left, to be followed up before the answer.
    _ended: list[Parent] = field(factory=list, init=False)
    _ends_first: EndsFirst = field(factory=EndsFirst, init=False)
    _log: Logger = field(factory=Logger, init=False)

    @clock_steps.default
    def _make_clock_steps(self) -> ClockSteps:
        return ClockSteps(Machine(self._milliseconds))

    @connection.default
    def _make_connection(self) -> SessionConnection:
        return SessionConnection(
            url=self.url, interval=self.interval, totals=self.totals, reach=self.reach, steady=self.steady
        )

    @_housekeeping.default
    def _make_housekeeping(self) -> Housekeeping:
        return Housekeeping(self.rows, self.totals, self.steady)

    def carry_out(self, tasks: Sequence[Task]) -> Result:
        """
        Carry out tasks, or only the first few, in one transaction; there is an outcome for each that was carried out.
        Raises Unavailable.
        """
        began = self.steady()
        self._expired, self._ended, self._ends_first = [], [], EndsFirst()
        result = self.run(lambda connection: self._carry_out(connection, tasks))
        self.totals.batches += 1
        self.totals.tasks += len(result.outcomes)
        self.totals.seconds += self.steady() - began
        result = evolve(result, effects=[*self._expired, *result.effects]) if self._expired else result
        result = self._with_followed(tasks, result) if self._ended else result
        names = queues_to_move_from(result.now.known, result.effects)
        return moved(self.run, partial(self._move, names=names), result) if names else result

    def _move(self, connection: "Connection[Row]", names: Sequence[str]) -> Result | None:
        """Expire what is due in these queues, in a transaction; None if nothing is due."""
        now = self._read_locked(connection, names, FlowLock.SHARED, writes=True)
        if now.is_any_due:
            result = self._expire(connection, now)
            return result if result.effects else None
        connection.execute("ROLLBACK")
        return None

    def sweep(self) -> Result:
        """
        Expire due jobs in all queues, up to a limit of jobs and queues; now and then clean up and advance claim starts
        (see claim_start.py).

        `soonest` in the result is when the next job is due. If jobs have expired, sweep again: more jobs of their
        queues may be due. Raises Unavailable.
        """
        self._expired, self._ended = [], []
        try:
            result = self.run(self._sweep)
        except Unavailable:
            self._log_lack()
            raise
        self.lacking = ""
        self._log_lack()
        result = evolve(result, effects=[*self._expired, *result.effects])
        if result.now.has_ended or self._ended:
            result = followed(self.run, self._follow_up, result, None)
        # In separate transactions: if these fail, the sweep's result still wakes waiters.
        try:
            self._housekeeping.tidy(self.run, result.now, self._slot, self.clock, self.clock_steps)
            self._advance_claim_starts()
        except Unavailable:
            pass
        except DatabaseError:
            self._log.failure("a cleanup of the database has failed")
        return result

    def _with_followed(self, tasks: Sequence[Task], result: Result) -> Result:
        """
        The result, merged with the follow-ups of ended jobs. Claims that have found no job are repeated: their own
        updates may have released one.
        """
        result = followed(self.run, self._follow_up, result, [*self._ended])
        again = claims_again(tasks, result.outcomes)
        if not again:
            return result
        claims, self._expired = [*again.values()], []
        try:
            more = self.run(lambda connection: self._carry_out(connection, claims))
        except Unavailable:
            # The updates were carried out; the claims have found no job.
            return result
        return with_claimed(result, [*again], evolve(more, effects=[*self._expired, *more.effects]))

    def _follow_up(self, connection: "Connection[Row]", own: Sequence[Parent] | None) -> Result | None:
        """Follow up some ends in a transaction; None if there are none."""
        rows = taken(connection, self._first(writes=True), own)
        if not rows:
            connection.execute("ROLLBACK")
            return None
        follow_ups = FollowUps(connection, self.rows, self.clock, rows)
        result = self._commit(connection, follow_ups.load(), follow_ups.statements())
        return evolve(result, ended=[*result.ended, *follow_ups.left, *follow_ups.spread])

    def _log_lack(self) -> None:
        """Log once that tables or permissions are missing, and once that nothing is missing any more."""
        if self.lacking == self._logged_lack:
            return
        self._logged_lack = self.lacking
        if self.lacking:
            self._log.error("the database is not usable: {what}", what=self.lacking)
        else:
            self._log.info("the database is usable again")

    def _advance_claim_starts(self) -> None:
        """Advance the claim starts of queues with many claims since the last time, as far as possible now."""
        for queue_id, claimed in self.claim_starts.take(self._milliseconds()):
            self.run(partial(advance_claim_start, queue_id=queue_id, claimed=claimed))

    def run(self, work: "Callable[[Connection[Row]], R]") -> R:
        """Call `work` with the connection; retries after conflicts, lost connections and damage. Raises Unavailable."""
        attempts, self._given_flow, self._keys = _ATTEMPTS, set(), set()
        for _ in range(_SLICES):
            try:
                return self._run(work)
            except FlowWanted as wanted:
                self._run(partial(give_flow, rows=self.rows, queue=wanted.queue))
                self._given_flow.add(wanted.queue.name)
                continue
            except KeysWanted as wanted_keys:
                self._keys |= {*wanted_keys.keys}
                continue
            except EndsWanted as wanted_ends:
                self._expired += followed_first(self.run, self._follow_up, wanted_ends.parents)
                continue
            except DamageFound as damage:
                found = damage.jobs
            # If no job was set apart, another server may have done it. Only such a round uses up an attempt.
            attempts -= not self._set_apart(found)
            if not attempts:
                break
        raise Busy("Damaged rows were found that can't be set apart now; nothing was carried out. Try again.")

    def _set_apart(self, found: Sequence[SuspectJob]) -> bool:
        """Set damaged jobs apart, and log them; returns whether any was damaged."""
        changed = self._run(lambda connection: set_apart(connection, self.rows, found, self._slot))
        for queue, uid, why in changed:
            self._log.error(DAMAGED, queue=queue, uid=uid, why=why)
        return bool(changed)

    def _run(self, work: "Callable[[Connection[Row]], R]") -> R:
        reason = ""
        for _ in range(_ATTEMPTS):
            try:
                return work(self.connection.get())
            except (Redo, SerializationFailure, DeadlockDetected, UniqueViolation):
                reason = "Other servers changed the same jobs at the same time"
                self.connection.roll_back()
                self.totals.redone += 1
            except (Lacking, UndefinedTable, UndefinedColumn, InsufficientPrivilege) as error:
                self.connection.roll_back()
                self.lacking = lack_of(error)
                raise Busy(
                    f"The database is not usable now: {self.lacking}; nothing was carried out. Try again once it is "
                    "repaired."
                ) from None
            except DiskFull:
                self.connection.roll_back()
                raise Full("The database has no room for the change; it was not made. Try again later.") from None
            except ReadOnlySqlTransaction:
                # The next connection may be to another host: this one may be a standby now.
                reason, self.lacking = "The database is read-only now", "the database is read-only"
                self.close()
            except (OperationalError, InterfaceError, InvalidSqlStatementName):
                # InvalidSqlStatementName: after a conflict, the driver may call a statement that was not prepared.
                reason = "The connection to the database was lost again and again"
                self.close()
            except BaseException:
                self.connection.roll_back()
                raise
        raise Busy(f"{reason}; nothing was carried out. Try again.")

    def close(self) -> None:
        """Close the connection; the next task makes a new one."""
        self.connection.close()

    def _was_made(self) -> bool:
        """Whether the last commit was made before its connection was lost; raises OutcomeUnknown."""
        return was_made(self._read_batch, self.close, self._batch)

    def _read_batch(self) -> Row | None:
        return _READ_BATCH.at(self.clock).execute(self.connection.get(), lane=self._lane).fetchone()

    # Transactions

    def _carry_out(self, connection: "Connection[Row]", tasks: Sequence[Task]) -> Result:
        tables = self._load_by_guess(connection, tasks) or self._load(connection, tasks)
        for name, known in tables.now.known.items():
            keep(self._known, name, known)
        return self._commit(connection, tables)

    def _load_by_guess(self, connection: "Connection[Row]", tasks: Sequence[Task]) -> LoadedTables | None:
        """Begin and load in one round trip if the queues are unchanged since the last batches; otherwise None."""
        names = names_of(tasks)
        guess = {name: self._known[name] for name in names if name in self._known}
        if not self._guesses or len(guess) < len(names) or not all(task.is_batched for task in tasks):
            # After a wrong guess, the next batch is loaded without a guess.
            self._guesses = True
            return None
        before, first = self.clock_steps.machine.now(), self._first(writes=changes_jobs(tasks))
        now, tables = begin_and_load(connection, self.rows, self.clock, guess, tasks, first, self._keys)
        if self._check_clock(connection, now, before):
            if tables is not None:
                return tables
            connection.execute("ROLLBACK")
        self._guesses = False
        for name in names:
            del self._known[name]
        return None

    def _load(self, connection: "Connection[Row]", tasks: Sequence[Task]) -> LoadedTables:
        alone = any(isinstance(task, c.CreateQueue) for task in tasks)
        every = any(isinstance(task, c.AllQueues) for task in tasks)
        how = flow_lock_of(tasks)
        now = self._begin(connection, None if every else names_of(tasks), how, alone=alone, writes=changes_jobs(tasks))
        damaged = now.damaged_among(names_of(tasks), self.rows)
        planned = [plan(task, now.known, now.elapsed, damaged) for task in tasks]
        return load(connection, self.rows, now, planned, self._keys)

    def _begin(self, connection: "Connection[Row]", names: Sequence[str] | None, lock: FlowLock, **how: bool) -> Now:
        """Begin a transaction. Due jobs of these queues are expired first, except those that others have locked."""
        for _ in range(_SLICES):
            now = self._read_locked(connection, names, lock, **how)
            if not now.is_any_due:
                return now
            expired = self._expire(connection, now)
            self._expired += expired.effects
            if not expired.effects:
                break
        return self._read_locked(connection, names, lock, **how)

    def _read_locked(
        self, connection: "Connection[Row]", names: Sequence[str] | None, lock: FlowLock, **how: bool
    ) -> Now:
        """Like `_read_now`, but locks queues with flow if the transaction writes, or jobs are due."""
        now = self._read_now(connection, names, **how)
        if not how.get("writes") and not now.is_any_due:
            return now
        return locked_to_move(connection, self.rows, self.clock, now, names, lock)

    def _read_now(
        self, connection: "Connection[Row]", names: Sequence[str] | None, *, alone: bool = False, writes: bool = False
    ) -> Now:
        """
        Begin a transaction; with `writes` it locks its lane's row first. If the database's clock was set, write the
        correction, and begin again.
        """
        while True:
            before, first = self.clock_steps.machine.now(), self._first(writes=writes)
            now = begin(connection, self.rows, self.clock, names, first, alone=alone)
            if self._check_clock(connection, now, before):
                return now

    def _begin_sweep(self, connection: "Connection[Row]") -> Now:
        """Begin a transaction, and read the queues with due jobs."""
        while True:
            before, first = self.clock_steps.machine.now(), self._first(writes=False)
            now = begin_sweep(connection, self.rows, self.clock, first)
            if self._check_clock(connection, now, before):
                return now

    def _first(self, *, writes: bool) -> list[Statement]:
        """The statements that begin a transaction and, with `writes`, lock its lane's row."""
        self._is_numbered = writes
        first = [self._number_batch()] if writes else []
        if self.steady() >= self._plan_at:
            self._plan_at = self.steady() + _PLANNED
            first.append(Statement("DISCARD PLANS"))
        return first

    def _check_clock(self, connection: "Connection[Row]", now: Now, before: int) -> bool:
        """
        Whether the transaction may continue. If the database's clock was set, roll back, and write
        the correction.
        """
        reading = ClockReading(now.elapsed, now.ahead, now.undone, before, self.clock_steps.machine.now())
        correction = self.clock_steps.check(reading)
        if correction is not None:
            connection.execute("ROLLBACK")
            together(connection, corrected(correction, reading))
        return correction is None

    def _milliseconds(self) -> int:
        return int(self.steady() * 1000)

    def _sweep(self, connection: "Connection[Row]") -> Result:
        begun = self._begin_sweep(connection)
        now = locked_to_move(connection, self.rows, self.clock, begun, None, FlowLock.SHARED)
        result = self._expire(connection, now)
        soonest = [one for one in (result.soonest, now.soonest) if one is not None]
        return evolve(result, soonest=min(soonest, default=None), firings=now.firings)

    def _expire(self, connection: "Connection[Row]", now: Now) -> Result:
        return self._commit(connection, load_due(connection, self.rows, now, _SLICE))

    def _number_batch(self) -> Statement:
        """
        Write the batch's number into the lane's row, in an earlier round trip than the COMMIT. So the row is locked
        before the COMMIT can get lost, and a later check waits for the lock, even if the COMMIT has not reached the
        backend yet.
        """
        self._batch += 1
        return _RECORD_BATCH.at(self.clock)(lane=self._lane, batch=self._batch)

    def _commit(
        self, connection: "Connection[Row]", tables: LoadedTables, followed_up: Sequence[Statement] = ()
    ) -> Result:
        """Decide a batch, write its changes and commit; raises Redo if others have changed the same rows first."""
        batch = Batch(
            rows=self.rows,
            new_id=self.new_id,
            activity=self.activity,
            tables=tables,
            slot=self._slot,
            knows_claim_starts=self._is_numbered,
            given_flow=self._given_flow,
            followed_up=followed_up,
        )
        with ExitStack() as turn:
            if sum(one.task.weight for one in tables.planned) > SMALL:
                turn.enter_context(self.turn)
            batch.decide()
            self._ends_first.check(connection, batch.job_changes, batch.links)
            if batch.changes and not self._is_numbered:
                together(connection, self._number_batch())
            batch.write_queues(connection)
            self._write(connection, batch, turn.close)
        for name, known in tables.now.known.items():
            if name in tables.queues and (claimed := tables.queues[name].claimed) is not None:
                self.claim_starts.count(known.id, *claimed)
        result = batch.result()
        self._ended += result.ended
        tables.forget_groups()
        return result

    def _write(self, connection: "Connection[Row]", batch: Batch, sent: Callable[[], None]) -> None:
        """
        Write a batch and commit; `sent` is called when all statements are sent. Raises Redo if another connection was
        faster; then nothing was committed.
        """
        end = Statement("COMMIT" if batch.changes else "ROLLBACK")
        try:
            batch.take(sent_as_made(connection, chain(batch.statements(), [end]), sent))
        except (DeadlockDetected, SerializationFailure, UniqueViolation, DiskFull):
            raise
        except (OperationalError, InterfaceError):
            self.close()
            if not batch.changes or not self._was_made():
                raise Redo from None
