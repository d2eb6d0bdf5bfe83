"""Begins transactions: reads the time, and the queues of a batch."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Final, LiteralString

from attrs import define, evolve, field, frozen
from psycopg import Connection, DatabaseError
from psycopg.errors import ReadOnlySqlTransaction, UndefinedTable

from ....core.model import Job
from ....core.values import Value
from ....storage.errors import Damaged, StorageError
from ..database.arrays import bigints, byteas, texts
from ..database.connection import together
from ..database.group_rows import FlowLock, flow_locked
from ..database.pipeline import Row, Statement
from ..database.rows import Known, Rows
from ..sql import named
from .due_schedules import due_schedules, read_due_schedules

#: Sets the isolation level explicitly, since the database's default may differ. With READ COMMITTED, each statement
#: sees everything that was committed before the statement began.
BEGIN: Final[LiteralString] = "BEGIN ISOLATION LEVEL READ COMMITTED"
_READ_QUEUES: Final = named("read_queues")
_READ_ALL_QUEUES: Final = named("read_all_queues")
_READ_DUE_QUEUES: Final = named("read_due_queues")
_LOCK_QUEUE_CREATION: Final = named("lock_queue_creation")
_FIND_LACK: Final = named("find_lack")
_FIND_ANY_ENDED: Final = named("find_any_ended")
_READ_CLOCK: Final = named("read_clock")
_SAVE_CLOCK: Final = named("save_clock")
_DELETE_OLD_CLOCKS: Final = named("delete_old_clocks")
_CORRECT_CLOCK: Final = named("correct_clock")


_TABLES: Final = (
    "batch",
    "batch_tally",
    "dependency",
    "ended",
    "event",
    "failure",
    "gone",
    "grp",
    "item",
    "job",
    "lane_commit",
    "meta",
    "queue",
    "tag",
    "tally",
    "unique_key",
)
#: PostgreSQL reports tables as missing to a role without USAGE, too.
_RESTORE: Final = "restore what is missing from a dump, unless the role only lacks USAGE on the schema jobengine"


class Lacking(Exception):
    """The database lacks tables or rows that every command needs; str() says which."""


def lack_of(error: Lacking | DatabaseError) -> str:
    """Describe what is missing in the database."""
    if isinstance(error, Lacking):
        return str(error)
    what = str(error.diag.message_primary)
    return f"{what}; {_RESTORE}" if isinstance(error, UndefinedTable) else what


@frozen
class Now:
    """The time of a batch, and the queues that its tasks name."""

    #: Elapsed time and the wall clock, in milliseconds.
    elapsed: int
    wall: int
    known: dict[str, Known]
    #: How many corrections of `ahead` were undone; see ClockSteps.
    undone: int = 0
    #: Only for a sweep: the elapsed time at which the next schedule fires, or at which a job is due in a queue that is
    #: not in `known`, if that is sooner.
    soonest: int | None = None
    #: Only for a sweep: queue and name of the first schedules whose time has come.
    firings: Sequence[tuple[str, str]] = ()
    #: Only for a sweep: whether ends are left to be followed up.
    has_ended: bool = False
    #: The numbers and revisions of queues that can't be opened, by the digests of their names.
    damaged: Mapping[bytes, tuple[int, int]] = field(factory=dict)

    @property
    def ahead(self) -> int:
        """The milliseconds by which the wall clock is ahead of elapsed time."""
        return self.wall - self.elapsed

    @property
    def is_any_due(self) -> bool:
        """Whether some jobs of the queues are due."""
        return any(one.due for one in self.known.values())

    def has_come(self, job: Job) -> bool:
        """Whether a deadline of a job has come."""
        deadline, wall = job.deadline, job.wall_deadline
        return (deadline is not None and deadline <= self.elapsed) or (wall is not None and wall <= self.wall)

    def damaged_among(self, names: Sequence[str], rows: Rows) -> frozenset[str]:
        """The names of damaged queues among `names`."""
        return frozenset(name for name in names if rows.name(name) in self.damaged) if self.damaged else frozenset()

    def confirms(self, guess: Mapping[str, Known]) -> bool:
        """Whether the guess was right: the same queues with the same revisions, and no due jobs."""
        return self.known.keys() == guess.keys() and all(
            (one.id, one.rev, one.due) == (guess[name].id, guess[name].rev, False) for name, one in self.known.items()
        )


def begin(
    connection: "Connection[Row]",
    rows: Rows,
    clock: LiteralString,
    names: Sequence[str] | None,
    first: Sequence[Statement] = (),
    *,
    alone: bool = False,
) -> Now:
    """
    Begin a transaction: execute `first`, and read the time and these queues (None: all).

    With `alone`, no other transaction may create queues.
    """
    alone_first = [_LOCK_QUEUE_CREATION()] if alone else []
    begun = together(connection, Statement(BEGIN), *first, *alone_first, queues_read(rows, clock, names))
    return now_of(rows, begun[-1])


def with_flow(known: Mapping[str, Known]) -> frozenset[int]:
    """The numbers of the queues with flow."""
    return frozenset(one.id for one in known.values() if one.queue.flow is not None)


def with_flows_locked(
    connection: "Connection[Row]",
    rows: Rows,
    clock: LiteralString,
    now: Now,
    names: Sequence[str] | None,
    lock: FlowLock,
) -> Now:
    """Lock queues with flow, and read the queues again: they may have changed meanwhile."""
    locked: frozenset[int] = frozenset()
    while flows := with_flow(now.known) - locked:
        locked |= flows
        again = [name for name, one in now.known.items() if one.id in locked] if names is None else names
        read = _read_again(connection, rows, clock, again, flow_locked(flows, lock))
        known = {name: one for name, one in now.known.items() if one.id not in locked}
        now = evolve(
            read,
            known={**known, **read.known},
            soonest=now.soonest,
            firings=now.firings,
            has_ended=now.has_ended,
        )
    return now


def _read_again(
    connection: "Connection[Row]", rows: Rows, clock: LiteralString, names: Sequence[str], first: Sequence[Statement]
) -> Now:
    """Execute `first` in a transaction that has begun, and read the time and these queues."""
    return now_of(rows, together(connection, *first, queues_read(rows, clock, names))[-1])


def queues_read(rows: Rows, clock: LiteralString, names: Sequence[str] | None) -> Statement:
    """The statement that reads the time and these queues (None: all)."""
    if names is None:
        return _READ_ALL_QUEUES.at(clock)()
    return _READ_QUEUES.at(clock)(digests=byteas([rows.name(name) for name in names]))


def begin_sweep(connection: "Connection[Row]", rows: Rows, clock: LiteralString, first: Sequence[Statement]) -> Now:
    """Begin a transaction: execute `first`, and read the time, and the queues with due jobs."""
    *_, lack, ended, found, schedules = together(
        connection,
        Statement(BEGIN),
        *first,
        _FIND_LACK(names=texts(_TABLES)),
        _FIND_ANY_ENDED(),
        _READ_DUE_QUEUES.at(clock)(damaged=bigints(rows.damaged.numbers())),
        due_schedules(clock),
    )
    _check_lack(lack)
    now = now_of(rows, [row[:-1] for row in found])
    firings, next_firing = read_due_schedules(rows, schedules)
    soonest = [found[0][-1], None if next_firing is None else next_firing - now.ahead]
    first_due = min((one for one in soonest if one is not None), default=None)
    return evolve(now, soonest=first_due, firings=firings, has_ended=bool(ended))


def _check_lack(found: Sequence[Row]) -> None:
    """Raise Lacking if tables or rights are missing, and ReadOnlySqlTransaction if nothing can be written."""
    if any(name is None for name, _ in found):
        raise ReadOnlySqlTransaction

    def names(is_sequence: bool | None) -> str:
        """The names of tables, or of sequences; None stands for those that are missing."""
        return ", ".join(name for name, kind in found if kind is is_sequence)

    if missing := names(None):
        raise Lacking(f"tables are missing: {missing}; {_RESTORE}")
    needs = [f"SELECT, INSERT, UPDATE and DELETE on: {tables}"] if (tables := names(False)) else []
    needs += [f"USAGE on the sequence {sequences}"] if (sequences := names(True)) else []
    if needs:
        raise Lacking(f"the role needs {'; and '.join(needs)}")


def check_usable(connection: "Connection[Row]") -> None:
    """
    Raise StorageError at a server's start if tables or rights are missing. A read-only database is accepted: it may be
    a standby that will take over.
    """
    try:
        with suppress(ReadOnlySqlTransaction):
            _check_lack(together(connection, _FIND_LACK(names=texts(_TABLES)))[0])
    except Lacking as error:
        raise StorageError(f"the database is not usable: {error}") from None


def now_of(rows: Rows, found: Sequence[Row]) -> Now:
    """The time and the queues, from the rows that the statement of `queues_read` returns."""
    known, damaged = {}, {}
    for _wall, _ahead, _undone, number, rev, watched, digest, sealed, *start, due in found:
        if number is None:
            continue
        try:
            queue = rows.queue(number, rev, digest, sealed)
        except Damaged as error:
            rows.damaged.note(number, str(error))
            damaged[digest] = (number, rev)
            continue
        its = Known(id=number, rev=rev, queue=queue, watched=watched, due=due, claim_start=(start[0], start[1]))
        known[queue.name] = its
    if not found:
        raise Lacking("the table meta is empty; restore it from a dump")
    wall, ahead, undone = found[0][:3]
    return Now(wall - ahead, wall, known, undone, damaged=damaged)


#: The milliseconds by which the database's clock and the machine's may drift apart between two readings. After a larger
#: jump, the database's clock counts as set.
_STEP: Final = 2_000


#: The two clocks may also drift apart by 1 millisecond in _DRIFT, because NTP slows clocks or speeds them up.
_DRIFT: Final = 2_000


#: A reading that took longer than this many milliseconds is too inexact to compare.
_LONG: Final = 1_000


#: The milliseconds after its start in which a server without a saved reference accepts all corrections by other
#: servers: the clock may have been set before that start.
_TRUSTS: Final = 60_000


#: Milliseconds between saves of the reference, and milliseconds after which other machines' references are removed.
_SAVED: Final = 600_000


_FORGOTTEN: Final = 90 * 86_400_000


@frozen
class Machine:
    """A machine's monotonic clock: setting the machine's time does not affect it."""

    #: Returns the milliseconds since some fixed moment.
    now: Callable[[], int]
    #: A name that all servers with this clock share, until the machine boots; None if there is no such name.
    name: str | None = None


def this_machine() -> Machine:
    """
    The time since this machine's boot, including suspended time; on systems without that clock, the
    monotonic clock.
    """
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        # A container may have its own clock, in a time namespace.
        return Machine(_since_boot, f"{boot} {Path('/proc/self/ns/time').readlink()}")
    return Machine(lambda: time.monotonic_ns() // 1_000_000)


def _since_boot() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


class ClockReading(Value, frozen=True):
    """A server's reading of the database's clock."""

    #: Elapsed time, in milliseconds.
    elapsed: int
    #: The milliseconds by which the database's clock is ahead of elapsed time.
    ahead: int
    #: How many corrections of `ahead` were undone.
    undone: int
    #: The machine's clock before and after the reading.
    before: int
    after: int


@frozen
class Correction:
    """A change of ClockReading's `ahead`, by which a server corrects the clock of the database."""

    #: The milliseconds to add to `ahead`.
    by: int
    #: Whether this undoes a correction by another server, whose machine had stopped for a while.
    undoes: bool


