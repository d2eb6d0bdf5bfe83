"""Refuses circles of jobs that wait for each other through stored jobs, or through jobs found by uid or unique key."""

import pytest

from jobengine.core import commands as c
from jobengine.core.dependencies import OnDependencyFailure
from jobengine.core.errors import BadItem, WouldWaitForItself
from jobengine.core.model import State
from tests.core.test_dependencies import FAIL, WAIT, A, B, C, D, child, wait_for, waits_for
from tests.core.worlds import KEY, World


def test_a_dependency_on_a_new_job_whose_unique_key_is_taken_is_refused(world: World) -> None:
    stored = world.add(unique_key="key").spec.uid
    jobs = [
        c.NewJob(content=b"{}", uid=B, depends_on=(("q", A),)),
        c.NewJob(content=b"{}", uid=A, unique_key="key"),
    ]
    with pytest.raises(BadItem, match=rf"jobs\[0\].*the job {A} .* the job {stored} has its unique_key"):
        world.add_all(*jobs)


@pytest.mark.parametrize("on_failure", [FAIL, WAIT])
def test_adding_a_removed_job_again_with_a_circular_dependency_is_refused(
    world: World, on_failure: OnDependencyFailure
) -> None:
    world.add(uid=A)
    waits_for(world, A, uid=B, on_failure=on_failure)
    world.ask(c.DeleteJob(queue="q", access_key=KEY, uid=A))
    for on in ((B,), (D, B)):
        with pytest.raises((WouldWaitForItself, BadItem), match=f"The job depends on {on[0]}, which waits for"):
            world.add_all(
                c.NewJob(content=b"{}", uid=D, depends_on=(("q", B),)),
                c.NewJob(content=b"{}", uid=A, depends_on=tuple(("q", one) for one in on)),
            )
    world.add(uid=A)
    assert world.read(B).waits


def test_a_child_found_by_its_unique_key_must_not_wait_for_its_parent(world: World) -> None:
    world.add(uid=C, unique_key="parent")
    job = world.hold()
    waits_for(world, C, uid=B, unique_key="follower")
    for key in ("parent", "follower"):
        with pytest.raises(WouldWaitForItself):
            wait_for(world, job, child(unique_key=key))
    assert world.read(C).state is State.INPROGRESS
