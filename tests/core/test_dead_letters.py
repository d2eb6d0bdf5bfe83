"""Dead-letter queues and moves: the rules, and that a job is always in exactly one queue."""

from collections import Counter
from random import Random
from typing import Any

import pytest

from jobengine.core import commands as c
from jobengine.core.dead_letters import COMPLETE, DUE, HOLDS_GROUP, REPLACED, UID_TAKEN
from jobengine.core.errors import BadDeadLetter, JobNotFound, UnknownDependency
from jobengine.core.flow import GroupOrder, OnFailure
from jobengine.core.model import Job, State
from jobengine.core.moves import Pace
from jobengine.core.wall_time import shown
from tests.core.worlds import KEY, MINUTE, NOW, World, picture

QUEUES = ("q", "dead")


@pytest.fixture
def world(world: World) -> World:
    """A queue with a dead-letter queue."""
    world.create("dead")
    world.set_up(dead_letter=("dead", 7))
    return world


def fail(world: World, **spec: Any) -> Job:
    job = world.add(**spec)
    world.hold()
    return world.update(job.spec.uid, State.FAILED)


def move(world: World, uids: list[str], queue: str = "dead", to: str = "q", **more: Any) -> Any:
    wanted = {"filter": c.Filter(), "uids": tuple(uids), **more}
    return world.ask(c.MoveJobs(queue=queue, to=to, access_key=KEY, **wanted))


def where(world: World) -> dict[str, list[str]]:
    return {name: [job.spec.uid for job in world.list(name)] for name in QUEUES}


def test_setting_the_same_dead_letter_queue_again_succeeds_even_if_it_has_its_own(world: World) -> None:
    world.create("later")
    world.set_up("dead", dead_letter=("later", None))
    world.set_up(dead_letter=("dead", 9))
    world.expire()
    fail(world)
    world.expire()
    (moved,) = world.list("dead")
    assert moved.spec.keep.failed_minutes == 9
    with pytest.raises(BadDeadLetter, match="'dead' has a dead-letter queue itself, 'later'"):
        world.set_up("later", dead_letter=("dead", None))


def test_a_failed_job_is_moved_by_the_next_sweep(world: World) -> None:
    job = fail(world)
    assert (job.standing.notes.dead_letter, job.deadline) == (DUE, NOW)
    world.expire()
    assert where(world) == {"q": [], "dead": [job.spec.uid]}
    moved = world.read(job.spec.uid, "dead")
    assert (moved.standing.notes.dead_letter, moved.deadline) == ("", NOW + 7 * MINUTE)


def test_the_error_for_a_missing_job_says_that_it_may_have_moved(world: World) -> None:
    job = fail(world)
    world.expire()
    with pytest.raises(JobNotFound, match="moved to the queue's dead-letter queue"):
        world.read(job.spec.uid)
    with pytest.raises(UnknownDependency, match="moved to the queue's dead-letter queue"):
        world.add(depends_on=(("q", job.spec.uid),))


def test_a_job_has_its_original_retention_after_each_move_back(world: World) -> None:
    uid = fail(world, keep_minutes=3).spec.uid
    for _ in range(2):
        world.expire()
        assert world.read(uid, "dead").spec.keep.failed_minutes == 7
        move(world, [uid])
        assert world.read(uid).spec.keep.failed_minutes == 3
        world.hold()
        world.update(uid, State.FAILED)


def test_a_job_that_holds_its_group_is_not_moved(world: World) -> None:
    world.set_up(group_order=GroupOrder.STRICT, group_on_failure=OnFailure.HOLD)
    job = fail(world, group="g")
    assert job.standing.notes.dead_letter == HOLDS_GROUP
    world.expire()
    assert world.read(job.spec.uid).state is State.FAILED


def test_a_job_whose_uid_exists_in_the_other_queue_is_not_moved(world: World) -> None:
    there = world.add("dead", uid="00000000-0000-4000-8000-000000000007")
    job = fail(world, uid=there.spec.uid)
    world.expire()
    assert world.read(job.spec.uid).standing.notes.dead_letter == UID_TAKEN
    assert world.read(there.spec.uid, "dead") == there


def test_a_recreated_dead_letter_queue_gets_no_job(world: World) -> None:
    world.delete_queue("dead")
    world.create("dead", key=b"stranger")
    job = fail(world)
    world.expire()
    assert world.read(job.spec.uid).standing.notes.dead_letter == REPLACED
    setting = world.tables.queues["q"].queue.dead_letter
    assert setting is not None
    assert setting.missing


