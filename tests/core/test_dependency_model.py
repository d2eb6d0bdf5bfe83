"""Random graphs of jobs agree with a plain judge."""

from random import Random
from typing import Any

import pytest

from jobengine.core import commands as c
from jobengine.core.facts import Fact
from jobengine.core.model import SECOND
from jobengine.engine.tables.snapshot import Snapshot
from jobengine.engine.tables.state import Tables
from tests.core.worlds import World, picture
from tests.graphs import Graphs, run

#: How many random lives, and the requests of each.
_LIVES, _STEPS = 60, 80


def carry_out(world: World, step: Any) -> Any:
    """Carry out a step of a life in a world."""
    if isinstance(step, c.Claims):
        return step.carry_out(world.tables, world.now, world.ask)
    if isinstance(step, int):
        world.now += step * SECOND
        world.expire()
        return None
    if step is not None:
        return world.ask(step)
    before, snapshot, facts = picture(world.tables), Snapshot(world.tables), list[Fact]()
    while (some := snapshot.take(3)) is not None:
        facts += some
    world.tables = Tables()
    world.tables.apply(facts)
    world.apply([])
    assert picture(world.tables) == before
    return None


@pytest.mark.parametrize("seed", range(_LIVES))
def test_jobs_run_when_their_dependencies_are_met_and_no_job_waits_without_reason(seed: int) -> None:
    world = World()
    run(Graphs(Random(seed)).life(_STEPS), lambda step: carry_out(world, step))
    picture(world.tables)
