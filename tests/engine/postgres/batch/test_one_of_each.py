"""When a claim takes the first job of each group; test_groups.py tests that these are the right jobs."""

from types import SimpleNamespace
from typing import Any

import pytest

from jobengine.core.flow import Flow, GroupOrder
from jobengine.engine.postgres.batch.one_of_each import are_alone
from jobengine.engine.postgres.database.pipeline import Row


def row(arrival: int, second: int | None, **more: Any) -> Row:
    """A row of the statement groups_in_turn: a group with a job of this arrival number, and perhaps a second one."""
    at = {"key": bytes([arrival]), "running": 0, "load": 0.0, "settings": None, "gate": None, "first": arrival, **more}
    place = (0, at["load"], 0, arrival)
    next_one = (None,) * 4 if second is None else (more.get("second_inv_prio", 0), second, 1, "second")
    job = ("first", b"", None, 0, 0, at["first"])
    return (at["key"], b"", 2, 0, at["running"], 0, 0, 1, *place, at["settings"], at["gate"], *next_one, *job)


def alone(*rows: Row, order: GroupOrder = GroupOrder.ARRIVAL) -> bool:
    groups: Any = SimpleNamespace(flow=Flow(group_order=order))
    return are_alone(groups, rows)


@pytest.mark.parametrize(
    ("first", "is_alone"),
    [
        (row(1, 9), True),
        (row(1, None), True),
        (row(1, 2), False),
        (row(1, 9, second_inv_prio=-1), False),
        (row(1, 2, second_inv_prio=1), True),
        (row(1, 9, settings=b"paused"), False),
        (row(1, 9, gate=b"held"), False),
        (row(1, 9, key=bytes([3])), False),
        # Other transactions have locked the first job, or all jobs.
        (row(1, 9, first=9), False),
        (row(1, 9, first=None), False),
    ],
)
def test_the_first_jobs_of_all_groups_are_claimed_together_only_if_all_second_jobs_come_later(
    first: Row, is_alone: bool
) -> None:
    assert alone(first, row(3, 10)) is is_alone


@pytest.mark.parametrize(("running", "is_alone"), [(0, False), (1, True), (2, True)])
def test_in_fair_order_group_loads_decide_whether_all_first_jobs_are_claimed_together(
    running: int, is_alone: bool
) -> None:
    rows = row(1, 2, running=running, load=float(running)), row(3, 10, running=2, load=2.0)
    assert alone(*rows, order=GroupOrder.FAIR) is is_alone