class _Reference(Value, frozen=True):
    """The difference between elapsed time and the machine's clock."""

    #: The bounds of the difference, in milliseconds.
    least: int
    most: int
    #: See ClockReading.
    ahead: int
    undone: int
    #: When the clocks were read, by the machine's clock.
    at: int

    @classmethod
    def of(cls, reading: ClockReading) -> "_Reference":
        """The reference from a reading."""
        return cls(
            reading.elapsed - reading.after,
            reading.elapsed - reading.before,
            reading.ahead,
            reading.undone,
            reading.after,
        )

    def jump(self, reading: ClockReading) -> int:
        """
        The milliseconds by which elapsed time has jumped between the reference and a reading; 0 if drift may explain
        the difference.
        """
        other = _Reference.of(reading)
        drift = _STEP + max(0, reading.before - self.at) // _DRIFT
        if other.least > self.most + drift:
            return other.least - self.most
        return other.most - self.least if other.most < self.least - drift else 0


@define(eq=False)
class ClockSteps:
    """Detects that the database's clock was set, for all connections of a server. Thread-safe."""

    machine: Machine
    _reference: _Reference | None = field(default=None, init=False)
    #: The time, by the machine's clock, after which corrections by other servers are checked.
    _doubts_from: int = field(default=0, init=False)
    #: When to save the reference next.
    _save_at: int = field(default=0, init=False)
    _lock: Lock = field(factory=Lock, init=False)

    def begin(self, reading: ClockReading, saved: _Reference | None) -> None:
        """
        Set the reference at a server's start: the saved reference if it may still be right,
        otherwise this reading.
        """
        # If `ahead` was changed after the save and the saved reference does not fit now, trust the change.
        if saved is None or saved.at > reading.after or (saved.jump(reading) and saved.ahead != reading.ahead):
            self._reference, self._doubts_from = _Reference.of(reading), reading.after + _TRUSTS
        else:
            self._reference = saved

    def check(self, reading: ClockReading) -> Correction | None:
        """
        The correction to write if elapsed time has jumped; otherwise None. If another server has changed `ahead`
        meanwhile, writing the correction changes nothing. After writing, read the time again.
        """
        with self._lock:
            reference = self._reference
            jump = 0 if reference is None else reference.jump(reading)
            if reference is None or (jump and self._accepts(reading, jump, reference)):
                self._reference, self._save_at = _Reference.of(reading), 0
            elif jump:
                return Correction(jump, undoes=_only_ahead_has_changed(reading, jump, reference))
            elif reading.after - reading.before <= _LONG and reading.after >= reference.at:
                self._reference = _Reference.of(reading)
            return None

    def _accepts(self, reading: ClockReading, jump: int, reference: _Reference) -> bool:
        """
        Whether to accept a jump of elapsed time, because another server has corrected the clock.

        When a machine stops for a while, its servers mistake the pause for a change of the database's clock, and
        correct elapsed time. Servers of other machines undo that correction, and the servers of this machine must
        accept the undoing.
        """
        if reading.before < reference.at:
            # The reading may be older than the reference.
            return False
        if reading.undone != reference.undone:
            return True
        return reading.before < self._doubts_from and _only_ahead_has_changed(reading, jump, reference)

    def to_save(self) -> _Reference | None:
        """The reference, if it must be saved now for servers that start on this machine later; otherwise None."""
        is_time = self.machine.name is not None and self.machine.now() >= self._save_at
        return self._reference if is_time else None

    def saved(self) -> None:
        """Record that the reference was saved."""
        self._save_at = self.machine.now() + _SAVED


