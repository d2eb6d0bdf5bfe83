"""The state of a group, and why a job of it is held."""

from collections.abc import Iterator, Sequence
from enum import StrEnum
from itertools import islice
from typing import Final

from msgspec.structs import replace

from .flow import (
    GATE,
    GROUP,
    NO_FLOW,
    OF_QUEUE,
    UNLIMITED,
    Flow,
    Gate,
    GroupOrder,
    GroupSettings,
    Rate,
    gate_of,
    settings_of,
)
from .model import Job, State
from .stats import GroupReport, GroupState
from .tables import Table
from .values import Value
from .wall_time import shown


def report(
    table: Table,
    name: str,
    state: GroupState,
    now: int,
    *,
    settings: GroupSettings | None = None,
    gate: Gate | None = None,
) -> GroupReport:
    """The report of a group in this state; a command that changes settings or gate passes the new ones."""
    settings = settings_of(table.item(GROUP, name)) if settings is None else settings
    gate = gate_of(table.item(GATE, name)) if gate is None else gate
    return GroupReport(
        name=name,
        state=state,
        ready=min(state.available, _room(table.queue.flow or NO_FLOW, state, settings, gate, now)),
        oldest_ready=None if state.oldest_ready is None else max(0, now - state.oldest_ready),
        held_until=gate.held if gate.held > now else None,
        settings=settings,
    )


def _room(flow: Flow, state: GroupState, settings: GroupSettings, gate: Gate, now: int) -> int:
    """How many jobs may be claimed from a group now, if it has enough ready jobs."""
    if settings.paused or state.failed:
        return 0
    limits = settings.limits(flow)
    room = UNLIMITED if limits.in_progress is None else max(0, limits.in_progress - state.in_progress)
    return min(room, gate.left(limits.rate, now))


#: Up to this number, the jobs before a job are counted one by one.
_COUNTED: Final = 1_000


class HeldBy(StrEnum):
    """What holds a job; the values are those of the API."""

    GROUP_LIMIT = "group_limit"
    GROUP_RATE = "group_rate"
    QUEUE_LIMIT = "queue_limit"
    QUEUE_RATE = "queue_rate"
    HOLD = "hold"
    ORDER = "order"


class Hold(Value, frozen=True, kw_only=True):
    """Why a ready job can't be claimed now, or a delayed job at the end of its delay."""

    by: HeldBy
    #: The reason as a sentence, without times.
    reason: str
    #: The elapsed time from which more jobs can be claimed; None if it depends on more than time.
    opens: int | None = None
    #: Whether the limit or rate is not reached yet, but will be once the jobs before this one are claimed.
    later: bool = False
    #: At most 10 jobs that hold it: jobs in progress or, in strict order, failed or earlier jobs.
    holders: Sequence[Job] = ()

    def at_wall_clock(self, ahead: int) -> "Hold":
        return replace(self, opens=self.opens and self.opens + ahead, holders=shown(self.holders, ahead))


def wait_of(table: Table, job: Job, now: int) -> tuple[int | None, Hold | None]:
    """
    What a job waits for: how many others will be claimed before it, or what holds it.

    Both are None for a job that is not queued or waits for other jobs. A delayed job has only a hold: a pause of its
    group, or a hold of its group or queue that outlasts the delay.
    """
    if not job.ready:
        return None, _hold_after_delay(table, job, now)
    if table.queue.flow is None:
        return table.ahead(job.spec.rank), None
    holds = list(_holds_by_group(table, job, now))
    ahead = table.ahead_in_group(job) if holds else _ahead_in_turn(table, job, now)
    holds += _holds_by_queue(table, now, ahead)
    # If the jobs before this one are held too, name what holds them, not a limit that they will reach.
    hold = next((one for one in holds if not one.later), holds[0] if holds else None)
    return (ahead, None) if hold is None else (None, hold)


def _hold_after_delay(table: Table, job: Job, now: int) -> Hold | None:
    """The pause or hold that keeps a delayed job from being claimed when its delay ends; None for other jobs."""
    standing = job.standing
    if standing.state is not State.QUEUED or job.waits or table.queue.flow is None:
        return None
    due = max(now, standing.ready_at, standing.not_before - table.wall(0))
    return _stop_of_group(table, job.spec.rare.group, due) or _stop_of_queue(table, due)


def _ahead_in_turn(table: Table, job: Job, now: int) -> int:
    """How many jobs are claimed before `job`, given that its group does not hold it; above _COUNTED an upper bound."""
    for number, other in enumerate(islice(table.turn_order(now), _COUNTED)):
        if other.spec.uid == job.spec.uid:
            return number
    rank, flow = job.spec.rank, table.queue.flow or NO_FLOW
    if flow.group_order is not GroupOrder.FAIR:
        return table.ahead(rank)
    # Groups that take turns may let all other jobs of the same priority go first.
    return table.ahead((rank[0] + 1, -1, "")) - 1


