"""Runs of the garbage collector stay short: it skips most objects, and these are freed without it."""

import gc
from collections.abc import Iterator
from typing import Any

import pytest

from jobengine.core import commands as c
from jobengine.core.flow import GroupOrder, Limits, Rate
from jobengine.core.model import Defaults, State
from tests.engine.engines import KEY, Desk

pytestmark = pytest.mark.usefixtures("no_automatic_collection")


@pytest.fixture
def no_automatic_collection() -> Iterator[None]:
    gc.collect()
    gc.freeze()
    gc.disable()
    yield
    gc.enable()
    gc.unfreeze()


def _young() -> int:
    return len(gc.get_objects(generation=0)) + len(gc.get_objects(generation=1))


def _looked_at() -> int:
    """How many entries a full collection visits."""
    return sum(len(one) for one in gc.get_objects() if isinstance(one, list | dict))


def _change_all(desk: Desk, priority: int) -> None:
    changes = c.Changes(priority=priority)
    desk.told(
        desk.engine.update_matching(c.UpdateMatching(queue="q", access_key=KEY, filter=c.Filter(), changes=changes))
    )


def _add(desk: Desk, number: int) -> None:
    jobs = (c.NewJob(content=b"{}"),) * 1_000
    for _ in range(number // 1_000):
        desk.told(desk.engine.ask(c.AddJobs(queue="q", access_key=KEY, jobs=jobs, defaults=Defaults())))


def test_changes_of_many_jobs_leave_few_objects_for_the_garbage_collector(desk: Desk) -> None:
    _add(desk, 5_000)
    gc.collect()
    _change_all(desk, 1)
    assert _young() < 2_500


def test_a_full_garbage_collection_visits_few_of_many_jobs(desk: Desk) -> None:
    _add(desk, 5_000)
    before = _looked_at()
    assert before > 5_000
    for priority in range(1, 20):
        _change_all(desk, priority)
    assert _looked_at() < before


FLOW = {
    "limits": Limits(in_progress=150, rate=Rate(1_000, 60)),
    "group_limits": Limits(in_progress=2),
    "group_order": GroupOrder.FAIR,
}


@pytest.mark.parametrize("flow", [{}, FLOW], ids=["without flow", "with flow"])
def test_a_deleted_queue_leaves_no_garbage_for_the_collector(desk: Desk, flow: dict[str, Any]) -> None:
    asked = c.Filter(state=State.INPROGRESS)
    gc.collect()
    desk.told(desk.engine.ask(c.ChangeQueue(queue="q", access_key=KEY, **flow)))
    for state in (State.COMPLETE, State.FAILED):
        some = (c.NewJob(content=b"{}", tags=("a",), group=str(n % 50), timeout_seconds=5) for n in range(200))
        desk.told(desk.engine.ask(c.AddJobs(queue="q", access_key=KEY, jobs=tuple(some), defaults=Defaults())))
        assert len(desk.told(desk.engine.ask(c.Claim(queue="q", access_key=KEY, count=100, tags=("a",))))) == 100
        ended = c.UpdateMatching(queue="q", access_key=KEY, filter=asked, changes=c.Changes(state=state))
        assert desk.told(desk.engine.update_matching(ended)) == 100
    desk.told(desk.engine.ask(c.Claim(queue="q", access_key=KEY, count=100)))
    desk.clock.advance(6)
    desk.told(desk.engine.ask(c.DeleteQueue(queue="q", access_key=KEY)))
    desk.settle()
    assert gc.collect() == 0
