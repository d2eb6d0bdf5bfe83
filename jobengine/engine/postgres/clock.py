"""
Finds the steps of the database's clock: it was set, or a standby with another clock took over.

Time is the database's. The table meta holds by how much its clock is ahead of elapsed time. The first server that finds
a step writes it there for all, so a step moves no delay, lease or retention.

A server compares elapsed time with the clock of its machine. It has one reference for all its connections, which it
takes at its start: from the table clock if a server on this machine left one there, so that a step is found after a
restart too.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Final, LiteralString

from attrs import define, field, frozen
from psycopg import Connection

from .connection import Row, Statement

__all__ = ["ClockSteps", "Correction", "Look", "Machine", "begin_clock", "corrected", "save_clock", "this_machine"]

#: Milliseconds by which the database's clock and the machine's may drift apart between two looks. If it is more, the
#: database's clock was set.
_STEP: Final = 2_000
#: They may also drift apart by a millisecond in so many: each may be slowed or sped up a little.
_DRIFT: Final = 2_000
#: A look that took longer than this many milliseconds is too inexact to be compared with the next one.
_LONG: Final = 1_000
#: Milliseconds after its start for which a server without a saved reference does not doubt corrections by others: the
#: step may have been before its start.
_TRUSTS: Final = 60_000
#: Milliseconds between two times of saving the reference, and milliseconds after which those of others are removed.
_SAVED: Final = 600_000
_FORGOTTEN: Final = 90 * 86_400_000

_BEGIN: Final[LiteralString] = (
    "SELECT {clock}, m.ahead, m.undone, c.ahead, c.difference, c.at FROM meta m LEFT JOIN clock c ON c.machine = %s"
)
_SAVE: Final[LiteralString] = (
    "INSERT INTO clock (machine, ahead, difference, at, saved) VALUES (%s, %s, %s, %s, {clock}) "
    "ON CONFLICT (machine) DO UPDATE SET ahead = excluded.ahead, difference = excluded.difference, at = excluded.at, "
    "saved = excluded.saved"
)
_FORGET: Final[LiteralString] = "DELETE FROM clock WHERE saved < {clock} - %s"
_CORRECT: Final[LiteralString] = "UPDATE meta SET ahead = %s, undone = undone + %s WHERE ahead = %s"


@frozen
class Machine:
    """The clock of a machine, which nobody sets."""

    #: Its milliseconds.
    now: Callable[[], int]
    #: What all servers have in common that use this clock, until the machine boots; None if they can't know.
    name: str | None = None


def this_machine() -> Machine:
    """The time since this machine was booted, with that for which it was suspended."""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        # Containers may have a clock of their own.
        return Machine(_since_boot, f"{boot} {Path('/proc/self/ns/time').readlink()}")
    return Machine(lambda: time.monotonic_ns() // 1_000_000)


def _since_boot() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


@frozen
class Look:
    """What a server has read of the database's clock."""

    #: Elapsed time, in milliseconds.
    elapsed: int
    #: By how many milliseconds the database's clock is ahead of it, and how often a correction of that was undone.
    ahead: int
    undone: int
    #: It was read between these two times of the machine's clock.
    before: int
    after: int


@frozen
class Correction:
    """A change of `ahead`, which was wrong in a look."""

    #: The milliseconds to add.
    by: int
    #: Whether it undoes the correction of another server, whose machine had stood still.
    undoes: bool


@frozen
class _Reference:
    """By how much elapsed time differs from the machine's clock."""

    #: The bounds of the difference, in milliseconds.
    least: int
    most: int
    #: See Look.
    ahead: int
    undone: int
    #: When it was taken, by the machine's clock.
    at: int

    @classmethod
    def of(cls, look: Look) -> "_Reference":
        """The reference that a look gives."""
        return cls(look.elapsed - look.after, look.elapsed - look.before, look.ahead, look.undone, look.after)

    def jump(self, look: Look) -> int:
        """By how many milliseconds elapsed time has jumped until a look; 0 if it may be drift."""
        other = _Reference.of(look)
        drift = _STEP + max(0, look.before - self.at) // _DRIFT
        if other.least > self.most + drift:
            return other.least - self.most
        return other.most - self.least if other.most < self.least - drift else 0


