"""
The facts a journal is made of.

A fact is absolute: it says what is, not what to add or subtract, so applying it a second time changes nothing. That is
what lets a snapshot be taken in slices while the state goes on changing (docs/database-format.md).
"""

from attrs import frozen

from .model import Job, Queue, Standing

__all__ = ["Fact", "JobAdded", "JobChanged", "JobRemoved", "QueueChanged", "QueueCreated", "QueueDeleted"]


@frozen
class QueueCreated:
    """A queue exists from now on, without jobs if it is new."""

    queue: Queue


@frozen
class QueueChanged:
    """A queue is set up like this now; its jobs are as they were."""

    queue: Queue


@frozen
class QueueDeleted:
    """A queue and all its jobs are gone."""

    name: str


@frozen
class JobAdded:
    """A job is in a queue, just as it says: a new one, or one whose fixed half a client has changed."""

    queue: str
    job: Job


@frozen
class JobChanged:
    """A job was claimed, updated, or moved on by time: this is its changing half now."""

    queue: str
    uid: str
    standing: Standing


@frozen
class JobRemoved:
    """A job is gone: deleted by a client, or past its time."""

    queue: str
    uid: str


Fact = QueueCreated | QueueChanged | QueueDeleted | JobAdded | JobChanged | JobRemoved
