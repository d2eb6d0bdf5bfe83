"""
The base classes of all commands.

The class of a command says everything about it: its roles, whether it changes anything, whether it may share a batch,
which rows it needs, and its rule. Engines read these attributes; there is no other list of commands.
"""

from collections.abc import Sequence
from typing import ClassVar, Generic, TypeVar

from ..access import OWNERS, authorise, with_own_digest
from ..errors import QueueNotFound
from ..facts import Fact, QueueChanged
from ..flow import Flow
from ..model import Grant, Queue, Role
from ..required_rows import NOTHING_MORE, Needs
from ..tables import NOTHING, Decision, NewId, RecentActivity, Table, TableSet, table_of
from ..values import Value

__all__ = ["AllQueues", "Command", "QueueCommand", "UseQueue"]

A_co = TypeVar("A_co", covariant=True)


class Command(Value, Generic[A_co], frozen=True, kw_only=True, omit_defaults=True):
    """A request to an engine, to read or to change; A_co is the type of its answer."""

    #: Whether the command changes nothing: then an engine locks no job for it, and writes nothing.
    reads: ClassVar[bool]
    #: Whether the command may share a batch with other commands: it needs only named jobs, or a queue's first jobs.
    is_batched: ClassVar[bool] = False
    #: Whether the command may run beside other commands about the same queue, in any order.
    overlaps: ClassVar[bool] = False
    #: Whether the command removes jobs; then jobs that depend on a complete job are released first.
    removes: ClassVar[bool] = False

    @property
    def queue_names(self) -> tuple[str, ...]:
        """The names of the queues that the command is about."""
        return ()

    @property
    def parts(self) -> "Sequence[QueueCommand[object]]":
        """The commands of which this one consists, each about one queue; none if it needs no existing queue."""
        return ()

    @property
    def weight(self) -> int:
        """How many jobs the command may add, claim or change; at least 1."""
        return 1

    def check(self, tables: TableSet, now: int) -> None:
        """
        Check at `now` that the queue of each part exists, and that the command's key permits the part.

        Raises QueueNotFound, AccessDenied or NotAllowed.
        """
        for part in self.parts:
            if (table := tables.queues.get(part.queue)) is None:
                raise QueueNotFound(part.queue)
            authorise(table.queue, part, now)

    def renew_key(self, tables: TableSet) -> Sequence[Fact]:
        """
        For a queue from the Go version, the fact that replaces the digest of its owner's key; see with_own_digest. No
        fact if nothing is to change.

        Apply it before the command is decided. Leaving it out does no harm: the key still opens the queue.
        """
        return NOTHING

    def decide(self, tables: TableSet, now: int, new_id: NewId, activity: RecentActivity) -> Decision[A_co]:
        """
        The command's facts at `now` (elapsed milliseconds), and its answer. Changes nothing.

        Nothing may be due at `now`: apply the facts of `expire` first. The queue is checked first, then the key, then
        the job. Raises a DomainError if the command is refused.
        """
        # A Struct can't be an abstract class. Each command overrides this, or `decide_in`.
        raise NotImplementedError


class QueueCommand(Command[A_co], frozen=True, kw_only=True):
    """A command about one queue, with the caller's key."""

    #: The roles that may send the command. A producer reads only the jobs that it added; the rules enforce that.
    roles: ClassVar[frozenset[Role]]

    #: The queue's name.
    queue: str
    #: The access key as bytes; ignored if `admin`.
    access_key: bytes = b""
    #: Whether the caller has sent the server's admin key, which opens every queue.
    admin: bool = False

    @property
    def queue_names(self) -> tuple[str, ...]:
        return (self.queue,)

    @property
    def named_in(self) -> str | None:
        """The field of the request that names the queue; None for the request's own queue."""
        return None

    @property
    def parts(self) -> "Sequence[QueueCommand[object]]":
        return (self,)

    def needs(self, queue: Queue, grant: Grant) -> Needs:
        """The parts of the queue's table that the rule needs."""
        return NOTHING_MORE

    def flow_after(self, queue: Queue) -> Flow | None:
        """The flow that a queue would have after this command; None if the command leaves it as it is."""
        return None

    def renew_key(self, tables: TableSet) -> Sequence[Fact]:
        table = None if self.admin else tables.queues.get(self.queue)
        queue = None if table is None else with_own_digest(table.queue, self.access_key)
        return NOTHING if queue is None else [QueueChanged(queue)]

    def decide(self, tables: TableSet, now: int, new_id: NewId, activity: RecentActivity) -> Decision[A_co]:
        table = table_of(tables, self.queue)
        return self.decide_in(table, authorise(table.queue, self, now), now, new_id, activity)

    def decide_in(
        self, table: Table, grant: Grant, now: int, new_id: NewId, activity: RecentActivity
    ) -> Decision[A_co]:
        """The command's rule: like `decide`, on the queue's table, for a key with this grant."""
        # See Command.decide.
        raise NotImplementedError


class AllQueues(Command[A_co], frozen=True, kw_only=True):
    """Read a page of all queues, by name; empty after the last queue. Checks no key: authenticate the caller first."""

    reads = True

    #: Start after this name; None starts at the first.
    after: str | None = None
    #: The most items of the page; 100 take a few milliseconds.
    limit: int = 100


class UseQueue(QueueCommand[None], frozen=True, kw_only=True):
    """A command's use of a second queue; the command's key must be an owner key of that queue too."""

    roles = OWNERS
    reads = True

    #: The jobs that the command reads, moves or adds there.
    uids: tuple[str, ...] = ()
    #: Whether the command adds jobs there.
    adds: bool = False
    #: The queue from which it moves the jobs.
    source: str | None = None
    named_in: str | None = None

    def needs(self, queue: Queue, grant: Grant) -> Needs:
        size = self.adds and queue.max_jobs > 0
        return Needs(uids=frozenset(self.uids), size=size, adds=self.adds, schedules_of=self.source)

    def decide_in(
        self, table: Table, grant: Grant, now: int, new_id: NewId, activity: RecentActivity
    ) -> Decision[None]:
        return NOTHING, None
