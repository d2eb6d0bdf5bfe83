"""Jobs that wait for other jobs."""

from collections.abc import Iterator
from typing import Any

import pytest

from jobengine.core import commands as c
from jobengine.core.dependencies import OnDependencyFailure, circle_in
from jobengine.core.errors import (
    BadItem,
    DependencyCircle,
    LeaseLost,
    NotAllowed,
    NothingAwaited,
    NotInProgress,
    UnknownDependency,
    WouldWaitForItself,
)
from jobengine.core.model import Defaults, Job, Role, State
from tests.core.worlds import KEY, MINUTE, World, picture

A, B, C, D = (f"00000000-0000-4000-8000-00000000000{at}" for at in "abcd")
FAIL, RUN, WAIT = OnDependencyFailure


@pytest.fixture
def world(world: World) -> Iterator[World]:
    """A world whose indexes are checked at the end."""
    yield world
    picture(world.tables)


def waits_for(world: World, *uids: str, uid: str = C, on_failure: OnDependencyFailure = FAIL, **more: Any) -> Job:
    """A new job of the queue q that depends on others there."""
    on = tuple(("q", one) for one in uids)
    return world.add(uid=uid, depends_on=on, on_dependency_failure=on_failure, **more)


def finish(world: World, uid: str, state: State = State.COMPLETE, queue: str = "q", **more: Any) -> Job:
    return world.update(uid, state, queue=queue, **more)


def test_a_job_is_ready_when_all_its_dependencies_are_complete(world: World) -> None:
    world.add(uid=A)
    world.add(uid=B)
    job = waits_for(world, A, B)
    assert (job.state, job.waits, job.ready) == (State.QUEUED, True, False)
    finish(world, A)
    assert world.read(C).waits
    finish(world, B)
    assert world.read(C).ready


def test_a_waiting_job_is_not_claimed(world: World) -> None:
    world.add(uid=A)
    waits_for(world, A, priority=9)
    assert world.hold().spec.uid == A
    assert world.claim() is None


def test_a_job_whose_dependencies_are_complete_is_ready_at_once(world: World) -> None:
    finish(world, world.add(uid=A).spec.uid)
    assert waits_for(world, A).ready


def test_jobs_of_one_request_may_depend_on_each_other_in_any_order(world: World) -> None:
    jobs = [
        c.NewJob(content=b"{}", uid=C, depends_on=(("q", A), ("q", B))),
        c.NewJob(content=b"{}", uid=B, depends_on=(("q", A),)),
        c.NewJob(content=b"{}", uid=A),
    ]
    world.add_all(*jobs)
    for uid in (A, B, C):
        assert world.hold().spec.uid == uid
        assert world.claim() is None
        finish(world, uid)


def test_a_repeated_request_changes_nothing(world: World) -> None:
    jobs = [c.NewJob(content=b"{}", uid=A), c.NewJob(content=b"{}", uid=B, depends_on=(("q", A),))]
    world.add_all(*jobs)
    finish(world, A)
    before = picture(world.tables)
    assert [one.new for one in world.add_all(*jobs)] == [False, False]
    assert picture(world.tables) == before


def test_the_error_for_an_unknown_dependency_has_the_index_of_the_job(world: World) -> None:
    job = c.NewJob(content=b"{}", depends_on=(("q", A),))
    with pytest.raises(BadItem, match=A) as refused:
        world.add_all(c.NewJob(content=b"{}"), job)
    assert (refused.value.index, type(refused.value.why)) == (1, UnknownDependency)
    assert world.list() == []


def test_the_error_for_circular_dependencies_has_the_uids_of_the_circle(world: World) -> None:
    jobs = [
        c.NewJob(content=b"{}", uid=A, depends_on=(("q", C),)),
        c.NewJob(content=b"{}", uid=B, depends_on=(("q", A),)),
        c.NewJob(content=b"{}", uid=C, depends_on=(("q", B),)),
    ]
    with pytest.raises(DependencyCircle, match=f"{A} → {C} → {B} → {A}"):
        world.add_all(*jobs)
    with pytest.raises(DependencyCircle, match=f"{A} → {A}"):
        waits_for(world, A, uid=A)


