"""Creating, reconfiguring and deleting queues, and their keys."""

from collections.abc import Sequence
from hmac import compare_digest
from typing import Any, Final

from attrs import evolve
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from ..access import OWNERS, READERS, digest_of
from ..ageing import changed_order
from ..dead_letters import KEEP_MINUTES, DeadLetter
from ..errors import (
    BadDeadLetter,
    FairWithAgeing,
    KeyNotFound,
    KeyTaken,
    QueueExists,
    TooManyKeys,
    TooManyQueues,
)
from ..facts import ItemSet, QueueChanged, QueueCreated, QueueDeleted
from ..flow import GATE, NO_FLOW, NO_LIMITS, OF_QUEUE, Flow, GroupOrder, Limits, OnFailure
from ..gates import GateChanges
from ..model import SECOND, AccessKey, Defaults, Grant, OldKey, Queue, Role
from ..required_rows import NOTHING_MORE, Needs
from ..tables import NOTHING, Decision, NewId, RecentActivity, Table, TableSet, table_of
from .command import Command, QueueCommand, UseQueue

__all__ = [
    "AddKey",
    "ChangeQueue",
    "CheckKey",
    "CreateQueue",
    "DeleteQueue",
    "ListKeys",
    "RevokeKey",
    "Subscribe",
]

#: How many keys a queue may have beside the owner's.
_MOST_KEYS: Final = 100


class CreateQueue(Command[None], frozen=True, kw_only=True):
    """Make an empty queue whose owner's key is `access_key`."""

    reads = False

    #: The queue's name.
    queue: str
    #: The access key as bytes.
    access_key: bytes = b""
    #: Whether the caller has sent the server's admin key.
    admin: bool = False
    #: The most queues for callers without the admin key; None is no limit.
    max_queues: int | None = None

    @property
    def queue_names(self) -> tuple[str, ...]:
        return (self.queue,)

    def decide(self, tables: TableSet, now: int, new_id: NewId, activity: RecentActivity) -> Decision[None]:
        """Raises QueueExists or TooManyQueues."""
        if self.queue in tables.queues:
            raise QueueExists(self.queue)
        if self.max_queues is not None and not self.admin and tables.count_queues() >= self.max_queues:
            raise TooManyQueues(self.max_queues)
        salt = new_id()
        digest = digest_of(self.access_key, salt)
        return [QueueCreated(Queue(name=self.queue, salt=salt, digest=digest, created=now))], None


class DeleteQueue(QueueCommand[None], frozen=True, kw_only=True):
    """Remove the queue and every job in it."""

    roles = OWNERS
    reads = False
    removes = True

    def decide_in(
        self, table: Table, grant: Grant, now: int, new_id: NewId, activity: RecentActivity
    ) -> Decision[None]:
        return [QueueDeleted(self.queue)], None


