"""Batches: jobs that are awaited together."""

from collections.abc import Iterator
from typing import Any

import pytest

from jobengine.core import batches
from jobengine.core import commands as c
from jobengine.core.dependencies import OnDependencyFailure
from jobengine.core.errors import BadItem, BatchEnded, BatchNotFound, ThenExists, TooManyBatches, WouldWaitForItself
from jobengine.core.model import DAY, Defaults, Job, State
from tests.core.test_dependencies import A, B, D, finish, wait_for
from tests.core.worlds import KEY, MINUTE, World, picture

WHO: dict[str, Any] = {"queue": "q", "access_key": KEY}
THEN = "00000000-0000-4000-8000-00000000000f"


@pytest.fixture
def world(world: World) -> Iterator[World]:
    """A world whose indexes are checked at the end."""
    yield world
    picture(world.tables)


def create(world: World, name: str = "b", **then: Any) -> c.BatchReport:
    job = c.NewJob(**{"content": b"{}", "uid": THEN, **then})
    report: c.BatchReport = world.ask(c.SetBatch(**WHO, name=name, then=job, defaults=Defaults()))
    return report


def close(world: World, name: str = "b") -> c.BatchReport:
    report: c.BatchReport = world.ask(c.CloseBatch(**WHO, name=name))
    return report


def read(world: World, name: str = "b") -> c.BatchReport:
    report: c.BatchReport = world.ask(c.ReadBatch(**WHO, name=name))
    return report


def then(world: World) -> Job:
    return world.read(THEN)


def test_the_job_at_the_batch_end_is_ready_when_the_batch_is_closed_and_finished(world: World) -> None:
    report = create(world)
    assert (report.new, report.batch.then, then(world).waits) == (True, THEN, True)
    for uid in (A, B):
        world.add(uid=uid, batch="b")
    finish(world, A)
    finish(world, B)
    assert then(world).waits
    close(world)
    assert then(world).ready


def test_a_closed_batch_ends_when_its_last_job_is_finished(world: World) -> None:
    create(world)
    world.add(uid=A, batch="b")
    close(world)
    assert (then(world).waits, read(world).batch.ended) == (True, None)
    finish(world, A)
    assert (then(world).ready, read(world).batch.ended) == (True, world.now)


def test_jobs_of_one_request_may_have_different_batches_and_groups(world: World) -> None:
    create(world)
    create(world, "c", uid=D)
    links = [(None, None), ("b", None), ("b", None), ("b", "g"), (None, "g"), ("c", "g"), ("c", None), (None, None)]
    jobs = tuple(c.NewJob(content=b"{}", batch=batch, group=group) for batch, group in links)
    added = world.ask(c.AddJobs(**WHO, jobs=jobs, defaults=Defaults()))
    assert [(one.job.spec.rare.batch, one.job.spec.rare.group) for one in added] == links


def test_the_error_for_an_unknown_batch_has_the_index_of_the_job(world: World) -> None:
    create(world)
    jobs = tuple(c.NewJob(content=b"{}", batch=batch) for batch in ("b", "b", "other"))
    with pytest.raises(BadItem) as caught:
        world.ask(c.AddJobs(**WHO, jobs=jobs, defaults=Defaults(), many=True))
    assert (caught.value.index, type(caught.value.why)) == (2, BatchNotFound)


def test_an_empty_batch_ends_when_it_is_closed(world: World) -> None:
    create(world)
    close(world)
    assert then(world).ready


def test_creating_a_batch_again_changes_nothing(world: World) -> None:
    create(world)
    world.add(uid=A, batch="b")
    again = create(world, uid=D)
    assert (again.new, again.batch.then, again.counts.total) == (False, THEN, 1)


def test_a_batch_may_have_no_job_at_its_end(world: World) -> None:
    world.ask(c.SetBatch(**WHO, name="b", defaults=Defaults()))
    world.add(uid=A, batch="b")
    close(world)
    finish(world, A)
    assert read(world).batch.ended == world.now


