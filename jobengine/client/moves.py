"""Moves of jobs into other queues, and dead-letter queues."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, TypedDict

from .answers import Answer, Field, as_minutes, as_time
from .jobs import Span, whole_minutes, written


class DeadLetter(Answer):
    """The dead-letter queue of a queue."""

    __slots__ = ()
    _shown = ("queue_name", "missing")

    queue_name = Field[str]("queue_name")
    #: How long the dead-letter queue keeps a job after the job's failure.
    keep = Field[timedelta]("keep_minutes", as_minutes)
    #: Whether a job could not move because the dead-letter queue was deleted: then set it again.
    missing = Field[bool]("missing", default=False)


class DeadLetterOptions(TypedDict, total=False):
    """A dead-letter queue to set."""

    queue_name: str
    #: Minutes for which the dead-letter queue keeps a job after the job's failure.
    keep_minutes: Span


class MovedFrom(Answer):
    """Where a job was before its last move."""

    __slots__ = ()
    _shown = ("queue_name", "at")

    queue_name = Field[str]("queue_name")
    at = Field[datetime]("at", as_time)


class Moved(Answer):
    """The result of a move."""

    __slots__ = ()
    _shown = ("matched", "moved", "not_moved")

    #: How many jobs matched; in a move by uid, how many of the uids the queue holds.
    matched = Field[int]("matched", default=0)
    #: How many of the jobs were moved; with `dry_run`, how many would be.
    moved = Field[int]("moved", default=0)
    #: How many were not moved, by reason, such as inprogress, uid_taken, full or, for a uid, not_found.
    not_moved = Field[Mapping[str, int]]("not_moved", default=MappingProxyType({}))


def dead_letter_value(given: Any) -> Mapping[str, Any]:
    """A dead-letter queue in its wire form, from its name, a mapping, or a DeadLetter."""
    if isinstance(given, DeadLetter):
        return {"queue_name": given.queue_name, "keep_minutes": given.raw["keep_minutes"]}
    if isinstance(given, str):
        return {"queue_name": given}
    if not isinstance(given, Mapping):
        raise TypeError(
            f'must be the name of a queue or a dict such as {{"queue_name": ...}}, not {type(given).__name__}'
        )
    return written(given, DeadLetterOptions.__optional_keys__, encoders={"keep_minutes": whole_minutes})
