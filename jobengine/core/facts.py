"""
The facts a journal is made of.

A fact is absolute: it says what is, not what to add or subtract, so applying it a second time changes nothing. That is
what lets a snapshot be taken in slices while the state keeps changing (docs/database-format.md).
"""

from .history import Period
from .model import Job, Queue, Standing
from .values import Value


class QueueCreated(Value, frozen=True):
    """A queue exists from now on, without jobs if it is new."""

    queue: Queue


class QueueChanged(Value, frozen=True):
    """A queue was reconfigured: this is what it is now; its jobs are as they were."""

    queue: Queue


class QueueDeleted(Value, frozen=True):
    """A queue and all its jobs are gone."""

    name: str


class JobAdded(Value, frozen=True):
    """A whole job as it is now: a new one, or one whose fixed half a client changed."""

    queue: str
    job: Job


class JobChanged(Value, frozen=True):
    """A job was claimed, updated, or moved on by time: this is its changing half now."""

    queue: str
    uid: str
    standing: Standing


class JobRemoved(Value, frozen=True):
    """A job is gone: deleted by a client, or past its time."""

    queue: str
    uid: str


class ClockSet(Value, frozen=True):
    """The wall clock is ahead of elapsed time by this many milliseconds now; negative if it is behind."""

    ahead: int


class PeriodsCounted(Value, frozen=True):
    """What happened in some periods of a queue: each replaces what was known of the same period."""

    queue: str
    periods: tuple[Period, ...]


class ItemSet(Value, frozen=True):
    """A named thing of a queue, such as the settings of one of its groups, is this from now on."""

    queue: str
    #: What it is; with its name unique in the queue.
    kind: str
    name: str
    #: JSON text, whose form depends on the kind; None if the thing is gone.
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