def _only_ahead_has_changed(reading: ClockReading, jump: int, reference: _Reference) -> bool:
    """Whether elapsed time has jumped only because `ahead` was changed, while the database's clock ran normally."""
    return abs(jump + reading.ahead - reference.ahead) <= _STEP


def begin_clock(connection: "Connection[Row]", clock: LiteralString, steps: ClockSteps) -> None:
    """Set the clock reference of a server at its start; `clock` is the SQL expression that reads the time."""
    before = steps.machine.now()
    ((wall, ahead, undone, *saved),) = _READ_CLOCK.at(clock).execute(connection, machine=steps.machine.name).fetchall()
    reading = ClockReading(wall - ahead, ahead, undone, before, steps.machine.now())
    its_ahead, difference, at = saved
    steps.begin(reading, None if at is None else _Reference(difference, difference, its_ahead, undone, at))


def corrected(correction: Correction, reading: ClockReading) -> Statement:
    """
    The statement that writes a correction; it changes nothing if another server has made a correction since the
    reading.
    """
    return _CORRECT_CLOCK(corrected=reading.ahead + correction.by, undoes=int(correction.undoes), ahead=reading.ahead)


def save_clock(connection: "Connection[Row]", clock: LiteralString, steps: ClockSteps) -> None:
    """Save a server's reference if it is due."""
    reference = steps.to_save()
    if reference is not None:
        difference = (reference.least + reference.most) // 2
        _SAVE_CLOCK.at(clock).execute(
            connection,
            machine=steps.machine.name,
            ahead=reference.ahead,
            difference=difference,
            at=reference.at,
        )
        _DELETE_OLD_CLOCKS.at(clock).execute(connection, age=_FORGOTTEN)
        steps.saved()
