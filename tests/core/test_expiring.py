"""Changes that time alone makes: time-outs and removals."""

import pytest

from jobengine.core.errors import JobNotFound
from jobengine.core.expiring import expire
from jobengine.core.facts import JobChanged, JobRemoved
from jobengine.core.model import Defaults, State
from tests.core.worlds import MINUTE, NOW, World, picture

FAR = 1 << 40


def test_a_job_in_progress_without_an_update_fails_exactly_at_its_timeout(world: World) -> None:
    uid = world.add(timeout_seconds=600).spec.uid
    world.claim()
    world.now += 10 * MINUTE - 1
    assert world.read(uid).state is State.INPROGRESS
    world.now += 1
    job = world.read(uid)
    assert (job.state, job.updated) == (State.FAILED, world.now)


def test_an_update_to_in_progress_restarts_the_timeout(world: World) -> None:
    uid = world.add(timeout_seconds=600).spec.uid
    world.claim()
    world.now += 9 * MINUTE
    world.update(uid, State.INPROGRESS)
    world.now += 9 * MINUTE
    assert world.read(uid).state is State.INPROGRESS


@pytest.mark.parametrize("state", [State.COMPLETE, State.FAILED])
def test_a_finished_job_is_removed_at_the_exact_time(world: World, state: State) -> None:
    uid = world.add(keep_minutes=60).spec.uid
    world.update(uid, state)
    world.now += 60 * MINUTE - 1
    assert world.read(uid).state is state
    world.now += 1
    with pytest.raises(JobNotFound):
        world.read(uid)


def test_a_queued_job_is_removed_when_its_timeout_time_has_come(world: World) -> None:
    uid = world.add(timeout_time=NOW // 1000 + 5).spec.uid
    world.now += 4_999
    assert world.read(uid).state is State.QUEUED
    world.now += 1
    assert world.peek() is None
    with pytest.raises(JobNotFound):
        world.read(uid)


def test_a_job_in_progress_ignores_timeout_time_until_it_is_queued_again(world: World) -> None:
    uid = world.add(timeout_time=NOW // 1000 + 5, timeout_seconds=0).spec.uid
    world.claim()
    world.now += 10_000
    assert world.read(uid).state is State.INPROGRESS
    world.update(uid, State.QUEUED)
    with pytest.raises(JobNotFound):
        world.read(uid)


@pytest.mark.parametrize("state", [State.COMPLETE, State.FAILED])
def test_a_job_that_is_kept_for_0_minutes_is_removed_right_after_the_answer(world: World, state: State) -> None:
    uid = world.add(keep_minutes=0).spec.uid
    assert world.update(uid, state).state is state
    with pytest.raises(JobNotFound):
        world.read(uid)


def test_a_timed_out_job_that_is_not_kept_is_removed_in_one_step(world: World) -> None:
    uid = world.add(keep_minutes=0, timeout_seconds=60).spec.uid
    world.claim()
    world.now += MINUTE
    failed, removed = world.expire()
    assert isinstance(failed, JobChanged)
    assert (failed.uid, failed.standing.state, failed.standing.updated) == (uid, State.FAILED, world.now)
    assert removed == JobRemoved("q", uid)


def test_zero_means_no_timeout(world: World) -> None:
    queued, claimed = world.add(priority=-1, timeout_time=0), world.add(timeout_seconds=0)
    world.claim()
    world.now += FAR
    assert world.read(queued.spec.uid).state is State.QUEUED
    assert world.read(claimed.spec.uid).state is State.INPROGRESS
    assert not world.tables.deadlines


def test_setting_the_wall_clock_back_expires_no_job(world: World) -> None:
    uid = world.add().spec.uid
    world.claim()
    world.now -= 60 * MINUTE
    assert world.expire() == []
    assert world.update(uid, State.COMPLETE).updated == world.now
    assert picture(world.tables)


def test_a_slice_of_a_sweep_expires_jobs_of_all_queues(world: World) -> None:
    world.create("other")
    for queue in ("q", "other"):
        for _ in range(5):
            world.add(queue, timeout_time=NOW // 1000 + 1)
    world.now += 1_000
    assert len(expire(world.tables, world.now, 7)) == 7
    assert len(world.expire()) == 10
    assert not world.tables.deadlines


@pytest.mark.parametrize(
    ("defaults", "own", "complete", "failed"),
    [
        (None, None, 60, 4_320),
        (None, 7, 7, 7),
        (Defaults(keep_minutes=5, keep_failed_minutes=9), None, 5, 9),
        (Defaults(keep_minutes=5, keep_failed_minutes=9), 7, 7, 7),
        # A queue from a version without keep_failed_minutes.
        (Defaults(keep_minutes=5, keep_failed_minutes=None), None, 5, 4_320),
    ],
)
@pytest.mark.parametrize("state", [State.COMPLETE, State.FAILED])
def test_a_finished_job_is_kept_for_its_own_time_or_the_default_of_its_state(
    world: World, state: State, defaults: Defaults | None, own: int | None, complete: int, failed: int
) -> None:
    if defaults is not None:
        world.set_up(defaults=defaults)
    uid = world.add(keep_minutes=own).spec.uid
    world.update(uid, state)
    world.now += (complete if state is State.COMPLETE else failed) * MINUTE - 1
    assert world.read(uid).state is state
    world.now += 1
    assert world.list() == []