def _holds_by_group(table: Table, job: Job, now: int) -> Iterator[Hold]:
    """What keeps a job from being claimed within its group; a pause or hold comes first."""
    name, flow = job.spec.rare.group, table.queue.flow or NO_FLOW
    if name is None:
        return
    if (stop := _stop_of_group(table, name, now)) is not None:
        yield stop
    settings, gate, state = settings_of(table.item(GROUP, name)), gate_of(table.item(GATE, name)), table.group(name)
    limits, before = settings.limits(flow), table.ahead_in_group(job)
    if flow.group_order is GroupOrder.STRICT and (state.failed or before or state.in_progress):
        yield _hold_by_order(table, job, name, state, before)
    limit = limits.in_progress
    if limit is not None and state.in_progress + before >= limit:
        text = _limit_reason(f"The group {name!r}", f" of the group {name!r}", state.in_progress, limit, before)
        later = state.in_progress < limit
        yield Hold(by=HeldBy.GROUP_LIMIT, reason=text, later=later, holders=table.holders_of_group(name))
    if limits.rate is not None and gate.left(limits.rate, now) <= before:
        yield _hold_by_rate(HeldBy.GROUP_RATE, f" of the group {name!r}", gate, limits.rate, now, before)


def _stop_of_group(table: Table, name: str | None, at: int) -> Hold | None:
    """A Hold if the group is paused, or is still held at the time `at`."""
    if name is None:
        return None
    if settings_of(table.item(GROUP, name)).paused:
        return Hold(by=HeldBy.HOLD, reason=f"The group {name!r} is paused.")
    held = gate_of(table.item(GATE, name)).held
    return Hold(by=HeldBy.HOLD, reason=f"The group {name!r} is held.", opens=held) if held > at else None


def _stop_of_queue(table: Table, at: int) -> Hold | None:
    """A Hold if the queue is still held at the time `at`."""
    held = gate_of(table.item(GATE, OF_QUEUE)).held
    return Hold(by=HeldBy.HOLD, reason="The queue is held.", opens=held) if held > at else None


def _hold_by_order(table: Table, job: Job, name: str, state: GroupState, before: int) -> Hold:
    if state.failed:
        reason = f"A job of the group {name!r} has failed: retry it or delete it, and the next one can be claimed."
        failed = [one for one in table.holders_of_group(name) if one.state is State.FAILED]
        return Hold(by=HeldBy.ORDER, reason=reason, holders=failed)
    holders = [one for one in table.holders_of_group(name) if one.spec.uid != job.spec.uid]
    # Without a job in progress, `holders` are the group's first unfinished jobs, in order.
    holders = holders[: max(before, state.in_progress)]
    reason = f"{_jobs(max(before, state.in_progress))} of the group {name!r} must be finished first."
    return Hold(by=HeldBy.ORDER, reason=reason, holders=holders)


def _holds_by_queue(table: Table, now: int, before: int) -> Iterator[Hold]:
    """What keeps a job of this queue from being claimed, if `before` other jobs are claimed before it."""
    if (stop := _stop_of_queue(table, now)) is not None:
        yield stop
    limits, gate = (table.queue.flow or NO_FLOW).limits, gate_of(table.item(GATE, OF_QUEUE))
    running, limit = table.running(), limits.in_progress
    if limit is not None and running + before >= limit:
        text = _limit_reason("The queue", "", running, limit, before)
        later = running < limit
        yield Hold(by=HeldBy.QUEUE_LIMIT, reason=text, later=later, holders=table.holders_of_group(None))
    if limits.rate is not None and gate.left(limits.rate, now) <= before:
        yield _hold_by_rate(HeldBy.QUEUE_RATE, "", gate, limits.rate, now, before)


def _limit_reason(which: str, whose: str, running: int, limit: int, before: int) -> str:
    """Why a limit holds a job: it is reached, or will be once the jobs before the job are claimed."""
    if running >= limit:
        return f"{which} has {running} of {limit} jobs in progress{_come_first(before)}."
    at_most = f"at most {limit} {'runs' if limit == 1 else 'run'} at once"
    return f"{_before_it(whose, before)}, and {at_most}; {running} {'runs' if running == 1 else 'run'} now."


def _hold_by_rate(by: HeldBy, whose: str, gate: Gate, rate: Rate, now: int, before: int) -> Hold:
    """The hold by a rate that is used up, or will be once the jobs before the job are claimed."""
    left = gate.left(rate, now)
    used, span = rate.count - left, "second" if rate.seconds == 1 else f"{rate.seconds} seconds"
    if not left:
        text = f"{used} of at most {rate.count} jobs{whose} were claimed in the last {span}"
        return Hold(by=by, reason=f"{text}{_come_first(before)}.", opens=gate.opens(rate))
    at_most = f"at most {rate.count} can be claimed in any {span}"
    were = f"{used} {'was' if used == 1 else 'were'} claimed in the last {span}"
    return Hold(by=by, reason=f"{_before_it(whose, before)}, and {at_most}; {were}.", later=True)


def _before_it(whose: str, before: int) -> str:
    return f"{_jobs(before)}{whose} {'is' if before == 1 else 'are'} before it"


def _jobs(number: int) -> str:
    return "1 job" if number == 1 else f"{number} jobs"


def _come_first(before: int) -> str:
    return f", and {_jobs(before)} {'comes' if before == 1 else 'come'} first" if before else ""
