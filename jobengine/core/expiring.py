"""The changes that time alone causes: a delay ends, an attempt times out, a job is removed."""

from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any, Final

from attrs import frozen
from msgspec.structs import replace

from .batches import BATCH, batch_of
from .dead_letters import DUE
from .dependants import lost_facts
from .facts import Fact, ItemSet, JobChanged, JobRemoved
from .flow import GATE
from .model import SECOND, Job, State
from .moves import Moves
from .tables import BatchOver, GateOver, Table, TableSet
from .transitions import timed_out


@frozen
class _Moment:
    """The time at which things are due."""

    #: Elapsed time and the time of the wall clock, in milliseconds.
    now: int
    wall: int
    #: Jobs that move into a dead-letter queue.
    moves: Moves


def expire(tables: TableSet, now: int, limit: int) -> list[Fact]:
    """
    The facts that time alone has caused by `now`, for at most `limit` due things; within a queue the earliest first.

    Apply them and call this again until it returns none: a job that times out may be due for removal at once.
    """
    moment = _Moment(now, tables.wall(now), Moves(tables, now))
    facts: list[Fact] = []
    # The removed jobs of batches, by queue.
    lost: dict[str, list[Job]] = {}
    for name, thing in islice(tables.due(now), limit):
        its = _RULES[type(thing)](tables, name, thing, moment)
        facts += its
        if type(thing) is Job and thing.spec.rare.batch is not None and isinstance(its[0], JobRemoved):
            lost.setdefault(name, []).append(thing)
    for name, jobs in lost.items():
        facts += lost_facts(tables.queues[name], jobs)
    return facts


def _job_is_due(tables: TableSet, name: str, job: Job, moment: _Moment) -> Sequence[Fact]:
    """
    The facts of a due job: a time-out if it is in progress, ready if it was delayed, a move into the dead-letter queue,
    or its removal.
    """
    standing, spec = job.standing, job.spec
    if standing.state is State.INPROGRESS:
        return (JobChanged(name, spec.uid, timed_out(tables.queues[name].queue, job, moment.now)),)
    if standing.state is State.QUEUED and (not spec.timeout_time or spec.timeout_time * SECOND > moment.wall):
        ready_at = standing.ready_at if standing.ready_at > moment.now else 0
        not_before = standing.not_before if standing.not_before > moment.wall else 0
        return (JobChanged(name, spec.uid, replace(standing, ready_at=ready_at, not_before=not_before)),)
    if standing.state is State.FAILED and standing.notes.dead_letter == DUE:
        return moment.moves.dead_letter(name, job)
    if standing.shift and _is_unended(tables.queues[name], spec.rare.batch):
        # The job was kept for its dependants. Its batch has not ended: the end of the batch will begin its retention.
        return (JobChanged(name, spec.uid, replace(standing, shift=0)),)
    return (JobRemoved(name, spec.uid),)


def _is_unended(table: Table, batch: str | None) -> bool:
    text = None if batch is None else table.item(BATCH, batch)
    return text is not None and batch_of(text).ended is None


def _gate_is_over(_tables: TableSet, name: str, gate: GateOver, _moment: _Moment) -> Sequence[Fact]:
    return (ItemSet(name, GATE, gate.name, None),)


def _batch_is_over(_tables: TableSet, name: str, batch: BatchOver, _moment: _Moment) -> Sequence[Fact]:
    return (ItemSet(name, BATCH, batch.name, None),)


#: The rule of each type of due thing (see tables.Due): takes the tables, the queue's name, the thing and the time.
_RULES: Final[Mapping[type, Callable[[TableSet, str, Any, _Moment], Sequence[Fact]]]] = {
    Job: _job_is_due,
    GateOver: _gate_is_over,
    BatchOver: _batch_is_over,
}
