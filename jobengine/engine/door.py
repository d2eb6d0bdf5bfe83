"""
The door between callers and the engine that keeps the jobs.

Every verb takes and gives values of jobengine.core and returns an awaitable, so that an engine on another machine can
stand behind the same door. What a verb answers is on disk when it answers.
"""

from collections.abc import AsyncGenerator, Awaitable, Mapping, Sequence
from enum import StrEnum
from typing import Protocol, TypeVar

from attrs import Factory, frozen

from ..core import commands as c
from ..core.model import EventBatch, Job

__all__ = [
    "Busy",
    "Engine",
    "Figure",
    "FigureKind",
    "Full",
    "NotOffered",
    "OutcomeUnknown",
    "Readiness",
    "Starting",
    "Unavailable",
]

A = TypeVar("A")


class Unavailable(Exception):
    """The engine can't carry out a command now; str() of it is written for the client."""


class Full(Unavailable):
    """There is no room on disk for a change."""


class OutcomeUnknown(Unavailable):
    """Storage has failed: the change may or may not be there after the restart that follows."""


class Starting(Unavailable):
    """The engine takes up what is stored; nothing was carried out."""


class Busy(Unavailable):
    """More is being done already than may be at a time; none of this command was carried out."""


class NotOffered(Unavailable):
    """The engine has no such verb; another one may have it."""


@frozen(kw_only=True)
class Readiness:
    """Whether the engine takes changes."""

    #: It does.
    ready: bool
    #: Why it does not, or an empty text.
    reason: str
    #: "commit" or "interval"; see the README on DURABILITY.
    durability: str


class FigureKind(StrEnum):
    """What a figure is."""

    #: A total since the start of the process.
    COUNTER = "counter"
    #: What is the case now.
    GAUGE = "gauge"
    #: A total, and over how many.
    SUMMARY = "summary"


@frozen(kw_only=True)
class Figure:
    """A number that an engine measures of itself; each engine has its own."""

    #: Lower case with underscores, ending in its unit. Figures of one name differ in their labels and stand together.
    name: str
    #: A sentence that says what it is.
    help: str
    kind: FigureKind
    value: float
    #: Of a summary: over how many its value is the sum.
    count: int = 0
    labels: Mapping[str, str] = Factory(dict)


class Engine(Protocol):
    """
    What an engine does.

    Beside what is said at each verb, all raise QueueNotFound, AccessDenied, NotAllowed and the kinds of Unavailable, in
    the order queue, key, job. What else a command can raise stands in jobengine.core.rules.
    """

    # Its life

    def open(self) -> None:
        """Check whether it can be started, with nothing changed; the errors are those of the storage, and OSError."""

    def start(self) -> Awaitable[None]:
        """
        Take up what is stored, in slices; it comes to its end when that is done, or `stop` was called.

        The errors are those of the storage, and OSError. Until then all verbs but these of its life raise Starting.
        """

    def abandon(self) -> None:
        """Let go of the storage of an engine that was opened, before the reactor runs: the process can't start."""

    def wall_clock_was_set(self) -> None:
        """Look at the wall clock now, and apply what is due by it."""

    def release(self) -> None:
        """Answer all waiters with what there is, and from now on let none wait."""

    def stop(self) -> Awaitable[None]:
        """Release, make the last commit and let go of the storage."""

    async def readiness(self) -> Readiness:
        """Whether changes are taken."""

    async def figures(self) -> Sequence[Figure]:
        """What the engine counts of its own work."""

    # Plain questions

    async def ask(self, command: c.Command[A]) -> A:
        """Carry out a command; its answer is on disk. Waits for nothing else, whatever the command says."""

    # What waits

    async def claim(self, command: c.Claims) -> c.ClaimResult:
        """
        Update jobs, then claim the jobs that are to run next: in progress from now on and given to nobody else.

        Waits as the command says, first come first served, if it has no updates. If it is cancelled, what was claimed
        is put back.
        """

    async def peek(self, command: c.Peek) -> Job | None:
        """The job that is to run next, left where it is; waits in one line with claims."""

    async def read_job(self, command: c.ReadJob) -> Job:
        """The job as it is, or when it is finished if the command waits; raises JobNotFound."""

    # What goes on in slices, between other commands

    async def update_matching(self, command: c.UpdateMatching) -> int:
        """Change all jobs that match; how many there were."""

    async def delete_matching(self, command: c.DeleteMatching) -> int:
        """Remove all jobs that match; how many there were."""

    # What streams

    async def read_queue(self, command: c.ListJobs) -> AsyncGenerator[Sequence[Job], None]:
        """
        The jobs that are in a queue when the first of them are read, at most `command.limit` at a time.

        They come in execution order, each as it is when it is given and none twice, however they are edited meanwhile;
        those that are removed before are left out. Close it if it is not read to its end. Nothing of the command but
        queue, key and limit counts.
        """

    async def watch(self, command: c.Subscribe) -> AsyncGenerator[Sequence[EventBatch] | None, None]:
        """
        Changes of jobs as they happen, some at a time, from when the first item is asked for.

        The first item is None if what followed `command.after` is no longer kept. It ends when the queue is deleted or
        no longer takes the key, the engine stops, or the watcher falls too far behind.
        """

    async def backup(self) -> AsyncGenerator[bytes, None]:
        """
        All that is stored, as it is now: some bytes at a time, no faster than they are asked for.

        What is on disk at this moment is in it; changes go on meanwhile. Close it if it is not read to its end. Raises
        Busy if too many are being made, NotOffered, and OSError.
        """
