"""Claims that take one job of each group get the same jobs with and without the order of turns."""

from itertools import islice
from random import Random

import pytest

from jobengine.core.commands import ChangeGroup
from jobengine.core.flow import GroupOrder, Limits
from jobengine.core.model import SECOND, Job, State
from jobengine.engine.tables.one_of_each import one_of_each
from jobengine.engine.tables.queue_table import QueueTable
from tests.core.worlds import KEY, World

#: A time after the test; a job with this `timeout_time` counts as due.
LATE = 10_000_000_000


def is_due(job: Job) -> bool:
    return job.spec.timeout_time == LATE


def check(table: QueueTable, count: int) -> bool:
    """Check that the fast path gives the same jobs as the order of turns, or None; returns whether it gave jobs."""
    assert table.turns is not None
    found = one_of_each(table.turns, table.ready, count, LATE * SECOND)
    if found is not None:
        assert found == list(islice(table.turns.order((), is_due), count))
    return found is not None


def random_world(random: Random, order: GroupOrder) -> World:
    world = World()
    world.create()
    world.set_up(group_order=order, group_limits=Limits(in_progress=random.choice([None, 1, 2])))
    world.add(group="a")
    if random.random() < 0.5:
        world.ask(ChangeGroup(queue="q", access_key=KEY, group="b", group_weight=2))
    return world


def change(world: World, random: Random) -> None:
    running = [job for job in world.tables.queues["q"].jobs.values() if job.state is State.INPROGRESS]
    if running and random.random() < 0.3:
        world.update(random.choice(running).spec.uid, State.COMPLETE)
    elif random.random() < 0.3:
        world.claim(count=random.randint(1, 3))
    else:
        group, priority = random.choice([None, *"abcd"]), random.choice([0, 0, 0, 1])
        world.add(group=group, priority=priority, timeout_time=random.choice([*[0] * 9, LATE]))


@pytest.mark.parametrize("order", GroupOrder)
def test_claims_with_and_without_the_shortcut_for_one_job_of_each_group_get_the_same_jobs(order: GroupOrder) -> None:
    given = {1: 0, 2: 0, 3: 0, 4: 0}
    for seed in range(30):
        random = Random(seed)
        world = random_world(random, order)
        for _ in range(40):
            change(world, random)
            for count in given:
                given[count] += check(world.tables.queues["q"], count)
    assert all(given.values())
