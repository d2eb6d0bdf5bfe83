"""
The facts that make up the journal.

A fact is absolute: it states the new value, not a difference, so applying it a second time changes nothing. Therefore a
snapshot can be taken in slices while the state keeps changing (docs/database-format.md).
"""

from .history import Period
from .model import Job, Queue, Standing
from .values import Value


class QueueCreated(Value, frozen=True):
    """A queue exists from now on, without jobs if it is new."""

    queue: Queue


class QueueChanged(Value, frozen=True):
    """A queue was reconfigured: its new configuration; its jobs stay unchanged."""

    queue: Queue


class QueueDeleted(Value, frozen=True):
    """A queue and all its jobs were deleted."""

    name: str


class JobAdded(Value, frozen=True):
    """A whole job as it is now: a new one, or one whose spec a client changed."""

    queue: str
    job: Job


class JobChanged(Value, frozen=True):
    """A job was claimed, updated, or changed by time: its new standing."""

    queue: str
    uid: str
    standing: Standing


class JobRemoved(Value, frozen=True):
    """A job was removed: deleted by a client, or expired."""

    queue: str
    uid: str


class ClockSet(Value, frozen=True):
    """The wall clock is ahead of elapsed time by this many milliseconds now; negative if it is behind."""

    ahead: int


class PeriodsCounted(Value, frozen=True):
    """The counts of some periods of a queue; each replaces earlier counts of the same period."""

    queue: str
    periods: tuple[Period, ...]


class ItemSet(Value, frozen=True):
    """The new value of a named thing of a queue, such as the settings of a group."""

    queue: str
    #: The kind of thing; kind and name together are unique in the queue.
    kind: str
    name: str
    #: JSON text, whose form depends on the kind; None if the thing was removed.
    value: str | None


Fact = (
    ItemSet
    | PeriodsCounted
    | ClockSet
    | QueueCreated
    | QueueChanged
    | QueueDeleted
    | JobAdded
    | JobChanged
    | JobRemoved
)
