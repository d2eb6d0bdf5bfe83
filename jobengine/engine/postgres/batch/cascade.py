"""Runs the follow-ups of a batch (see follow.py) before its callers get their replies."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from attrs import evolve
from msgspec.structs import replace
from psycopg import Connection

from ....core import commands as c
from ....core.effects import Effect
from ...door import Unavailable
from ...waiting_line import Done, Outcome
from ..database.dependency_rows import Parent
from ..database.pipeline import Row
from .decide import Result, merged
from .housekeeping import Run
from .plan import Task

#: The most transactions that follow up ends before callers are answered, or in a sweep.
_MOST: Final = 10
#: Carries out a transaction that follows up these ends or, with None, ends that any server has left.
FollowUp = Callable[["Connection[Row]", Sequence[Parent] | None], Result | None]


def followed(run: Run, follow_up: FollowUp, result: Result, own: Sequence[Parent] | None) -> Result:
    """
    The result of a batch, merged with its follow-ups. Those beyond _MOST transactions, or after a storage error, are
    left to the next sweep.
    """
    for _ in range(_MOST):
        try:
            more = run(partial(_call, follow_up, own))
        except Unavailable:
            # Only the follow-up has failed: the batch was carried out.
            break
        if more is None:
            return result
        result = merged(result, more)
        if own is not None:
            own = more.ended
            if not own:
                return result
    return evolve(result, has_left=True)


def moved(run: Run, move: "Callable[[Connection[Row]], Result | None]", result: Result) -> Result:
    """
    The result of a batch, merged with the moves of its failed jobs into dead-letter queues. After an error, a sweep
    moves the rest.
    """
    try:
        while more := run(move):
            result = merged(result, more)
    except Unavailable:
        # Only the move has failed: the batch was carried out.
        pass
    return result


def followed_first(run: Run, follow_up: FollowUp, parents: Sequence[Parent]) -> list[Effect]:
    """
    Follow up the ends of jobs before these jobs are removed, in as many transactions as their dependants need; returns
    the effects. If this ends other jobs, those ends are followed up later, as usual.
    """
    effects, own = list[Effect](), parents
    while own and (result := run(partial(_call, follow_up, own))) is not None:
        effects += result.effects
        own = [one for one in result.ended if one in parents]
    return effects


def _call(follow_up: FollowUp, own: Sequence[Parent] | None, connection: "Connection[Row]") -> Result | None:
    return follow_up(connection, own)


def claims_again(tasks: Sequence[Task], outcomes: Sequence[Outcome[Any]]) -> Mapping[int, c.Claims]:
    """By task number: the claims that have found no job, but whose own updates may have released one by now."""
    return {
        number: replace(task, updates=())
        for number, (task, outcome) in enumerate(zip(tasks, outcomes, strict=False))
        if isinstance(task, c.Claims) and task.updates and isinstance(outcome, Done) and not outcome.answer.jobs
    }


def with_claimed(first: Result, again: Sequence[int], second: Result) -> Result:
    """The result of a batch, with the jobs of its repeated claims: `again` has their indexes, `second` their result."""
    outcomes = list(first.outcomes)
    for number, outcome in zip(again, second.outcomes, strict=False):
        before = outcomes[number]
        if isinstance(outcome, Done) and isinstance(before, Done):
            outcomes[number] = replace(before, answer=replace(before.answer, jobs=outcome.answer.jobs))
    return evolve(merged(first, second), outcomes=outcomes)
