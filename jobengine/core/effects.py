"""The effects of facts: the state before and after each change."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Final

from .dead_letters import DUE
from .model import Job, Queue
from .tables import Table
from .values import Value


class JobEffect(Value, frozen=True):
    """The effect of a fact about a job; `old` or `new` is None where the job does not exist."""

    #: The queue's name.
    queue: str
    #: The job's uid.
    uid: str
    #: The job before and after.
    old: Job | None
    new: Job | None

    @property
    def not_moved(self) -> str | None:
        """Why this failed job is not moved to the dead-letter queue, if this change decides that; else None."""
        reason = "" if self.new is None else self.new.standing.notes.dead_letter
        if not reason or reason == DUE:
            return None
        return None if self.old is not None and self.old.standing.notes.dead_letter == reason else reason

    @property
    def job(self) -> Job:
        """The job after the change, or before its removal."""
        job = self.new or self.old
        assert job is not None
        return job


class QueueEffect(Value, frozen=True, gc=True):
    """The effect of a fact about a queue."""

    #: The queue's name.
    queue: str
    #: The value before: the queue with its jobs; its configuration alone if only that changed; or None.
    old: "Table | Queue | None"


class ClockEffect(Value, frozen=True):
    """The effect of the fact that the wall clock was set."""

    #: By how many milliseconds the wall clock was ahead of elapsed time before the change.
    old: int


class HistoryEffect(Value, frozen=True):
    """The effect of counting periods of a queue; it is not rolled back, since the counts stay true."""

    queue: str


class ItemEffect(Value, frozen=True):
    """The effect of a fact about a named thing of a queue."""

    queue: str
    kind: str
    name: str
    #: The thing's value before and after; None where it does not exist.
    old: str | None
    new: str | None


#: The types of the effects of nearly all commits.
OF_JOBS: Final = frozenset({JobEffect})
Effect = ClockEffect | HistoryEffect | ItemEffect | JobEffect | QueueEffect


_queue_of: Final = attrgetter("queue")


def by_queue(effects: Sequence[JobEffect]) -> Iterable[tuple[str, Sequence[JobEffect]]]:
    """Changes of jobs by queue, in order: one run for consecutive changes in the same queue."""
    if len(effects) == 1:
        return ((effects[0].queue, effects),)
    return [(name, list(run)) for name, run in groupby(effects, _queue_of)]