def test_a_job_failed_by_a_dependency_is_not_moved(world: World) -> None:
    first = world.add()
    second = world.add(depends_on=(("q", first.spec.uid),))
    world.hold()
    world.update(first.spec.uid, State.FAILED)
    world.expire()
    assert where(world) == {"q": [first.spec.uid, second.spec.uid], "dead": []}


def test_a_moved_job_that_fails_again_during_the_move_is_not_moved_a_second_time(world: World) -> None:
    uid = fail(world).spec.uid
    world.expire()
    step = move(world, [])
    world.now += 1
    assert move(world, [uid], before=step.since).moved.moved == 1
    world.hold()
    world.update(uid, State.FAILED)
    world.expire()
    assert move(world, [uid], before=step.since).moved.matched == 0


def test_a_job_that_was_changed_before_the_clock_was_set_back_is_moved(world: World) -> None:
    uid = fail(world).spec.uid
    world.expire()
    world.now -= MINUTE
    step = move(world, [])
    assert move(world, [uid], before=step.since).moved.moved == 1


def test_a_moved_job_that_left_its_group_has_no_group_after_the_move_back(world: World) -> None:
    uid = fail(world, group="g").spec.uid
    world.expire()
    assert world.read(uid, "dead").spec.rare.own_group == "g"
    assert world.update(uid, queue="dead", group="").spec.rare.own_group is None
    move(world, [uid])
    assert world.read(uid).spec.rare.own_group is None


def test_the_time_of_a_move_is_shown_by_the_present_wall_clock(world: World) -> None:
    uid = fail(world).spec.uid
    world.expire()
    origin = shown(world.read(uid, "dead"), MINUTE).spec.rare.moved_from
    assert origin is not None
    assert origin.at == NOW + MINUTE


def test_a_complete_job_is_not_moved(world: World) -> None:
    uid = fail(world).spec.uid
    world.expire()
    world.update(uid, State.COMPLETE, queue="dead")
    assert move(world, [uid]).moved.left == {COMPLETE: 1}


def test_a_move_in_several_steps_keeps_its_pace(world: World) -> None:
    uids = [fail(world).spec.uid for _ in range(4)]
    world.expire()
    step = move(world, uids[:2], pace=Pace(per_second=4))
    step = move(world, uids[2:], pace=step.pace, before=step.since)
    wall = world.tables.wall(NOW)
    starts = [world.read(uid).standing.not_before for uid in uids]
    assert starts == [0, wall + 250, wall + 500, wall + 750]
    assert step.pace.done == 4


class _Life:
    """Random commands about the two queues."""

    def __init__(self, world: World, chance: Random) -> None:
        self.world, self.chance, self.added = world, chance, set[str]()

    def step(self) -> None:
        self.chance.choice([self.add, self.add, self.work, self.work, self.move, self.configure, self.wait])()

    def add(self) -> None:
        attempts = self.chance.choice([1, 2])
        self.added.add(self.world.add(max_attempts=attempts, keep_minutes=1_000).spec.uid)

    def work(self) -> None:
        queue = self.chance.choice(QUEUES)
        job = self.world.claim(queue)
        if job is not None and self.chance.random() < 0.9:
            state = self.chance.choice([State.FAILED, State.FAILED, State.COMPLETE, State.QUEUED, None])
            self.world.update(job.spec.uid, state, queue, job.standing.lease, cancel=state is None)

    def move(self) -> None:
        source, to = self.chance.sample(QUEUES, 2)
        uids = [job.spec.uid for job in self.world.list(source)]
        pace = self.chance.choice([None, Pace(per_second=9)])
        move(self.world, self.chance.sample(uids, min(3, len(uids))), source, to, pace=pace)

    def configure(self) -> None:
        self.world.set_up(dead_letter=self.chance.choice([None, ("dead", 1_000), ("dead", 1_000)]))
        self.world.set_up("dead", max_jobs=self.chance.choice([0, 0, 3]))

    def wait(self) -> None:
        self.world.now += self.chance.choice([1_000, MINUTE, 11 * MINUTE])


@pytest.mark.parametrize("seed", range(20))
def test_after_random_moves_each_job_is_in_exactly_one_queue(world: World, seed: int) -> None:
    life = _Life(world, Random(seed))
    for _ in range(150):
        life.step()
        found = Counter(uid for uids in where(world).values() for uid in uids)
        assert set(found) == life.added
        assert set(found.values()) <= {1}
        picture(world.tables)
