"""Which jobs a claim gets, and that a peek shows the same jobs."""

import pytest

from jobengine.core.commands import Claim
from jobengine.core.model import State
from tests.core.worlds import KEY, NOW, World, picture
from tests.doubles import NoActivity


def test_jobs_are_claimed_by_priority_and_then_by_arrival(world: World) -> None:
    jobs = [world.add(priority=priority) for priority in (0, 5, -1, 5, 0)]
    order = [jobs[at] for at in (1, 3, 0, 4, 2)]
    assert world.list() == order
    claimed = [world.claim() for _ in range(5)]
    assert [job.spec for job in claimed if job] == [job.spec for job in order]
    assert world.claim() is None


def test_two_claims_never_get_the_same_job(world: World) -> None:
    for _ in range(50):
        world.add()
    claimed = [job.spec.uid for _ in range(60) if (job := world.claim())]
    assert len(claimed) == len(set(claimed)) == 50


def test_a_claimed_job_that_is_queued_again_is_claimed_before_later_jobs(world: World) -> None:
    first, second = world.add(), world.add()
    claimed = world.hold()
    assert (claimed.spec, claimed.state, claimed.updated) == (first.spec, State.INPROGRESS, NOW)
    world.update(first.spec.uid, State.QUEUED)
    world.add()
    assert [world.hold().spec, world.hold().spec] == [first.spec, second.spec]


def test_a_peek_changes_nothing(world: World) -> None:
    world.add()
    world.add(priority=1)
    before = picture(world.tables)
    assert world.peek() == world.peek()
    assert picture(world.tables) == before
    peeked, claimed = world.peek(), world.claim()
    assert peeked
    assert claimed
    assert peeked.spec == claimed.spec


@pytest.mark.parametrize("by_uid", [False, True])
def test_a_claim_skips_an_expired_job_that_is_not_removed_yet(world: World, by_uid: bool) -> None:
    over = world.add(timeout_time=world.now // 1000 + 10).spec.uid
    kept = world.add(timeout_time=world.now // 1000 + 11).spec.uid
    uids = (over, kept) if by_uid else None
    command = Claim(queue="q", access_key=KEY, count=2, uids=uids)
    _, jobs = command.decide(world.tables, (world.now // 1000 + 10) * 1000, world.new_id, NoActivity())
    assert [job.spec.uid for job in jobs] == [kept]