class ChangeQueue(QueueCommand[Queue], frozen=True, kw_only=True):
    """Reconfigure a queue; None leaves a setting unchanged."""

    roles = OWNERS
    reads = False

    def needs(self, queue: Queue, grant: Grant) -> Needs:
        return NOTHING_MORE if self.held_until is UNSET else Needs(items=frozenset([(GATE, OF_QUEUE)]))

    #: See Queue.
    paused: bool | None = None
    draining: bool | None = None
    require_lease: bool | None = None
    max_jobs: int | None = None
    #: See Queue; UNSET leaves them as they are.
    defaults: Defaults | UnsetType | None = UNSET
    #: See Flow; UNSET leaves a part unchanged, and None removes limits.
    limits: Limits | UnsetType | None = UNSET
    group_limits: Limits | UnsetType | None = UNSET
    group_order: GroupOrder | UnsetType = UNSET
    group_on_failure: OnFailure | UnsetType = UNSET
    #: See Queue; None is no aim.
    target_wait_seconds: int | UnsetType | None = UNSET
    #: See Order; None is strictly by priority.
    seconds_per_priority: int | UnsetType | None = UNSET
    #: The Unix second until which the queue is held; a second in the past ends a hold.
    held_until: int | UnsetType = UNSET
    #: The name of the dead-letter queue, and the minutes for which it keeps a job; if these are None, they stay as they
    #: are, and are KEEP_MINUTES at first. UNSET changes nothing, and None removes the dead-letter queue.
    dead_letter: tuple[str, int | None] | UnsetType | None = UNSET
    #: A new owner key; the present one stays valid for `old_key_seconds`, older ones do not.
    new_access_key: bytes | None = None
    old_key_seconds: int = 0

    @property
    def queue_names(self) -> tuple[str, ...]:
        return (self.queue, *((self.dead_letter[0],) if self.dead_letter else ()))

    @property
    def parts(self) -> Sequence[QueueCommand[object]]:
        if not self.dead_letter or self.dead_letter[0] == self.queue:
            return (self,)
        return (self, self._target)

    @property
    def _target(self) -> UseQueue:
        name = self.dead_letter[0] if self.dead_letter else ""
        return UseQueue(queue=name, access_key=self.access_key, admin=self.admin, named_in="dead_letter")

    def flow_after(self, queue: Queue) -> Flow | None:
        return self._flow(queue, needed=self.held_until is not UNSET)

    def decide(self, tables: TableSet, now: int, new_id: NewId, activity: RecentActivity) -> Decision[Queue]:
        """Raises KeyTaken, FairWithAgeing or BadDeadLetter."""
        self.check(tables, now)
        dead_letters = tables.queues[self.dead_letter[0]].queue if self.dead_letter else None
        return self._decided(table_of(tables, self.queue), dead_letters, now)

    def decide_in(
        self, table: Table, grant: Grant, now: int, new_id: NewId, activity: RecentActivity
    ) -> Decision[Queue]:
        """Like `decide`, for a change that names no dead-letter queue."""
        return self._decided(table, table.queue, now)

    def _decided(self, table: Table, dead_letters: Queue | None, now: int) -> Decision[Queue]:
        names = ("paused", "draining", "require_lease", "max_jobs")
        changes = {name: value for name in names if (value := getattr(self, name)) is not None}
        if self.defaults is not UNSET:
            changes["defaults"] = self.defaults
        if self.new_access_key is not None:
            changes |= _new_owner_key(table.queue, self.new_access_key, now + self.old_key_seconds * SECOND, now)
        if self.target_wait_seconds is not UNSET:
            changes["target_wait_seconds"] = self.target_wait_seconds
        if self.seconds_per_priority is not UNSET:
            changes["order"] = changed_order(table.queue.order, self.seconds_per_priority, now)
        changes |= self._dead_letter_change(table.queue, dead_letters)
        gates = GateChanges(table)
        if self.held_until is not UNSET:
            until = self.held_until * SECOND - table.wall(0)
            gates.hold(OF_QUEUE, until if until > now else 0)
        held = [fact for fact in gates.facts() if isinstance(fact, ItemSet)]
        flow = self._flow(table.queue, needed=bool(held))
        new = evolve(table.queue, **changes, flow=flow)
        _check_order(new)
        facts, queue = _reconfigured(table, new)
        return [*facts, *held], queue

    def _dead_letter_change(self, queue: Queue, target: Queue | None) -> dict[str, DeadLetter | None]:
        if self.dead_letter is UNSET:
            return {}
        if self.dead_letter is None or target is None:
            return {"dead_letter": None}
        return {"dead_letter": dead_letter_of(queue, target, self.dead_letter[1])}

    def _flow(self, queue: Queue, *, needed: bool) -> Flow | None:
        """The queue's flow after the change; still None if nothing needs flow."""
        old = queue.flow or NO_FLOW
        sent = {name: value for name in Flow.__struct_fields__ if (value := getattr(self, name)) is not UNSET}
        new = replace(old, **{name: NO_LIMITS if value is None else value for name, value in sent.items()})
        return new if needed or new != old else queue.flow


def dead_letter_of(queue: Queue, target: Queue, keep_minutes: int | None) -> DeadLetter:
    """
    The setting that makes `target` the dead-letter queue of a queue.

    Raises BadDeadLetter if `target` is the queue itself, or has a dead-letter queue and is not this queue's already: so
    there is never a circle.
    """
    if target.name == queue.name:
        raise BadDeadLetter("A queue can't be its own dead-letter queue; name another one.")
    before = queue.dead_letter
    is_set = before is not None and (before.queue, before.salt) == (target.name, target.salt)
    if target.dead_letter is not None and not is_set:
        raise BadDeadLetter(
            f"The queue {target.name!r} has a dead-letter queue itself, {target.dead_letter.queue!r}: jobs could go "
            "round in a circle. Name a queue that has no dead-letter queue."
        )
    if keep_minutes is None:
        keep_minutes = KEEP_MINUTES if before is None else before.keep_minutes
    return DeadLetter(queue=target.name, salt=target.salt, keep_minutes=keep_minutes)