def test_a_circular_dependency_is_found_in_a_long_chain() -> None:
    chain = {str(at): [str(at - 1)] for at in range(1, 20_000)}
    assert circle_in({**chain, "0": ["x"]}) is None
    found = circle_in({**chain, "0": ["19999"]})
    assert found is not None
    assert len(found) == 20_001


def test_a_job_may_depend_on_jobs_of_other_queues(world: World) -> None:
    world.create("other")
    world.add(queue="other", uid=A)
    world.add(uid=C, depends_on=(("other", A),))
    assert world.read(C).waits
    finish(world, A, queue="other")
    assert world.read(C).ready


def test_a_dependency_on_another_queue_needs_a_key_that_may_read_the_job(world: World) -> None:
    world.create("other")
    world.add(queue="other", uid=A)
    for role, error in ((Role.PRODUCER, UnknownDependency), (Role.VIEWER, None), (Role.WORKER, None)):
        key = role.encode()
        world.ask(c.AddKey(queue="other", access_key=KEY, role=role, new_access_key=key))
        world.ask(c.AddKey(queue="q", access_key=KEY, role=Role.PRODUCER, new_access_key=key))
        add = c.AddJobs(
            queue="q",
            access_key=key,
            jobs=(c.NewJob(content=b"{}", depends_on=(("other", A),)),),
            defaults=Defaults(),
        )
        if error is None:
            world.ask(add)
        else:
            # A producer reads only its own jobs.
            with pytest.raises(error):
                world.ask(add)


@pytest.mark.parametrize(
    ("on_failure", "after"),
    [(FAIL, State.FAILED), (RUN, State.QUEUED), (WAIT, State.QUEUED)],
    ids=[*OnDependencyFailure],
)
def test_on_dependency_failure_decides_what_happens_to_a_job_whose_dependency_failed(
    world: World, on_failure: OnDependencyFailure, after: State
) -> None:
    world.add(uid=A)
    waits_for(world, A, on_failure=on_failure)
    finish(world, A, State.FAILED)
    job = world.read(C)
    assert (job.state, job.ready) == (after, on_failure is RUN)
    assert job.standing.notes.error == (f"dependency {A} failed" if on_failure is FAIL else None)


@pytest.mark.parametrize("on_failure", OnDependencyFailure)
def test_on_dependency_failure_applies_at_once_to_a_job_added_after_the_failure(
    world: World, on_failure: OnDependencyFailure
) -> None:
    world.add(uid=A)
    finish(world, A, State.FAILED)
    job = waits_for(world, A, on_failure=on_failure)
    assert (job.state, job.ready) == (State.FAILED if on_failure is FAIL else State.QUEUED, on_failure is RUN)


def test_a_chain_added_behind_a_failed_job_fails_at_once(world: World) -> None:
    world.add(uid=A)
    finish(world, A, State.FAILED)
    jobs = [
        c.NewJob(content=b"{}", uid=C, depends_on=(("q", B),)),
        c.NewJob(content=b"{}", uid=B, depends_on=(("q", A),)),
    ]
    world.add_all(*jobs)
    assert [world.read(uid).state for uid in (B, C)] == [State.FAILED, State.FAILED]


def test_a_job_failed_by_a_dependency_fails_its_own_dependants(world: World) -> None:
    world.add(uid=A)
    waits_for(world, A, uid=B)
    waits_for(world, B, uid=C)
    finish(world, A, State.FAILED)
    assert world.read(C).standing.notes.error == f"dependency {B} failed"


