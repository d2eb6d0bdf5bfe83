"""Reads the groups of a queue for commands: their states, pages of groups, and what holds a job."""

from typing import Final

from ....core.flow import UNLIMITED, GroupOrder
from ....core.model import Job, Rank
from ....core.places import Place
from ....core.sorting import GroupSort
from ....core.stats import GroupState
from ....storage.errors import Damaged
from ..database.group_rows import READY, group_of
from ..database.rows import rank_of
from ..sql import named
from .groups import LoadedGroups
from .loaded_group import LoadedGroup

#: The most jobs that are returned as holders.
_HOLDERS: Final = 10
_UNFINISHED: Final = [int(place) for place in (Place.READY, Place.DELAYED, Place.WAITING, Place.INPROGRESS)]

_PAGE_OF_GROUPS: Final = named("page_of_groups")
_COUNT_JOBS_AHEAD: Final = named("count_jobs_ahead")
_COUNT_AHEAD_IN_GROUP: Final = named("count_ahead_in_group")
_FIRST_JOBS_OF_GROUP: Final = named("first_jobs_of_group")
_FIRST_JOBS_IN_PROGRESS: Final = named("first_jobs_in_progress")
_COUNT_CLAIMABLE: Final = named("count_claimable")
_GROUPS_WITH_ITEMS: Final = named("groups_with_items")


def state_of(groups: LoadedGroups, name: str) -> GroupState:
    """The jobs of a group."""
    return _state(groups, groups.group(name))


def _state(groups: LoadedGroups, group: LoadedGroup) -> GroupState:
    ready, delayed, running, failed = (group.number(which) for which in range(4))
    return GroupState(
        queued=ready + delayed,
        available=groups.available(group),
        delayed=delayed,
        in_progress=running,
        oldest_ready=_first_created(groups, group) if ready else None,
        failed=failed if groups.holds_on_failure else 0,
    )


def _first_created(groups: LoadedGroups, group: LoadedGroup) -> int | None:
    job = next((job for rank in group.ready if (job := groups.claimable(rank)) is not None), None)
    return None if job is None else job.spec.created


def page_of(
    groups: LoadedGroups, sort: GroupSort, after: tuple[int, str] | None, limit: int
) -> tuple[list[tuple[str, GroupState]], tuple[int, str] | None]:
    """A page of groups; see Table.groups. Groups with the same number are in the order of their names' digests."""
    number, key = (-UNLIMITED, b"") if after is None else (-after[0], groups.rows.group(after[1]))
    answer = _PAGE_OF_GROUPS.execute(
        groups.connection,
        queue_id=groups.queue_id,
        sort=sort.value,
        number=number,
        key=key,
        holds=int(groups.holds_on_failure),
        most=limit + 1,
    ).fetchall()
    found: list[tuple[str, int]] = []
    for row in answer[:limit]:
        # The columns that group_of takes: those of the group, and the records of its settings and its gate.
        columns = (*row[:12], *row[15:17])
        try:
            its = group_of(groups.rows, groups.queue(), columns)
        except Damaged:
            continue
        groups.take_new(its)
        found.append((its.name, row[14]))
    states = [(name, state_of(groups, name)) for name, _ in found]
    return states, (found[-1][1], found[-1][0]) if len(answer) > limit and found else None


def ahead_in_group(groups: LoadedGroups, job: Job) -> int:
    """How many jobs of its group come before a job; see Table.ahead_in_group."""
    inv_prio, arrival = rank_of(job)
    places = _UNFINISHED if groups.flow.group_order is GroupOrder.STRICT else [int(Place.READY)]
    key = groups.rows.group(job.spec.rare.group or "")
    return groups.count(_COUNT_AHEAD_IN_GROUP, key=key, places=places, inv_prio=inv_prio, arrival=arrival)


def holders_of(groups: LoadedGroups, name: str | None) -> list[Job]:
    """The jobs that hold a group; see Table.holders_of_group."""
    if name is None:
        return groups.jobs_of(_FIRST_JOBS_IN_PROGRESS, most=_HOLDERS)
    key = groups.rows.group(name)
    places = [int(Place.INPROGRESS), *([int(Place.FAILED)] if groups.holds_on_failure else [])]
    holders = groups.jobs_of(_FIRST_JOBS_OF_GROUP, key=key, places=places, most=_HOLDERS)
    if holders or groups.flow.group_order is not GroupOrder.STRICT:
        return holders
    return groups.jobs_of(_FIRST_JOBS_OF_GROUP, key=key, places=_UNFINISHED, most=_HOLDERS)


def ahead_of(groups: LoadedGroups, rank: Rank) -> int:
    """How many ready jobs come before a rank."""
    return groups.count(_COUNT_JOBS_AHEAD, inv_prio=rank[0] - 1, arrival=rank[1])


def claimable_of(groups: LoadedGroups) -> tuple[int, int | None]:
    """How many jobs could be claimed now, and when the oldest of the groups' first jobs was added."""
    limits, strict = groups.flow.group_limits, groups.flow.group_order is GroupOrder.STRICT
    ((number, oldest),) = _COUNT_CLAIMABLE.execute(
        groups.connection,
        queue_id=groups.queue_id,
        strict=int(strict),
        most=UNLIMITED if limits.in_progress is None else limits.in_progress,
        claims=UNLIMITED if limits.rate is None else limits.rate.count,
        holds=int(groups.holds_on_failure),
    ).fetchall()
    since = [oldest]
    for row in _GROUPS_WITH_ITEMS.execute(groups.connection, queue_id=groups.queue_id).fetchall():
        try:
            its = groups.take_new(group_of(groups.rows, groups.queue(), row))
        except Damaged:
            continue
        claimable = min(groups.room(its), groups.available(its))
        number += claimable
        since.append(_first_created(groups, its) if claimable else None)
    ungrouped = groups.ungrouped()
    since.append(_first_created(groups, ungrouped) if ungrouped.number(READY) else None)
    number = min(number + ungrouped.number(READY), groups.queue_room())
    return number, min((one for one in since if one is not None), default=None)