class AddKey(QueueCommand[AccessKey], frozen=True, kw_only=True):
    """Add a key with a role."""

    roles = OWNERS
    reads = False

    #: What the key may do.
    role: Role
    #: The key.
    new_access_key: bytes

    def decide_in(
        self, table: Table, grant: Grant, now: int, new_id: NewId, activity: RecentActivity
    ) -> Decision[AccessKey]:
        """Raises TooManyKeys or KeyTaken."""
        if len(table.queue.keys) >= _MOST_KEYS:
            raise TooManyKeys(_MOST_KEYS)
        old = table.queue.old_key
        taken = [table.queue.digest, *([old.digest] if old is not None and old.until > now else ())]
        digest = _new_digest(table.queue, self.new_access_key, taken)
        key = AccessKey(id=new_id(), role=self.role, digest=digest, created=now)
        facts, _ = _reconfigured(table, evolve(table.queue, keys=(*table.queue.keys, key)))
        return facts, key


class RevokeKey(QueueCommand[None], frozen=True, kw_only=True):
    """Revoke a key with a role."""

    roles = OWNERS
    reads = False

    #: See AccessKey.id.
    key_id: str

    def decide_in(
        self, table: Table, grant: Grant, now: int, new_id: NewId, activity: RecentActivity
    ) -> Decision[None]:
        """Raises KeyNotFound."""
        keys = tuple(key for key in table.queue.keys if key.id != self.key_id)
        if len(keys) == len(table.queue.keys):
            raise KeyNotFound(self.key_id)
        facts, _ = _reconfigured(table, evolve(table.queue, keys=keys))
        return facts, None


class ListKeys(QueueCommand[Sequence[AccessKey]], frozen=True, kw_only=True):
    """List the queue's keys, without the owner's."""

    roles = OWNERS
    reads = True
    is_batched = True
    overlaps = True

    def decide_in(
        self, table: Table, grant: Grant, now: int, new_id: NewId, activity: RecentActivity
    ) -> Decision[Sequence[AccessKey]]:
        return NOTHING, table.queue.keys


class CheckKey(QueueCommand[Grant], frozen=True, kw_only=True):
    """Check that the key opens the queue, with any role."""

    roles = frozenset(Role)
    reads = True
    is_batched = True
    overlaps = True

    def decide_in(
        self, table: Table, grant: Grant, now: int, new_id: NewId, activity: RecentActivity
    ) -> Decision[Grant]:
        return NOTHING, grant


class Subscribe(QueueCommand[Queue], frozen=True, kw_only=True):
    """Watch the events of a queue; Door.watch yields them."""

    roles = READERS
    reads = True
    is_batched = True
    overlaps = True

    #: Resume after the event with this id; None starts with the next event.
    after: str | None = None

    def decide_in(
        self, table: Table, grant: Grant, now: int, new_id: NewId, activity: RecentActivity
    ) -> Decision[Queue]:
        return NOTHING, table.queue


def _check_order(queue: Queue) -> None:
    """Raise FairWithAgeing if the queue has both fair order and priority ageing."""
    ages = queue.order is not None and queue.order.seconds_per_priority is not None
    if ages and queue.flow is not None and queue.flow.group_order is GroupOrder.FAIR:
        raise FairWithAgeing


def _new_owner_key(queue: Queue, access_key: bytes, old_until: int, now: int) -> dict[str, Any]:
    """The changed fields of a queue with a new owner's key; the present key stays valid until `old_until`."""
    digest = _new_digest(queue, access_key, [])
    if digest == queue.digest:
        return {}
    return {"digest": digest, "old_key": OldKey(digest=queue.digest, until=old_until) if old_until > now else None}


def _new_digest(queue: Queue, access_key: bytes, taken: list[str]) -> str:
    """The digest of a new key; raises KeyTaken if a key with a role has it, or if it is in `taken`."""
    digest = digest_of(access_key, queue.salt)
    if any(compare_digest(digest, known) for known in (*taken, *(key.digest for key in queue.keys))):
        raise KeyTaken
    return digest


def _reconfigured(table: Table, queue: Queue) -> Decision[Queue]:
    return ([QueueChanged(queue)] if queue != table.queue else NOTHING), queue
