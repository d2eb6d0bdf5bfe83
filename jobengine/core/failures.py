"""
The failures of a queue: its jobs that have failed, or are tried again after a failure, grouped by their fingerprints.

A fingerprint is stored only if a worker sent one: all others are made from the error when they are read. A failure
without an error has the fingerprint of an empty text. A job is in the group of its latest failure; once a client has
queued it again, or it is complete or removed, it is in no group.
"""

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from .fingerprints import error_line, fingerprint
from .model import COMPLETE, FAILED, MINUTE, Attempt, Job, Notes, Standing
from .values import Value

#: The most groups of a queue that are listed: those with the most jobs. An engine may drop others.
MOST_GROUPS: Final = 1_000
#: How many uids are given of each group.
UIDS: Final = 5
#: How many minutes are counted, up to the present one.
MINUTES: Final = 60
#: For how long a group is new, in milliseconds.
NEW_FOR: Final = 15 * MINUTE
#: The outcomes of attempts that have failed.
_FAILURES: Final = frozenset({"failed", "timeout"})

#: A place in the list of groups: the number of jobs, and the fingerprint. The largest number comes first.
GroupPosition = tuple[int, str]


class Alike(Value, frozen=True):
    """Jobs of one queue whose latest failures have the same fingerprint."""

    #: The number of jobs.
    count: int = 0
    #: When the first of the jobs failed; None without jobs.
    first: int | None = None
    #: Whether `count` may be too low and `first` too late, because the engine has dropped this fingerprint before.
    at_least: bool = False

    def at_wall_clock(self, ahead: int) -> "Alike":
        return replace(self, first=None if self.first is None else self.first + ahead)


class FoundGroup(Value, frozen=True, kw_only=True):
    """A group of failures as found in a queue's table."""

    alike: Alike
    #: How many jobs failed in each of the last MINUTES minutes, the oldest first; the last minute is not over.
    minutes: Sequence[int]
    #: The jobs that failed last, the latest first; at most UIDS.
    latest: Sequence[Job]


class FoundPage(Value, frozen=True, kw_only=True):
    """Some groups of failures in their order."""

    groups: Sequence[FoundGroup] = ()
    #: The position of the last group, or None if no more groups follow.
    following: GroupPosition | None = None
    #: How many jobs are in no group that is listed, because the queue has more than MOST_GROUPS.
    dropped: int = 0


class FailureGroup(Value, frozen=True, kw_only=True):
    """A group of failures as callers get it: like FoundGroup, with uids instead of jobs."""

    fingerprint: str
    #: The line that names the latest error; None without an error.
    error: str | None
    count: int
    #: When the first and the last of the group's jobs failed.
    first: int
    last: int
    #: See FoundGroup.
    uids: Sequence[str]
    minutes: Sequence[int]

    def at_wall_clock(self, ahead: int) -> "FailureGroup":
        return replace(self, first=self.first + ahead, last=self.last + ahead)


def failure_of(job: Job) -> tuple[str, int] | None:
    """The fingerprint of a job's failure, and when the job failed; None if the job is in no group."""
    standing = job.standing
    notes = standing.notes
    if standing.state is FAILED:
        return None if notes.cancelled else (_shown(notes), standing.updated)
    return (_shown(notes), _failed_at(job)) if notes.retrying and job.retrying else None


def fingerprint_of(standing: Standing) -> str | None:
    """The fingerprint of the latest failure or error; None if a job has none, or was cancelled, or is complete."""
    notes, state = standing.notes, standing.state
    if notes.cancelled or state is COMPLETE:
        return notes.fingerprint
    has_failed = notes.error is not None or state is FAILED or notes.retrying
    return _shown(notes) if has_failed else notes.fingerprint


def fingerprint_of_attempt(attempt: Attempt) -> str | None:
    """The fingerprint of an attempt that failed or timed out; None for other attempts."""
    if attempt.outcome not in _FAILURES:
        return None
    return _shown(attempt)


def _shown(failure: Notes | Attempt) -> str:
    """The fingerprint that the worker sent, or else the fingerprint of the error."""
    # The error's fingerprint is not stored: it can be computed at any time, and few are ever read.
    return failure.fingerprint or fingerprint(failure.error or "")


def _failed_at(job: Job) -> int:
    """The end of the last failed attempt of a job that is tried again."""
    history = job.standing.notes.history
    return next((one.ended for one in reversed(history) if one.outcome in _FAILURES), job.standing.updated)


def group_of(found: FoundGroup) -> FailureGroup:
    """The group that a table has found, with its fingerprint, its error and its times, as readers see it."""
    latest = found.latest[0]
    name, last = failure_of(latest) or (_shown(latest.standing.notes), latest.standing.updated)
    return FailureGroup(
        fingerprint=name,
        error=error_line(latest.standing.notes.error or "") or None,
        count=found.alike.count,
        first=last if found.alike.first is None else found.alike.first,
        last=last,
        uids=[job.spec.uid for job in found.latest],
        minutes=found.minutes,
    )


def minutes_before(now: int) -> range:
    """The numbers of the last MINUTES minutes of elapsed time, the present one last."""
    last = now // MINUTE
    return range(last - MINUTES + 1, last + 1)
