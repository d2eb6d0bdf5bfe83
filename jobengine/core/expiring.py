"""The changes that time alone causes: a delay ends, an attempt times out, a job is removed."""

from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any, Final

from attrs import frozen
from msgspec.structs import replace

from .facts import Fact, ItemSet, JobChanged, JobRemoved
from .flow import GATE
from .model import SECOND, Job, State
from .tables import GateOver, TableSet
from .transitions import timed_out


@frozen
class _Moment:
    """The time at which things are due."""

    #: Elapsed time and the time of the wall clock, in milliseconds.
    now: int
    wall: int


def expire(tables: TableSet, now: int, limit: int) -> list[Fact]:
    """
    The facts that time alone has caused by `now`, for at most `limit` due things, in each queue by deadline.

    Apply them and call this again until it returns none: a job that times out may be due for removal at once.
    """
    moment = _Moment(now, tables.wall(now))
    due = islice(tables.due(now), limit)
    return [fact for name, thing in due for fact in _RULES[type(thing)](name, thing, moment)]


def _job_is_due(name: str, job: Job, moment: _Moment) -> Sequence[Fact]:
    """The facts of a due job: a time-out if it is in progress, ready if it was delayed, or its removal."""
    standing, spec = job.standing, job.spec
    if standing.state is State.INPROGRESS:
        return (JobChanged(name, spec.uid, timed_out(job, moment.now)),)
    if standing.state is State.QUEUED and (not spec.timeout_time or spec.timeout_time * SECOND > moment.wall):
        ready_at = standing.ready_at if standing.ready_at > moment.now else 0
        not_before = standing.not_before if standing.not_before > moment.wall else 0
        return (JobChanged(name, spec.uid, replace(standing, ready_at=ready_at, not_before=not_before)),)
    return (JobRemoved(name, spec.uid),)


def _gate_is_over(name: str, gate: GateOver, _moment: _Moment) -> Sequence[Fact]:
    return (ItemSet(name, GATE, gate.name, None),)


#: The rule of each type of due thing (see tables.Due): takes the queue's name, the thing and the time; returns facts.
_RULES: Final[Mapping[type, Callable[[str, Any, _Moment], Sequence[Fact]]]] = {
    Job: _job_is_due,
    GateOver: _gate_is_over,
}
