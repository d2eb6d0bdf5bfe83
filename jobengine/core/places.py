"""Where in a queue a job is. Indexes in memory, columns and counts in PostgreSQL, and stats follow this table."""

from collections.abc import Mapping
from enum import IntEnum
from typing import Any, Final

from .model import QUEUED, Job, Standing, State
from .stats import QueueCounts


class Place(IntEnum):
    """A state, or part of a state. Numbers are stored, so they never change; marks and groups have other numbers."""

    state: State

    READY = 0, State.QUEUED
    DELAYED = 1, State.QUEUED
    INPROGRESS = 2, State.INPROGRESS
    COMPLETE = 3, State.COMPLETE
    FAILED = 4, State.FAILED
    WAITING = 12, State.QUEUED

    def __new__(cls, number: int, state: State) -> "Place":
        """Make the place with this number."""
        place = int.__new__(cls, number)
        place._value_ = number
        place.state = state
        return place


class Mark(IntEnum):
    """A kind of job that is counted beside the places: a job with a mark is in a place as well."""

    RETRYING = 5
    CANCELLED = 6


#: The places of each state; all places for None.
PLACES_OF: Final[Mapping[State | None, tuple[Place, ...]]] = {
    None: tuple(Place),
    **{state: tuple(place for place in Place if place.state is state) for state in State},
}
_DELAYED: Final = Place.DELAYED
_WAITING: Final = Place.WAITING
#: The place of a job in each state, unless it is delayed or waits.
_PLACE: Final = {state: places[0] for state, places in PLACES_OF.items()}


def place_of(standing: Standing) -> Place:
    """The place of a job with this standing."""
    state = standing.state
    if state is QUEUED and (standing.ready_at or standing.not_before or standing.ended):
        return _WAITING if standing.ended else _DELAYED
    return _PLACE[state]


def mark_of(job: Job) -> Mark | None:
    """The mark, retrying or cancelled, under which a job is counted beside its place; None for most jobs."""
    if job.retrying:
        return Mark.RETRYING
    return Mark.CANCELLED if job.cancelled else None


def counts_of(jobs: Mapping[Any, int], held: int = 0) -> QueueCounts:
    """
    The counts of a queue, from the number of jobs by place and mark; a missing number is 0.

    `held` of the jobs in the place READY can't be claimed, because limits or the order of groups hold them.
    """
    return QueueCounts(
        states={state: sum(jobs.get(place, 0) for place in PLACES_OF[state]) for state in State},
        ready=jobs.get(Place.READY, 0) - held,
        held=held,
        delayed=jobs.get(Place.DELAYED, 0),
        waiting=jobs.get(Place.WAITING, 0),
        retrying=jobs.get(Mark.RETRYING, 0),
        cancelled=jobs.get(Mark.CANCELLED, 0),
    )
