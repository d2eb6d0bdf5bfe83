"""Commands about queues, their keys and their figures."""

from collections.abc import Sequence

from ..model import AccessKey, Defaults, Grant, Queue, QueueStats, QueueTotals, Role
from .command import AllQueues, QueueCommand

__all__ = [
    "AddKey",
    "ChangeQueue",
    "CheckKey",
    "CountQueues",
    "CreateQueue",
    "DeleteQueue",
    "ListKeys",
    "ListQueues",
    "ReadStats",
    "RevokeKey",
    "Subscribe",
]


class ListQueues(AllQueues[Sequence[QueueStats]], frozen=True, kw_only=True):
    """All figures of the queues."""


class CountQueues(AllQueues[Sequence[QueueTotals]], frozen=True, kw_only=True):
    """The figures of queues that are cheap to compute."""


class CreateQueue(QueueCommand[None], frozen=True, kw_only=True):
    """Make an empty queue whose owner's key is `access_key`."""

    #: How many queues there may be, for callers without the admin key; None is any number.
    max_queues: int | None = None


class DeleteQueue(QueueCommand[None], frozen=True, kw_only=True):
    """Remove the queue and every job in it."""


class ChangeQueue(QueueCommand[Queue], frozen=True, kw_only=True):
    """Reconfigure a queue; what is None stays as it is."""

    #: See Queue.
    paused: bool | None = None
    draining: bool | None = None
    require_lease: bool | None = None
    max_jobs: int | None = None
    defaults: Defaults | None = None
    #: A new owner's key, and for how many seconds the present one stays valid beside it; older ones are not.
    new_access_key: bytes | None = None
    old_key_seconds: int = 0


class AddKey(QueueCommand[AccessKey], frozen=True, kw_only=True):
    """Add a key with a role."""

    #: What it may do.
    role: Role
    #: The key.
    new_access_key: bytes


class RevokeKey(QueueCommand[None], frozen=True, kw_only=True):
    """Revoke a key with a role."""

    #: See AccessKey.id.
    key_id: str


class ListKeys(QueueCommand[Sequence[AccessKey]], frozen=True, kw_only=True):
    """The keys beside the owner's."""


class CheckKey(QueueCommand[Grant], frozen=True, kw_only=True):
    """See whether the key opens the queue, with any role."""


class ReadStats(QueueCommand[QueueStats], frozen=True, kw_only=True):
    """Counts and times of the queue."""


class Subscribe(QueueCommand[Queue], frozen=True, kw_only=True):
    """Watch the events of a queue, which come through Engine.watch."""

    #: Resume after the event with this id; None starts with the next event.
    after: str | None = None