def test_a_stored_job_can_not_be_at_the_end_of_a_new_batch(world: World) -> None:
    create(world, uid=None, unique_key="end")
    with pytest.raises(ThenExists):
        create(world, "other", uid=None, unique_key="end")


def test_jobs_are_counted_by_state(world: World) -> None:
    create(world)
    for uid in (A, B, D):
        world.add(uid=uid, batch="b")
    finish(world, A)
    finish(world, B, State.FAILED)
    counts = read(world).counts
    assert counts.states == {State.COMPLETE: 1, State.FAILED: 1, State.QUEUED: 1}
    assert (counts.total, counts.unfinished) == (3, 1)


@pytest.mark.parametrize("how", ["failed", "cancelled", "deleted", "timed out"])
def test_the_job_at_the_batch_end_fails_if_any_job_of_the_batch_failed(world: World, how: str) -> None:
    create(world)
    world.add(uid=A, batch="b", timeout_time=world.now // 1000 + 60)
    close(world)
    if how == "failed":
        finish(world, A, State.FAILED)
    elif how == "cancelled":
        world.update(A, cancel=True)
    elif how == "deleted":
        world.delete(A)
    else:
        world.now += MINUTE
    assert then(world).standing.notes.error == "jobs of the batch b failed"


def test_the_job_at_the_batch_end_may_run_although_a_job_of_the_batch_failed(world: World) -> None:
    create(world, on_dependency_failure=OnDependencyFailure.RUN)
    world.add(uid=A, batch="b")
    close(world)
    finish(world, A, State.FAILED)
    assert then(world).ready


def test_a_retry_resumes_the_batch_and_the_failed_job_at_the_batch_end_waits_again(world: World) -> None:
    create(world)
    world.add(uid=A, batch="b")
    close(world)
    finish(world, A, State.FAILED)
    assert then(world).state is State.FAILED
    world.update(A, State.QUEUED)
    assert (then(world).waits, read(world).batch.ended) == (True, None)
    finish(world, A)
    assert then(world).ready


@pytest.mark.parametrize("how", ["by hand", "in one request"])
def test_a_batch_whose_failed_jobs_are_completed_has_not_failed(world: World, how: str) -> None:
    create(world)
    world.add(uid=A, batch="b")
    close(world)
    finish(world, A, State.FAILED)
    if how == "by hand":
        finish(world, A)
    else:
        both = [c.JobUpdate(uid=A, changes=c.Changes(state=state)) for state in (State.QUEUED, State.COMPLETE)]
        world.ask(c.UpdateJobs(**WHO, updates=tuple(both)))
    assert (read(world).batch.failed, then(world).ready) == (False, True)


@pytest.mark.parametrize("how", ["expired", "deleted"])
def test_a_batch_whose_failed_jobs_were_removed_has_still_failed(world: World, how: str) -> None:
    create(world)
    world.add(uid=A, batch="b", keep_minutes=1)
    close(world)
    finish(world, A, State.FAILED)
    if how == "deleted":
        world.delete(A)
    world.now += 2 * MINUTE
    assert (read(world).batch.failed, then(world).state, read(world).counts.total) == (True, State.FAILED, 0)


def test_the_job_at_the_batch_end_does_not_run_again_when_the_batch_ends_again(world: World) -> None:
    create(world, on_dependency_failure=OnDependencyFailure.RUN)
    world.add(uid=A, batch="b")
    close(world)
    finish(world, A, State.FAILED)
    finish(world, THEN)
    world.update(A, State.QUEUED)
    finish(world, A)
    assert then(world).state is State.COMPLETE


def test_a_running_job_of_a_closed_batch_may_add_jobs_to_the_batch(world: World) -> None:
    create(world)
    world.add(uid=A, batch="b")
    close(world)
    world.hold()
    world.add(uid=B, batch="b")
    finish(world, A)
    assert then(world).waits
    finish(world, B)
    assert then(world).ready


def test_a_batch_that_has_ended_takes_no_jobs(world: World) -> None:
    create(world)
    close(world)
    with pytest.raises(BatchEnded, match="'b'"):
        world.add(batch="b")
    with pytest.raises(BatchNotFound, match="'other'"):
        world.add(batch="other")


def test_a_job_of_a_batch_must_not_wait_for_the_end_of_the_batch(world: World) -> None:
    create(world)
    world.add(uid=A, depends_on=(("q", THEN),))
    world.ask(c.SetBatch(**WHO, name="outer", then=c.NewJob(content=b"{}", uid=D), defaults=Defaults()))
    world.add(uid=B, batch="outer", depends_on=(("q", A),))
    for uid in (THEN, A, B, D):
        with pytest.raises(WouldWaitForItself):
            world.add(batch="b", depends_on=(("q", uid),))


def test_a_job_of_a_batch_must_not_wait_for_the_batch_end_through_another_job_of_the_request(world: World) -> None:
    create(world)
    before = c.NewJob(content=b"{}", uid=A, batch="b", depends_on=(("q", B),))
    after = c.NewJob(content=b"{}", uid=B, depends_on=(("q", THEN),))
    for jobs in ((before, after), (after, before)):
        with pytest.raises(BadItem, match="waits for the batch b"):
            world.add_all(*jobs)


def test_jobs_of_two_batches_must_not_each_wait_for_the_end_of_the_other_batch(world: World) -> None:
    create(world)
    create(world, "outer", uid=D)
    jobs = (
        c.NewJob(content=b"{}", batch="b", depends_on=(("q", D),)),
        c.NewJob(content=b"{}", batch="outer", depends_on=(("q", THEN),)),
    )
    with pytest.raises(BadItem) as refused:
        world.ask(c.AddJobs(**WHO, jobs=jobs, defaults=Defaults(), many=True))
    assert isinstance(refused.value.why, WouldWaitForItself)


def test_a_child_must_not_wait_for_the_batch_of_its_parent(world: World) -> None:
    create(world)
    world.add(uid=A, batch="b")
    job = world.hold()
    with pytest.raises((WouldWaitForItself, BadItem)):
        wait_for(world, job, c.NewJob(content=b"{}", depends_on=(("q", THEN),)))


def test_finished_jobs_are_kept_until_the_batch_has_ended(world: World) -> None:
    create(world)
    world.add(uid=A, batch="b", keep_minutes=5)
    world.add(uid=B, batch="b", keep_minutes=10)
    close(world)
    finish(world, A)
    world.now += 60 * MINUTE
    assert world.read(A).state is State.COMPLETE
    finish(world, B)
    world.now += 5 * MINUTE - 1
    assert len(world.list()) == 3
    world.now += 1
    assert {job.spec.uid for job in world.list()} == {B, THEN}
    world.now += 5 * MINUTE
    assert {job.spec.uid for job in world.list()} == {THEN}


def test_finished_jobs_of_a_batch_resumed_by_a_retry_are_kept_until_the_batch_ends_again(world: World) -> None:
    create(world)
    world.add(uid=A, batch="b", keep_minutes=5)
    world.add(uid=B, batch="b", keep_minutes=60)
    close(world)
    finish(world, A)
    finish(world, B, State.FAILED)
    world.update(B, State.QUEUED)
    world.now += 30 * MINUTE
    assert read(world).counts.total == 2
    finish(world, B)
    world.now += 5 * MINUTE
    assert read(world).counts.total == 1


def test_a_batch_is_removed_with_its_last_job_but_not_within_an_hour_of_its_end(world: World) -> None:
    create(world)
    world.add(uid=A, batch="b", keep_minutes=1)
    close(world)
    finish(world, A)
    world.now += 60 * MINUTE - 1
    assert read(world).counts.total == 0
    world.now += 1
    with pytest.raises(BatchNotFound):
        read(world)


def test_a_batch_that_had_no_jobs_is_removed_a_day_after_its_end(world: World) -> None:
    create(world)
    world.add(uid=A, batch="b", keep_minutes=3 * 24 * 60)
    close(world)
    finish(world, A)
    world.now += 3 * DAY - 1
    assert read(world).counts.total == 1
    world.now += 1
    with pytest.raises(BatchNotFound):
        read(world)
    create(world, name="empty", uid=D)
    close(world, "empty")
    world.now += DAY - 1
    assert read(world, "empty").counts.total == 0
    world.now += 1
    with pytest.raises(BatchNotFound):
        read(world, "empty")


def test_recreating_a_batch_does_not_release_the_job_at_the_end_of_the_old_batch(world: World) -> None:
    create(world, keep_minutes=10_000)
    world.add(uid=A, batch="b", keep_minutes=1)
    close(world)
    finish(world, A, State.FAILED)
    world.now += DAY + MINUTE
    world.expire()
    create(world, uid=D)
    assert then(world).state is State.FAILED
    close(world)
    assert (then(world).state, world.read(D).ready) == (State.FAILED, True)


def test_batches_are_listed_by_name(world: World) -> None:
    for name in ("c", "a", "b"):
        world.ask(c.SetBatch(**WHO, name=name, defaults=Defaults()))
    page: c.BatchPage = world.ask(c.ListBatches(**WHO, limit=2))
    assert ([one.name for one in page.batches], page.following) == (["a", "b"], "b")
    rest: c.BatchPage = world.ask(c.ListBatches(**WHO, limit=2, after="b"))
    assert ([one.name for one in rest.batches], rest.following) == (["c"], None)


def test_a_queue_has_a_limited_number_of_batches(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(c.batches, "MOST_BATCHES", 2)
    for name in ("a", "b"):
        world.ask(c.SetBatch(**WHO, name=name, defaults=Defaults()))
    with pytest.raises(TooManyBatches):
        world.ask(c.SetBatch(**WHO, name="c", defaults=Defaults()))
    world.ask(c.SetBatch(**WHO, name="b", defaults=Defaults()))


def test_a_filter_selects_the_jobs_of_a_batch(world: World) -> None:
    create(world)
    world.add(uid=A, batch="b")
    world.add(uid=B)
    jobs = world.ask(c.ListJobs(**WHO, limit=9, filter=c.Filter(batch="b"))).jobs
    assert [job.spec.uid for job in jobs] == [A]
    world.ask(c.UpdateMatching(**WHO, filter=c.Filter(batch="b"), changes=c.Changes(cancel=True)))
    assert (world.read(A).cancelled, world.read(B).state) == (True, State.QUEUED)


def test_jobs_deleted_together_count_as_failed(world: World) -> None:
    create(world)
    for uid in (A, B):
        world.add(uid=uid, batch="b")
    world.ask(c.DeleteMatching(**WHO, filter=c.Filter(batch="b")))
    assert read(world).batch.lost == 2
    close(world)
    assert then(world).state is State.FAILED


def test_a_failed_job_removed_after_the_batch_end_counts_as_failed_when_the_batch_ends_again(world: World) -> None:
    create(world)
    world.add(uid=A, batch="b", keep_minutes=1)
    world.add(uid=B, batch="b")
    close(world)
    finish(world, A, State.FAILED)
    finish(world, B, State.FAILED)
    world.now += 2 * MINUTE
    world.expire()
    assert read(world).batch.lost == 1
    finish(world, B, State.QUEUED)
    finish(world, B)
    assert read(world).batch.failed
    assert then(world).state is State.FAILED


def test_a_deleted_complete_job_does_not_count_as_failed(world: World) -> None:
    create(world)
    world.add(uid=A, batch="b")
    finish(world, A)
    world.delete(A)
    close(world)
    assert then(world).ready


def test_a_batch_is_stored_as_documented() -> None:
    batch = batches.Batch(created=1, then="u", open=False, ended=2, failed=True, lost=3, jobs=4)
    text = '{"created":1,"then":"u","open":false,"ended":2,"failed":true,"lost":3,"jobs":4}'
    assert batches.batch_text(batch) == text
    assert batches.batch_of(text) == batch
