"""
The protocol between callers and the engine that keeps the jobs.

Arguments and results are values of jobengine.core, and results are awaited, so that an engine on another machine can
implement the protocol too. An answer is returned only when all its contents are on disk.
"""

from collections.abc import AsyncGenerator, Awaitable, Mapping, Sequence
from enum import StrEnum
from typing import Protocol, TypeVar

from attrs import Factory, frozen

from ..core import commands as c
from ..core.model import EventBatch, Job

A = TypeVar("A")
#: Events; or the id after which they begin; or None if some of the wanted events are no longer kept.
Watched = Sequence[EventBatch] | str | None


class Unavailable(Exception):
    """The engine can't carry out a command now; str() is the message for the client."""


class Full(Unavailable):
    """The database can't be written now: the disk is full, or its file was moved."""


class OutcomeUnknown(Unavailable):
    """Storage has failed: after the restart that follows, the change may or may not exist."""


class Starting(Unavailable):
    """The engine is still reading the database; nothing was carried out."""


class NoLead(Unavailable):
    """No server leads, or it can't be reached; no change was carried out, and the request can be repeated."""

    def __init__(self, text: str = "No server leads now, or it changes; nothing was carried out. Try again.") -> None:
        super().__init__(text)


class Busy(Unavailable):
    """Too many commands are in progress; no part of this one was carried out."""


class NotOffered(Unavailable):
    """The command is not offered by this kind of engine; another kind may offer it."""


@frozen(kw_only=True)
class Readiness:
    """The state of an engine, for health checks."""

    #: Whether the engine accepts changes.
    ready: bool
    #: Why the engine accepts no changes, or an empty string.
    reason: str
    #: "commit" or "interval", with the milliseconds if the server itself syncs: "interval (50 ms)"; see DURABILITY.
    durability: str
    #: Whether commands are carried out, perhaps only commands that read; false while the database is being read.
    started: bool = True


class FigureKind(StrEnum):
    """The kind of a measurement, as Prometheus has them."""

    #: A total since the start of the process.
    COUNTER = "counter"
    #: The present value.
    GAUGE = "gauge"
    #: A total, and the number of summed values.
    SUMMARY = "summary"


@frozen(kw_only=True)
class Figure:
    """A measurement of an engine; each kind of engine has its own measurements."""

    #: In lower case with underscores, ending in the unit. Figures of one name are adjacent and differ in their labels.
    name: str
    #: A sentence for Prometheus.
    help: str
    kind: FigureKind
    value: float
    #: For a summary: the number of summed values.
    count: int = 0
    labels: Mapping[str, str] = Factory(dict)


def counter(name: str, sentence: str, value: float, **labels: str) -> Figure:
    """A total since the start of the process."""
    return Figure(name=name, help=sentence, kind=FigureKind.COUNTER, value=value, labels=labels)


def gauge(name: str, sentence: str, value: float, **labels: str) -> Figure:
    """A figure that can rise and fall."""
    return Figure(name=name, help=sentence, kind=FigureKind.GAUGE, value=value, labels=labels)


def summary(name: str, sentence: str, value: float, count: int) -> Figure:
    """The total of `count` values."""
    return Figure(name=name, help=sentence, kind=FigureKind.SUMMARY, value=value, count=count)


class Door(Protocol):
    """
    The protocol of an engine.

    Every method raises QueueNotFound, AccessDenied, NotAllowed and the kinds of Unavailable; the queue is checked
    first, then the key, then the job. The rule of a command, in jobengine.core.commands, names its other errors.
    """

    # Start and stop

    def open(self) -> None:
        """
        Check whether the engine can be started, and lock stored data that only one server may use; stores nothing.

        Raises the errors of its storage, and OSError.
        """

    def start(self) -> Awaitable[None]:
        """
        Read the stored state, in slices; returns when that is done, or `stop` was called.

        Raises the errors of its storage, and OSError. Until it returns, all commands raise Starting.
        """

    def abandon(self) -> None:
        """Close the storage of an open engine that will not be started; the reactor does not run yet."""

    def wall_clock_was_set(self) -> None:
        """Read the wall clock now, and apply the changes that are due by it."""

    def release(self) -> None:
        """Answer all waiters at once; from now on no command waits."""

    def stop(self) -> Awaitable[None]:
        """Answer all waiters, make the last commit and close the storage."""

    async def readiness(self) -> Readiness:
        """Whether changes are accepted."""

    async def check_storage(self) -> None:
        """Find out whether an idle storage can still be written; `readiness` says so afterwards."""

    async def figures(self) -> Sequence[Figure]:
        """The engine's measurements."""

    # Commands without waiting

    async def ask(self, command: c.Command[A]) -> A:
        """Carry out a command; its answer is on disk. Never waits for a job, even if the command has a wait."""

    # Commands that may wait

    async def claim(self, command: c.Claims) -> c.ClaimResult:
        """
        Update jobs, then claim the first ready jobs.

        Without updates the claim waits as the command says, first come first served. If the call is cancelled, the
        claim is undone.
        """

    async def peek(self, command: c.Peek) -> Job | None:
        """The first ready job, unchanged, or None; waits as the command says, in the same line as claims."""

    async def read_job(self, command: c.ReadJob) -> Job:
        """The job as it is now, or once it is finished if the command waits; raises JobNotFound."""

    # Changes in slices, between other commands

    async def move_matching(self, command: c.MoveMatching) -> c.Moved:
        """Move all matching jobs into another queue in steps, each a commit; other requests run in between."""

    async def update_matching(self, command: c.UpdateMatching) -> int:
        """Change all jobs that match; returns how many did."""

    async def delete_matching(self, command: c.DeleteMatching) -> int:
        """Remove all jobs that match; returns how many did."""

    # Streams

    async def read_queue(self, command: c.ListJobs) -> AsyncGenerator[Sequence[Job], None]:
        """
        The jobs that a queue has when reading begins, at most `command.limit` at a time.

        The jobs come in execution order, each in its state when it is yielded and none twice, even if jobs change
        meanwhile; jobs that are removed before their turn are left out. Close the iterator if you do not read it to
        its end. Of the command only queue, key and limit are used.
        """

    async def watch(self, command: c.Subscribe) -> AsyncGenerator[Watched, None]:
        """
        Events of a queue as they happen, in batches, beginning when the first item is requested.

        The first item is None if the events after `command.after` are no longer kept. Before the first events comes the
        id after which they begin, so that a client that has seen none can resume. The stream ends when the queue is
        deleted, the key is revoked, the engine stops, or the watcher falls too far behind.
        """

    async def backup(self) -> AsyncGenerator[bytes, None]:
        """
        A copy of everything stored now, in pieces, no faster than they are read.

        The copy has the changes on disk at this moment; commands are carried out meanwhile. Close the iterator if you
        do not read it to its end. Raises Busy if too many backups are running, NotOffered, and OSError.
        """