@define(eq=False)
class ClockSteps:
    """Finds the steps of the database's clock, for all connections of a server; any thread may call it."""

    machine: Machine
    _reference: _Reference | None = field(default=None, init=False)
    #: From when on it doubts corrections by other servers, by the machine's clock.
    _doubts_from: int = field(default=0, init=False)
    #: When to save the reference next.
    _save_at: int = field(default=0, init=False)
    _lock: Lock = field(factory=Lock, init=False)

    def begin(self, look: Look, saved: _Reference | None) -> None:
        """Take the reference at the start of a server: the saved one if it may still hold, or else this look."""
        # If `ahead` was changed since it was saved, and it does not fit now, whoever changed it knew more.
        if saved is None or saved.at > look.after or (saved.jump(look) and saved.ahead != look.ahead):
            self._reference, self._doubts_from = _Reference.of(look), look.after + _TRUSTS
        else:
            self._reference = saved

    def check(self, look: Look) -> Correction | None:
        """
        The correction if elapsed time has jumped; None if it goes on as it should.

        The correction fails if another server has changed `ahead` since. Then, as after a correction, look again.
        """
        with self._lock:
            reference = self._reference
            jump = 0 if reference is None else reference.jump(look)
            if reference is None or (jump and self._accepts(look, jump, reference)):
                self._reference, self._save_at = _Reference.of(look), 0
            elif jump:
                return Correction(jump, undoes=_only_ahead_has_changed(look, jump, reference))
            elif look.after - look.before <= _LONG and look.after >= reference.at:
                self._reference = _Reference.of(look)
            return None

    def _accepts(self, look: Look, jump: int, reference: _Reference) -> bool:
        """
        Whether elapsed time has jumped because another server has put it right.

        A machine may stand still, and then its servers take that for a step of the database's clock. Others undo their
        correction, and they accept that.
        """
        if look.before < reference.at:
            # It may be older than the reference.
            return False
        if look.undone != reference.undone:
            return True
        return look.before < self._doubts_from and _only_ahead_has_changed(look, jump, reference)

    def to_save(self) -> _Reference | None:
        """The reference, if it is time to save it for the next servers on this machine."""
        is_time = self.machine.name is not None and self.machine.now() >= self._save_at
        return self._reference if is_time else None

    def saved(self) -> None:
        """The reference was saved."""
        self._save_at = self.machine.now() + _SAVED


def _only_ahead_has_changed(look: Look, jump: int, reference: _Reference) -> bool:
    """Whether the database's clock went on as it should, and elapsed time has jumped since `ahead` was changed."""
    return abs(jump + look.ahead - reference.ahead) <= _STEP


def begin_clock(connection: "Connection[Row]", clock: LiteralString, steps: ClockSteps) -> None:
    """Take the reference of a server at its start; `clock` reads the time, in SQL."""
    before = steps.machine.now()
    ((wall, ahead, undone, *saved),) = connection.execute(_BEGIN.format(clock=clock), [steps.machine.name]).fetchall()
    look = Look(wall - ahead, ahead, undone, before, steps.machine.now())
    its_ahead, difference, at = saved
    steps.begin(look, None if at is None else _Reference(difference, difference, its_ahead, undone, at))


def corrected(correction: Correction, look: Look) -> Statement:
    """The statement that makes a correction, unless another server has made one since the look."""
    return Statement(_CORRECT, [look.ahead + correction.by, int(correction.undoes), look.ahead])


def save_clock(connection: "Connection[Row]", clock: LiteralString, steps: ClockSteps) -> None:
    """Save the reference of a server if it is time to."""
    reference = steps.to_save()
    if reference is not None:
        difference = (reference.least + reference.most) // 2
        values = [steps.machine.name, reference.ahead, difference, reference.at]
        connection.execute(_SAVE.format(clock=clock), values)
        connection.execute(_FORGET.format(clock=clock), [_FORGOTTEN])
        steps.saved()
