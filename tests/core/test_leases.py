"""Leases: who may update a job in progress, and until when."""

import pytest

from jobengine.core.errors import ClaimRequired, LeaseLost, LeaseRequired
from jobengine.core.model import State
from jobengine.engine.tables.state import latest_change
from tests.core.worlds import NOW, World, picture


def test_every_claim_has_a_lease_of_its_own(world: World) -> None:
    for _ in range(3):
        world.add()
    leases = [world.hold().standing.lease for _ in range(3)]
    assert None not in leases
    assert len(set(leases)) == 3
    assert not any(lease in repr(world.list()) for lease in leases if lease)


def test_the_error_for_a_lost_lease_names_the_present_holder(world: World) -> None:
    uid = world.add(max_attempts=2, timeout_seconds=5).spec.uid
    old = world.hold(worker="slow").standing.lease
    world.now += 5_000
    world.hold(worker="quick")
    before = picture(world.tables)
    for changes in ({"state": State.COMPLETE}, {"state": State.INPROGRESS}, {"progress": 3}, {"cancel": True}):
        with pytest.raises(LeaseLost) as caught:
            world.update(uid, lease=old, **changes)
        assert (caught.value.state, caught.value.worker) == (State.INPROGRESS, "quick")
    assert picture(world.tables) == before


@pytest.mark.parametrize("state", [State.QUEUED, State.COMPLETE, State.FAILED])
def test_a_lease_of_a_job_without_a_holder_is_lost(world: World, state: State) -> None:
    uid = world.add().spec.uid
    lease = world.hold(worker="w").standing.lease
    world.update(uid, state)
    with pytest.raises(LeaseLost) as caught:
        world.update(uid, State.INPROGRESS, lease=lease)
    assert (caught.value.state, caught.value.worker) == (state, None)


@pytest.mark.parametrize("lease", ["", "wrong", "\u00e9"])
def test_an_unknown_lease_is_a_lost_lease(world: World, lease: str) -> None:
    uid = world.add().spec.uid
    world.hold()
    with pytest.raises(LeaseLost):
        world.update(uid, State.COMPLETE, lease=lease)


@pytest.mark.parametrize("state", [State.COMPLETE, State.FAILED])
def test_finishing_twice_with_the_same_lease_changes_nothing(world: World, state: State) -> None:
    uid = world.add().spec.uid
    lease = world.hold().standing.lease
    done = world.update(uid, state, lease=lease, result=b"1")
    world.now += 5
    assert world.update(uid, state, lease=lease, result=b"2") == done
    other = State.FAILED if state is State.COMPLETE else State.COMPLETE
    with pytest.raises(LeaseLost):
        world.update(uid, other, lease=lease)


def test_repeating_a_failure_after_the_job_was_retried_is_a_lost_lease(world: World) -> None:
    uid = world.add(max_attempts=2).spec.uid
    lease = world.hold().standing.lease
    world.update(uid, State.FAILED, lease=lease)
    with pytest.raises(LeaseLost):
        world.update(uid, State.FAILED, lease=lease)


def test_updates_without_a_lease_follow_the_rules_of_api_version_1(world: World) -> None:
    uid = world.add().spec.uid
    world.hold()
    assert world.update(uid, State.COMPLETE).state is State.COMPLETE


def test_a_queue_may_require_the_lease_of_jobs_in_progress(world: World) -> None:
    uid = world.add().spec.uid
    world.set_up(require_lease=True)
    assert world.update(uid, priority=3).spec.priority == 3
    lease = world.hold(worker="w").standing.lease
    for changes in ({"state": State.COMPLETE}, {"state": State.INPROGRESS}, {"progress": 3}):
        with pytest.raises(LeaseRequired) as caught:
            world.update(uid, **changes)
        assert (caught.value.state, caught.value.worker) == (State.INPROGRESS, "w")
    assert world.update(uid, cancel=True).standing.notes.cancel_requested
    assert world.update(uid, State.COMPLETE, lease=lease).state is State.COMPLETE
    assert world.update(uid, State.QUEUED).state is State.QUEUED


def test_in_a_queue_that_requires_leases_only_a_claim_puts_a_job_in_progress(world: World) -> None:
    uid = world.add().spec.uid
    world.set_up(require_lease=True)
    for progress in (None, 1):
        with pytest.raises(ClaimRequired):
            world.update(uid, State.INPROGRESS, progress=progress)
    lease = world.hold().standing.lease
    assert world.update(uid, State.INPROGRESS, lease=lease)


def test_a_job_that_was_put_in_progress_without_a_claim_is_updated_without_a_lease(world: World) -> None:
    uid = world.add().spec.uid
    world.update(uid, State.INPROGRESS)
    world.set_up(require_lease=True)
    with pytest.raises(LeaseLost):
        world.update(uid, lease="any", progress=1)
    world.update(uid, State.INPROGRESS, progress=1)
    assert world.update(uid, State.COMPLETE).state is State.COMPLETE


def test_any_update_by_a_holder_extends_its_lease(world: World) -> None:
    uid = world.add(timeout_seconds=10).spec.uid
    lease = world.hold().standing.lease
    for changes in ({"state": State.INPROGRESS}, {"progress": 1}, {"priority": 2}):
        world.now += 9_999
        assert world.update(uid, lease=lease, **changes).lease_expires == world.now + 10_000


def test_latest_change_is_the_time_of_the_last_change_of_a_job_in_progress(world: World) -> None:
    world.add()
    assert latest_change(world.tables) == 0
    world.now += 7
    world.hold()
    world.now += 7
    assert latest_change(world.tables) == NOW + 7
