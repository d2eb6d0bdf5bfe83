"""A queue that is read in parts while it changes: a job that exists throughout is shown once."""

from random import Random
from typing import Any

import pytest

from jobengine.core.commands import AddJobs, Changes, NewJob, UpdateJob
from jobengine.core.model import Defaults, Job, State
from jobengine.engine.tables import sorted_list
from jobengine.engine.tables.queue_scan import QueueScan
from tests.core.worlds import KEY, World


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """A queue of 100 jobs in blocks so short that they are split and merged all the time."""
    for name, length in {"_BLOCK": 4, "_LONGEST": 8, "_SHORTEST": 2}.items():
        monkeypatch.setattr(sorted_list, name, length)
    world = World()
    world.create()
    jobs = tuple(NewJob(content=b"{}", priority=n % 3) for n in range(100))
    world.ask(AddJobs(queue="q", access_key=KEY, jobs=jobs, defaults=Defaults()))
    return world


def scan_of(world: World) -> QueueScan:
    return QueueScan(world.tables.queues["q"])


def edit(world: World, job: Job, **changes: Any) -> None:
    world.ask(UpdateJob(queue="q", access_key=KEY, uid=job.spec.uid, changes=Changes(**changes)))


def read_rest(scan: QueueScan) -> list[str]:
    """The uids of all jobs not read yet."""
    uids = []
    while ranks := scan.take(7):
        uids += [job.spec.uid for job in scan.jobs(ranks)]
    return uids


def test_a_scan_shows_every_job_in_execution_order(world: World) -> None:
    assert read_rest(scan_of(world)) == [job.spec.uid for job in world.list()]


def test_a_scan_shows_each_job_exactly_once_even_if_jobs_are_changed_and_added(world: World) -> None:
    random = Random(7)
    jobs = world.list()
    scan, shown = scan_of(world), []
    while ranks := scan.take(5):
        shown += [job.spec.uid for job in scan.jobs(ranks)]
        for job in random.sample(jobs, 20):
            edit(world, job, priority=random.randrange(-5, 5))
        edit(world, random.choice(jobs), state=random.choice(list(State)))
        world.add(priority=random.randrange(-5, 5))
    assert shown == [job.spec.uid for job in jobs]


def test_a_scan_shows_jobs_as_they_are_when_read_and_leaves_out_removed_jobs(world: World) -> None:
    scan = scan_of(world)
    first, second, *_, last = world.list()
    edit(world, last, priority=99, tags=("moved",))
    world.delete(first.spec.uid)
    ranks = scan.take(100)
    assert len(ranks) == 100
    shown = scan.jobs(ranks)
    assert shown[0].spec.uid == second.spec.uid
    assert (shown[-1].spec.uid, shown[-1].spec.priority, shown[-1].spec.tags) == (last.spec.uid, 99, ("moved",))
    assert len(shown) == 99


def test_a_scan_omits_a_job_that_was_removed_and_added_again(world: World) -> None:
    uid = world.add(uid="00000000-0000-0000-0000-0000000000ff").spec.uid
    scan = scan_of(world)
    world.delete(uid)
    world.add(uid=uid)
    assert uid not in read_rest(scan)


def test_changes_copy_index_blocks_only_while_a_scan_is_open(world: World) -> None:
    index = world.tables.queues["q"].ready
    scan, other = scan_of(world), scan_of(world)
    before = list(map(id, index._blocks))
    edit(world, world.list()[50], state=State.COMPLETE)
    assert list(map(id, index._blocks)) != before, "a block that is looked at was changed in its place"
    scan.close()
    assert index._seen is not None
    other.close()
    assert index._seen is None
    assert read_rest(scan) == []
