"""The rules for making, reconfiguring and deleting queues, and for their keys."""

from collections.abc import Sequence
from hmac import compare_digest
from typing import Any, Final

from attrs import evolve

from . import commands as c
from .access import digest_of
from .decision import NOTHING, Decision, Lately, NewId, Rules
from .errors import KeyNotFound, KeyTaken, QueueExists, TooManyKeys, TooManyQueues
from .facts import QueueChanged, QueueCreated, QueueDeleted
from .model import SECOND, AccessKey, Grant, OldKey, Queue
from .tables import Table, TableSet

__all__ = ["OF_A_QUEUE", "OTHERS"]

#: How many keys a queue may have beside the owner's.
_MOST_KEYS: Final = 100


def _create_queue(tables: TableSet, command: c.CreateQueue, now: int, new_id: NewId, _lately: Lately) -> Decision[None]:
    """Make a queue; raises QueueExists or TooManyQueues."""
    if command.queue in tables.queues:
        raise QueueExists(command.queue)
    if command.max_queues is not None and not command.admin and len(tables.queues) >= command.max_queues:
        raise TooManyQueues(command.max_queues)
    salt = new_id()
    digest = digest_of(command.access_key, salt)
    return [QueueCreated(Queue(name=command.queue, salt=salt, digest=digest, created=now))], None


def _delete_queue(_table: Table, _grant: Grant, command: c.DeleteQueue, _now: int, _new_id: NewId) -> Decision[None]:
    """Delete a queue."""
    return [QueueDeleted(command.queue)], None


def _change_queue(table: Table, _grant: Grant, command: c.ChangeQueue, now: int, _new_id: NewId) -> Decision[Queue]:
    """Reconfigure a queue; raises KeyTaken."""
    names = ("paused", "draining", "require_lease", "max_jobs", "defaults")
    changes = {name: value for name in names if (value := getattr(command, name)) is not None}
    if command.new_access_key is not None:
        changes |= _new_owner_key(table.queue, command.new_access_key, now + command.old_key_seconds * SECOND, now)
    return _reconfigured(table, evolve(table.queue, **changes))


def _new_owner_key(queue: Queue, access_key: bytes, old_until: int, now: int) -> dict[str, Any]:
    """The changes for a new owner's key, with the present one valid until `old_until`."""
    digest = _new_digest(queue, access_key, [])
    if digest == queue.digest:
        return {}
    return {"digest": digest, "old_key": OldKey(digest=queue.digest, until=old_until) if old_until > now else None}


def _add_key(table: Table, _grant: Grant, command: c.AddKey, now: int, new_id: NewId) -> Decision[AccessKey]:
    """Add a key with a role; raises TooManyKeys or KeyTaken."""
    if len(table.queue.keys) >= _MOST_KEYS:
        raise TooManyKeys(_MOST_KEYS)
    old = table.queue.old_key
    taken = [table.queue.digest, *([old.digest] if old is not None and old.until > now else ())]
    digest = _new_digest(table.queue, command.new_access_key, taken)
    key = AccessKey(id=new_id(), role=command.role, digest=digest, created=now)
    facts, _ = _reconfigured(table, evolve(table.queue, keys=(*table.queue.keys, key)))
    return facts, key


def _revoke_key(table: Table, _grant: Grant, command: c.RevokeKey, _now: int, _new_id: NewId) -> Decision[None]:
    """Revoke a key with a role; raises KeyNotFound."""
    keys = tuple(key for key in table.queue.keys if key.id != command.key_id)
    if len(keys) == len(table.queue.keys):
        raise KeyNotFound(command.key_id)
    facts, _ = _reconfigured(table, evolve(table.queue, keys=keys))
    return facts, None


def _new_digest(queue: Queue, access_key: bytes, taken: list[str]) -> str:
    """The digest of a new key; raises KeyTaken if a key with a role has it, or if it is in `taken`."""
    digest = digest_of(access_key, queue.salt)
    if any(compare_digest(digest, known) for known in (*taken, *(key.digest for key in queue.keys))):
        raise KeyTaken
    return digest


def _reconfigured(table: Table, queue: Queue) -> Decision[Queue]:
    return ([QueueChanged(queue)] if queue != table.queue else NOTHING), queue


def _list_keys(
    table: Table, _grant: Grant, _command: c.ListKeys, _now: int, _new_id: NewId
) -> Decision[Sequence[AccessKey]]:
    """The keys beside the owner's."""
    return NOTHING, table.queue.keys


def _check_key(_table: Table, grant: Grant, _command: c.CheckKey, _now: int, _new_id: NewId) -> Decision[Grant]:
    """What the key may do."""
    return NOTHING, grant


def _subscribe(table: Table, _grant: Grant, _command: c.Subscribe, _now: int, _new_id: NewId) -> Decision[Queue]:
    """Check that the key may watch the queue."""
    return NOTHING, table.queue


#: The rule of each command about one queue.
OF_A_QUEUE: Final[Rules] = {
    c.DeleteQueue: _delete_queue,
    c.ChangeQueue: _change_queue,
    c.AddKey: _add_key,
    c.RevokeKey: _revoke_key,
    c.ListKeys: _list_keys,
    c.CheckKey: _check_key,
    c.Subscribe: _subscribe,
}
#: The rules of the other commands.
OTHERS: Final[Rules] = {
    c.CreateQueue: _create_queue,
}