def test_a_job_with_attempts_left_has_not_failed_yet(world: World) -> None:
    world.add(uid=A, max_attempts=2)
    waits_for(world, A)
    lease = world.hold().standing.lease
    finish(world, A, State.FAILED, lease=lease)
    assert world.read(C).waits
    world.hold()
    finish(world, A)
    assert world.read(C).ready


def test_a_cancelled_or_deleted_dependency_counts_as_failed(world: World) -> None:
    for uid, child in ((A, B), (C, D)):
        world.add(uid=uid)
        waits_for(world, uid, uid=child)
    world.update(A, cancel=True)
    world.delete(C)
    assert world.read(B).standing.notes.error == f"dependency {A} failed"
    assert world.read(D).standing.notes.error == f"dependency {C} was removed"


def test_a_waiting_job_that_times_out_counts_as_a_failed_dependency(world: World) -> None:
    world.add(uid=A)
    waits_for(world, A, uid=B, timeout_time=world.now // 1000 + 60)
    waits_for(world, B, uid=C)
    world.now += MINUTE
    assert world.read(C).standing.notes.error == f"dependency {B} was removed"


def test_a_deleted_queue_fails_the_jobs_that_wait_for_its_jobs(world: World) -> None:
    world.create("other")
    world.add(queue="other", uid=A)
    world.add(uid=C, depends_on=(("other", A),))
    world.delete_queue("other")
    assert world.read(C).state is State.FAILED


def test_a_finished_job_is_removed_on_time_if_its_dependants_were_deleted_with_their_queue(world: World) -> None:
    world.create("other")
    world.add(uid=A)
    world.add(queue="other", uid=C, depends_on=(("q", A),))
    finish(world, A)
    world.delete_queue("other")
    world.now += 60 * MINUTE
    assert world.list() == []


def test_retrying_a_failed_job_makes_its_failed_dependants_wait_again(world: World) -> None:
    world.add(uid=A)
    waits_for(world, A, uid=B)
    waits_for(world, B, uid=C)
    finish(world, A, State.FAILED)
    world.update(A, State.QUEUED)
    assert [world.read(uid).waits for uid in (B, C)] == [True, True]
    assert world.read(B).standing.notes.error is None
    for uid in (A, B, C):
        assert world.hold().spec.uid == uid
        finish(world, uid)


def test_a_job_that_waits_for_a_failed_dependency_runs_after_its_retry(world: World) -> None:
    world.add(uid=A)
    waits_for(world, A, on_failure=WAIT)
    finish(world, A, State.FAILED)
    world.update(A, State.QUEUED)
    finish(world, A)
    assert world.read(C).ready


def test_completing_a_failed_job_by_hand_meets_the_dependency(world: World) -> None:
    world.add(uid=A)
    waits_for(world, A)
    finish(world, A, State.FAILED)
    finish(world, A)
    assert world.read(C).ready


@pytest.mark.parametrize("order", [(A, C), (C, A)], ids=["first the failed one", "first the one that depends on it"])
def test_retrying_all_failed_jobs_runs_no_job_before_its_dependencies(world: World, order: tuple[str, str]) -> None:
    world.add(uid=A)
    waits_for(world, A)
    finish(world, A, State.FAILED)
    for uid in order:
        if world.read(uid).state is State.FAILED:
            world.update(uid, State.QUEUED)
    assert (world.read(A).ready, world.read(C).waits) == (True, True)
    finish(world, A)
    assert world.read(C).ready


def test_a_retried_job_waits_until_its_failed_dependency_is_retried(world: World) -> None:
    world.add(uid=A)
    waits_for(world, A)
    finish(world, A, State.FAILED)
    assert world.update(C, State.QUEUED).waits
    assert world.read(C).waits


def test_dropping_the_dependencies_releases_a_job_whose_dependency_was_removed(world: World) -> None:
    world.add(uid=A)
    waits_for(world, A)
    world.delete(A)
    assert world.update(C, State.QUEUED).waits
    assert world.update(C, without_dependencies=True).ready


def test_the_dependencies_of_a_job_in_progress_can_not_be_dropped(world: World) -> None:
    finish(world, world.add(uid=A).spec.uid)
    waits_for(world, A)
    world.hold()
    with pytest.raises(NothingAwaited):
        world.update(C, without_dependencies=True)


def test_a_retried_job_that_waits_again_has_no_error(world: World) -> None:
    world.add(uid=A)
    waits_for(world, A)
    finish(world, A, State.FAILED)
    assert world.update(C, State.QUEUED).standing.notes.error is None


def test_a_cancelled_waiting_job_waits_again_after_its_retry(world: World) -> None:
    world.add(uid=A)
    waits_for(world, A)
    world.update(C, cancel=True)
    assert world.read(C).state is State.FAILED
    assert world.update(C, State.QUEUED).waits
    finish(world, A)
    assert world.read(C).ready


def test_a_cancelled_job_stays_cancelled_when_its_dependency_is_retried(world: World) -> None:
    world.add(uid=A)
    waits_for(world, A)
    world.update(C, cancel=True)
    finish(world, A, State.FAILED)
    world.update(A, State.QUEUED)
    assert world.read(C).cancelled


def test_a_cancelled_job_is_ready_after_its_retry_if_its_dependency_has_completed_meanwhile(world: World) -> None:
    world.add(uid=A)
    waits_for(world, A)
    world.update(C, cancel=True)
    finish(world, A)
    world.update(C, State.QUEUED)
    assert world.read(C).ready


def test_a_delay_still_applies_after_the_dependencies_are_met(world: World) -> None:
    world.add(uid=A)
    waits_for(world, A, delay_seconds=60)
    finish(world, A)
    job = world.read(C)
    assert (job.waits, job.ready) == (False, False)
    world.now += MINUTE
    assert world.read(C).ready


def test_a_met_dependency_stays_met_when_the_job_is_queued_again(world: World) -> None:
    world.add(uid=A)
    world.add(uid=B)
    waits_for(world, A, B)
    finish(world, A)
    world.update(A, State.QUEUED)
    finish(world, B)
    assert world.read(C).ready


def test_a_finished_job_is_kept_until_its_dependants_are_finished(world: World) -> None:
    world.add(uid=A, keep_minutes=5)
    waits_for(world, A, keep_minutes=100)
    finish(world, A)
    world.now += 60 * MINUTE
    assert world.read(A).state is State.COMPLETE
    finish(world, C)
    world.now += 5 * MINUTE - 1
    assert world.read(A).state is State.COMPLETE
    world.now += 1
    assert [job.spec.uid for job in world.list()] == [C]


def test_a_job_with_no_retention_is_removed_when_its_dependants_are_finished(world: World) -> None:
    world.add(uid=A, keep_minutes=0)
    waits_for(world, A, uid=B)
    waits_for(world, A, uid=C)
    finish(world, A)
    finish(world, B)
    assert world.read(A).state is State.COMPLETE
    world.delete(C)
    assert [job.spec.uid for job in world.list()] == [B]


def test_a_failed_job_is_not_kept_for_its_failed_dependants(world: World) -> None:
    world.add(uid=A, keep_minutes=5)
    waits_for(world, A, keep_minutes=100)
    finish(world, A, State.FAILED)
    world.now += 5 * MINUTE
    assert [job.spec.uid for job in world.list()] == [C]


def child(uid: str = A, **more: Any) -> c.NewJob:
    return c.NewJob(content=b"{}", uid=uid, **more)


def wait_for(world: World, job: Job, *children: c.NewJob, **more: Any) -> Job:
    """Let a claimed job wait for new jobs."""
    whole = {"lease": job.standing.lease, "access_key": KEY, "queue": "q", "defaults": Defaults(), **more}
    waiting: Job = world.ask(c.WaitFor(**whole, uid=job.spec.uid, jobs=children))
    return waiting


def test_a_running_job_adds_children_and_waits_for_them(world: World) -> None:
    world.add(uid=C, max_attempts=1)
    job = wait_for(world, world.hold(worker="w"), child(A), child(B, depends_on=(("q", A),)))
    assert (job.waits, job.standing.lease, job.standing.worker) == (True, None, None)
    for uid in (A, B):
        assert world.hold().spec.uid == uid
        finish(world, uid)
    again = world.hold()
    assert (again.spec.uid, again.standing.attempts) == (C, 1)
    finish(world, C, State.FAILED, lease=again.standing.lease)
    assert world.read(C).state is State.FAILED


def test_a_job_may_wait_for_children_several_times(world: World) -> None:
    world.add(uid=C)
    wait_for(world, world.hold(), child(A))
    finish(world, A)
    wait_for(world, world.hold(), child(B))
    assert world.read(C).waits
    finish(world, B)
    assert world.hold().spec.uid == C


def test_a_job_with_a_failed_child_fails_unless_on_dependency_failure_is_run(world: World) -> None:
    world.add(uid=C)
    wait_for(world, world.hold(), child(A))
    finish(world, A, State.FAILED)
    assert world.read(C).state is State.FAILED
    world.add(uid=D)
    wait_for(world, world.hold(), child(B), on_dependency_failure=RUN)
    finish(world, B, State.FAILED)
    assert world.read(D).ready


def test_only_the_holder_of_a_job_in_progress_may_make_the_job_wait(world: World) -> None:
    job = world.add(uid=C)
    with pytest.raises(NotInProgress):
        wait_for(world, job, child())
    world.hold()
    with pytest.raises(LeaseLost):
        wait_for(world, job, child(), lease="wrong")
    world.ask(c.AddKey(queue="q", access_key=KEY, role=Role.VIEWER, new_access_key=b"viewer"))
    with pytest.raises(NotAllowed):
        wait_for(world, job, child(), access_key=b"viewer")
    assert len(world.list()) == 1


def test_a_job_with_a_cancel_request_fails_instead_of_waiting_for_children(world: World) -> None:
    world.add(uid=C)
    job = world.hold()
    world.update(C, cancel=True)
    assert wait_for(world, job, child()).cancelled
    assert len(world.list()) == 1


def test_a_child_that_waits_for_its_parent_is_refused(world: World) -> None:
    world.add(uid=C)
    job = world.hold()
    waits_for(world, C, uid=B)
    waits_for(world, B, uid=D)
    with pytest.raises(BadItem, match=r"wait_for\[0\]: depends_on"):
        wait_for(world, job, child(D[:-1] + "e", depends_on=(("q", A),)))
    for children in ([child(A, depends_on=(("q", C),))], [child(A, depends_on=(("q", D),))], [child(B)]):
        with pytest.raises((WouldWaitForItself, BadItem)):
            wait_for(world, job, *children)
    assert world.read(C).state is State.INPROGRESS


def test_a_job_with_too_many_dependencies_forgets_the_oldest_met_dependencies(world: World) -> None:
    world.add(uid=C)
    wait_for(world, world.hold(), child(A))
    finish(world, A)
    many = [child(f"10000000-0000-4000-8000-{at:012}") for at in range(100)]
    job = wait_for(world, world.hold(), *many)
    assert job.spec.rare.dependencies is not None
    assert job.spec.rare.dependencies.on == tuple(("q", one.uid) for one in many)
    for one in many:
        finish(world, one.uid or "")
    assert world.read(C).ready


def test_read_links_returns_each_job_with_the_jobs_that_depend_on_it(world: World) -> None:
    world.add(uid=A)
    waits_for(world, A, uid=B)
    waits_for(world, A, uid=C)
    links: c.Links = world.ask(c.ReadLinks(queue="q", access_key=KEY, uids=(A, D), most=5))
    assert [job.spec.uid for job in links.jobs] == [A]
    assert links.dependants == {A: [("q", B), ("q", C)], D: []}
